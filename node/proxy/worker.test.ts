/** Workers as a whole: their death, listeners that move, their end. */
import type { Worker } from 'node:worker_threads'
import ava from 'ava'
import { Backend, Client, freePort, TestProxy, until } from './test-proxy.ts'

const test = ava.serial
const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

test('a worker that dies is replaced, its counts are given back, and its listeners answer again', async (t) => {
  const workers: Worker[] = []
  const note = (worker: Worker): void => void workers.push(worker)
  process.on('worker', note)
  const proxy = await TestProxy.start(2)
  const backend = await Backend.start((socket, data) => {
    if (!data.toString().includes('/hangs')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  try {
    await proxy.apply(proxy.document([backend.port]))
    const clients = Array.from({ length: 12 }, () => proxy.client())
    for (const client of clients) client.send('GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('all are with the member', () => proxy.proxy.members()[0]!.active === 12)
    t.is(workers.length, 2)
    const victim = workers[0]!
    await victim.terminate()
    await until('its clients are cut off', () => clients.some((client) => client.closed || client.ended))
    await until('another is there', () => workers.length === 3)
    const cutOff = (): number => clients.filter((client) => client.closed || client.ended).length
    await until('its counts are given back', () => proxy.proxy.members()[0]!.active === 12 - cutOff() && proxy.proxy.listeners()[0]!.connections === 12 - cutOff())
    t.true(cutOff() > 0 && cutOff() < 12, 'the clients of the other worker go on')
    for (const client of clients) client.socket.resetAndDestroy()
    await until('all is given back', () => proxy.proxy.members()[0]!.active === 0 && proxy.proxy.listeners()[0]!.connections === 0)
    // Both listen: of many connections, each gets some; every one is answered.
    for (let i = 0; i < 20; i++) t.regex(await proxy.once(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`), /ok$/)
    t.is(proxy.failedReason, '')
  } finally {
    process.off('worker', note)
    await proxy.stop()
    await backend.close()
  }
})

// Bug: a change and a stop waited for ever for the dead worker.
test('bug: workers that keep dying are reported; a change and a stop end all the same', async (t) => {
  const workers: Worker[] = []
  const note = (worker: Worker): void => void workers.push(worker)
  process.on('worker', note)
  const proxy = await TestProxy.start(1)
  try {
    for (let i = 1; proxy.failedReason === '' && i < 20; i++) {
      await workers.at(-1)!.terminate()
      await until('another, or the report', () => workers.length > i || proxy.failedReason !== '')
    }
    t.regex(proxy.failedReason, /died 6 times within 60 s/)
    await proxy.apply(proxy.document([9]))
  } finally {
    process.off('worker', note)
    await proxy.stop()
  }
})

test('bug: a listener that moved to a place that is taken no longer listened anywhere', async (t) => {
  const proxy = await TestProxy.start(2)
  const backend = await Backend.answering('ok')
  const taken = await Backend.answering('not a proxy')
  try {
    await proxy.apply(proxy.document([backend.port]))
    const long = proxy.client()
    long.send(get)
    await long.gets(/ok$/)
    const at = proxy.port
    proxy.port = taken.port
    await proxy.apply(proxy.document([backend.port]))
    t.regex(proxy.proxy.listeners()[0]!.error, /in use by another program/)
    const client = new Client(at)
    client.send(get)
    await client.gets(/ok$/)
    long.send(get)
    await until('the connection before still answers', () => long.text.split('200 OK').length === 3)
    // The next change finds a place: then the old one is left.
    proxy.port = await freePort()
    await proxy.apply(proxy.document([backend.port]))
    t.is(proxy.proxy.listeners()[0]!.error, '')
    t.regex(await proxy.once(), /200 OK/)
    const refused = new Client(at)
    await until('the old place is left', () => refused.closed)
    t.is(refused.error, 'ECONNREFUSED')
    client.close()
    long.close()
  } finally {
    await proxy.stop()
    await backend.close()
    await taken.close()
  }
})

test('a listener that moves off a VIP that is lost does not stay there, even if its new place is taken', async (t) => {
  const proxy = await TestProxy.start(1)
  const backend = await Backend.answering('ok')
  const taken = await Backend.answering('not a proxy')
  try {
    const port = await freePort('127.0.0.78')
    const document = (listener: object): unknown => ({
      ...(proxy.document([backend.port]) as object),
      vips: [{ name: 'v', address: '127.0.0.78' }],
      listeners: [{ name: 'web', pool: 'web', ...listener }],
    })
    await proxy.proxy.setHeld(['127.0.0.78'])
    await proxy.apply(document({ vip: 'v', port }))
    const client = new Client(port, '127.0.0.78')
    client.send(get)
    await client.gets(/ok$/)
    await proxy.apply(document({ address: '127.0.0.1', port: taken.port }))
    const still = new Client(port, '127.0.0.78')
    still.send(get)
    await still.gets(/ok$/)
    await proxy.proxy.setHeld([])
    const refused = new Client(port, '127.0.0.78')
    await until('refused', () => refused.closed)
    t.is(refused.error, 'ECONNREFUSED')
    for (const one of [client, still]) one.close()
  } finally {
    await proxy.stop()
    await backend.close()
    await taken.close()
  }
})

// The sessions had ended before they were known: the worker waited for them until the last moment.
test('bug: after tcp clients had been refused for want of a member, a stop waited its whole time', async (t) => {
  const proxy = await TestProxy.start(1)
  let stopped = false
  try {
    await proxy.apply(proxy.document([9], { listener: { protocol: 'tcp' }, member: () => ({ state: 'disabled' }) }))
    const client = proxy.client()
    await until('refused', () => client.closed)
    t.is(proxy.proxy.listeners()[0]!.errorsTotal['no-member-available'], 1)
    const stopping = proxy.proxy.stop(3600_000).then(() => (stopped = true))
    await until('stopped', () => stopped)
    await stopping
  } finally {
    if (!stopped) await proxy.stop()
  }
  t.true(stopped)
})

test('a stop lets exchanges finish, refuses new connections, and cuts off what is left at its deadline', async (t) => {
  const proxy = await TestProxy.start(2)
  const answers: (() => void)[] = []
  const backend = await Backend.start((socket) => void answers.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')))
  try {
    await proxy.apply(proxy.document([backend.port]))
    const [finishes, hangs] = [proxy.client(), proxy.client()]
    finishes.send(get)
    await until('with the member', () => answers.length === 1)
    hangs.send(get)
    await until('with the member', () => answers.length === 2)
    let stopped = false
    const stopping = proxy.proxy.stop(1500).then(() => (stopped = true))
    await until('no new connections', async () => {
      const late = proxy.client()
      await late.ends()
      return late.error === 'ECONNREFUSED'
    })
    answers[0]!()
    await finishes.gets(/Connection: close\r\n[^]*ok$/)
    t.false(stopped)
    await stopping
    await hangs.ends()
    t.is(hangs.text, '')
  } finally {
    await backend.close()
  }
})

test('a listener whose port is taken listens as soon as it is free, without a change of the document', async (t) => {
  const proxy = await TestProxy.start(2)
  const backend = await Backend.answering('ok')
  const taken = await Backend.answering('not a proxy')
  let free = false
  try {
    proxy.port = taken.port
    await proxy.apply(proxy.document([backend.port]))
    t.not(proxy.proxy.listeners()[0]!.error, '')
    await taken.close()
    free = true
    await until('it listens', () => proxy.proxy.listeners()[0]!.error === '')
    t.regex(await proxy.once('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /ok$/)
  } finally {
    await proxy.stop()
    await backend.close()
    if (!free) await taken.close()
  }
})
