/** UDP listeners with real sockets on loopback. */
import { createSocket, type Socket } from 'node:dgram'
import ava from 'ava'
import { TestProxy, until } from '../test-proxy.ts'

const test = ava.serial
const front = '127.15.1.1'

function bound(address: string, port = 0): Promise<Socket> {
  const socket = createSocket('udp4')
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(port, address, () => {
      socket.off('error', reject)
      socket.on('error', () => undefined)
      resolve(socket)
    })
  })
}

async function freeUdpPort(): Promise<number> {
  const socket = await bound(front)
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

/** Answers `NAME:text` as often as it is told, and knows who asked. */
class Member {
  readonly socket: Socket
  /** `address:port` of each datagram's sender, in order. */
  readonly from: string[] = []
  answers = 1

  private constructor(name: string, socket: Socket) {
    this.socket = socket
    socket.on('message', (data, { address, port }) => {
      this.from.push(`${address}:${port}`)
      for (let i = 0; i < this.answers; i++) socket.send(`${name}:${data.toString()}`, port, address)
    })
  }
  static async start(name: string, port = 0): Promise<Member> {
    return new Member(name, await bound('127.0.0.1', port))
  }
  get port(): number {
    return this.socket.address().port
  }
  close(): Promise<void> {
    return new Promise((resolve) => this.socket.close(() => resolve()))
  }
}

class Sender {
  readonly socket: Socket
  readonly got: string[] = []
  /** Where the answers came from. */
  readonly sources = new Set<string>()
  readonly #port: number

  private constructor(socket: Socket, port: number) {
    this.socket = socket
    this.#port = port
    socket.on('message', (data, { address, port: from }) => {
      this.got.push(data.toString())
      this.sources.add(`${address}:${from}`)
    })
  }
  static async start(port: number, address = '127.15.1.100'): Promise<Sender> {
    return new Sender(await bound(address), port)
  }
  send(text: string, port = this.#port): void {
    this.socket.send(text, port, front)
  }
  async asks(text: string): Promise<string> {
    const before = this.got.length
    this.send(text)
    await until(`an answer to ${text}`, () => this.got.length > before)
    return this.got.at(-1)!
  }
  close(): void {
    this.socket.close()
  }
}

interface Bench {
  readonly proxy: TestProxy
  readonly members: readonly Member[]
  readonly port: number
  apply(listener?: object, pool?: object): Promise<void>
  sender(address?: string): Promise<Sender>
}

async function withUdp(names: readonly string[], use: (bench: Bench) => Promise<void>, workers = 1): Promise<void> {
  const proxy = await TestProxy.start(workers)
  const members = await Promise.all(names.map((name) => Member.start(name)))
  const port = await freeUdpPort()
  const senders: Sender[] = []
  try {
    await use({
      proxy, members, port,
      apply: async (listener = {}, pool = {}) => {
        await proxy.apply({
          haechi: 1,
          pools: [{ name: 'dns', healthCheck: { type: 'none' }, members: members.map((member, i) => ({ name: names[i], address: '127.0.0.1', port: member.port })), ...pool }],
          listeners: [{ name: 'dns', address: front, port, protocol: 'udp', pool: 'dns', ...listener }],
        })
      },
      sender: async (address) => {
        const sender = await Sender.start(port, address)
        senders.push(sender)
        return sender
      },
    })
  } finally {
    await proxy.stop()
    for (const sender of senders) sender.close()
    for (const member of members) await member.close().catch(() => undefined)
  }
}
const listener = (proxy: TestProxy) => proxy.proxy.listeners()[0]!
const active = (proxy: TestProxy): number => proxy.proxy.members().reduce((sum, member) => sum + member.active, 0)

test('each client address and port is a session with one member, which answers from where it was asked', async (t) => {
  await withUdp(['a', 'b'], async ({ proxy, members, port, apply, sender }) => {
    await apply()
    const [one, two] = [await sender(), await sender()]
    const first = await one.asks('1')
    const second = await two.asks('1')
    t.deepEqual([first, second].sort(), ['a:1', 'b:1'], 'round robin')
    for (let i = 2; i < 6; i++) t.is(await one.asks(String(i)), `${first[0]}:${i}`, 'it stays')
    t.deepEqual([...one.sources], [`${front}:${port}`])
    // The member sees one socket for each session.
    t.is(new Set(members.flatMap((member) => member.from)).size, 2)
    const counters = listener(proxy)
    t.is(counters.connections, 2)
    t.is(counters.connectionsTotal, 2)
    t.is(counters.requestsTotal, 6)
    t.is(counters.bytesInTotal, 6)
    t.is(counters.bytesOutTotal, 18)
    t.deepEqual(counters.errorsTotal, {})
    t.is(active(proxy), 2)
    t.is(proxy.proxy.members().reduce((sum, member) => sum + member.requestsTotal, 0), 2)
  })
})

test('a silent session ends, and gives everything back', async (t) => {
  await withUdp(['a'], async ({ proxy, members, apply, sender }) => {
    await apply({ udpTimeout: '300ms' })
    const client = await sender()
    await client.asks('1')
    t.is(listener(proxy).connections, 1)
    await until('it has ended', () => listener(proxy).connections === 0 && active(proxy) === 0)
    await client.asks('2')
    t.is(listener(proxy).connectionsTotal, 2)
    t.not(members[0]!.from[0], members[0]!.from[1], 'another session')
  })
})

test('at the limit new clients are refused and counted; those that there are go on', async (t) => {
  await withUdp(['a'], async ({ proxy, apply, sender }) => {
    await apply({ maxConnections: 2 })
    const [one, two, three] = [await sender(), await sender(), await sender()]
    await one.asks('1')
    await two.asks('1')
    three.send('x')
    await until('refused', () => listener(proxy).errorsTotal['udp-session-limit'] === 1)
    t.is(await one.asks('2'), 'a:2')
    t.is(await two.asks('2'), 'a:2')
    t.deepEqual(three.got, [])
    t.is(listener(proxy).connections, 2)
  })
})

test('udpResponses ends a session once each datagram has been answered so often', async (t) => {
  await withUdp(['a'], async ({ proxy, members, apply, sender }) => {
    await apply({ udpResponses: 2 })
    members[0]!.answers = 2
    const client = await sender()
    client.send('1')
    client.send('2')
    await until('all answers', () => client.got.length === 4)
    await until('it has ended', () => listener(proxy).connections === 0)
    members[0]!.answers = 1
    await client.asks('3')
    t.is(listener(proxy).connections, 1, 'one of two answers')
    t.is(listener(proxy).connectionsTotal, 2)
  })
})

test('a member whose host refuses is left for another one', async (t) => {
  await withUdp(['a', 'b'], async ({ proxy, members, apply, sender }) => {
    await apply({}, { balance: 'first-available' })
    const client = await sender()
    t.is(await client.asks('1'), 'a:1')
    await members[0]!.close()
    client.send('lost')
    await until('the refusal has come', () => proxy.proxy.members()[0]!.connectFailuresTotal === 1)
    t.is(await client.asks('2'), 'b:2')
    t.is(listener(proxy).connectionsTotal, 1, 'the session goes on')
    t.is(proxy.proxy.members()[0]!.active, 0)
    t.is(proxy.proxy.members()[1]!.active, 1)
  })
})

test('sessions of a member that goes down, or leaves the pool, go to another one', async (t) => {
  await withUdp(['a', 'b'], async ({ proxy, members, port, apply, sender }) => {
    await apply({}, { balance: 'first-available' })
    const client = await sender()
    t.is(await client.asks('1'), 'a:1')
    proxy.proxy.setMemberHealth('dns', 'a', 'down')
    await until('it has ended', () => listener(proxy).connections === 0)
    t.is(await client.asks('2'), 'b:2')
    proxy.proxy.setMemberHealth('dns', 'a', 'draining')
    t.is(await client.asks('3'), 'b:3', 'it stays where it is')
    // A change that keeps the member keeps the session.
    await apply({ maxConnections: 500 }, { balance: 'first-available' })
    const total = listener(proxy).connectionsTotal
    t.is(await client.asks('4'), 'b:4')
    t.is(listener(proxy).connectionsTotal, total)
    await proxy.apply({
      haechi: 1,
      pools: [{ name: 'dns', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.0.0.1', port: members[0]!.port }] }],
      listeners: [{ name: 'dns', address: front, port, protocol: 'udp', pool: 'dns' }],
    })
    await until('it has ended', () => listener(proxy).connections === 0)
    t.is(await client.asks('5'), 'a:5')
  })
})

test('without a member nothing is kept', async (t) => {
  await withUdp(['a'], async ({ proxy, apply, sender }) => {
    await apply()
    proxy.proxy.setMemberHealth('dns', 'a', 'down')
    const client = await sender()
    client.send('1')
    client.send('2')
    await until('counted', () => listener(proxy).errorsTotal['no-member-available'] === 2)
    await until('nothing is kept', () => listener(proxy).connections === 0)
    t.is(active(proxy), 0)
  })
})

test('a removed listener answers what is under way, takes nothing new, and is gone when that is silent', async (t) => {
  await withUdp(['a'], async ({ proxy, members, port, apply, sender }) => {
    await apply({ udpTimeout: '1s' })
    const client = await sender()
    members[0]!.answers = 0
    client.send('slow')
    await until('asked', () => members[0]!.from.length === 1)
    await proxy.apply({ haechi: 1 })
    const [address, from] = members[0]!.from[0]!.split(':')
    members[0]!.socket.send('late', Number(from), address)
    await until('the answer comes', () => client.got.length === 1)
    t.deepEqual([...client.sources], [`${front}:${port}`])
    const late = await sender()
    late.send('x')
    await until('the port is free', async () => {
      const socket = await bound(front, port).catch(() => undefined)
      socket?.close()
      return socket !== undefined
    })
    t.is(members[0]!.from.length, 1)
    // It comes back at once, though the old one may still have sessions.
    members[0]!.answers = 1
    await apply({ udpTimeout: '1h' })
    await client.asks('1')
    await proxy.apply({ haechi: 1 })
    await apply({ udpTimeout: '1h' })
    for (let i = 0; i < 8; i++) t.is(await (await sender()).asks('n'), 'a:n', 'no datagram goes to the socket on its way out')
  })
})

test('sessions of a removed listener end when drainTimeout is over, however busy', async (t) => {
  await withUdp(['a'], async ({ proxy, apply, sender }) => {
    await apply({ udpTimeout: '1h', drainTimeout: '500ms' })
    const client = await sender()
    await client.asks('1')
    await proxy.apply({ haechi: 1 })
    const busy = setInterval(() => client.send('more'), 20)
    try {
      await until('it goes on for a while', () => client.got.length > 5)
      let silentSinceMs = performance.now()
      let answers = 0
      await until('no datagram goes on', async () => {
        if (client.got.length !== answers) silentSinceMs = performance.now()
        answers = client.got.length
        return performance.now() - silentSinceMs > 500
      })
    } finally {
      clearInterval(busy)
    }
    await apply({ udpTimeout: '1h' })
    t.is(listener(proxy).errorsTotal['drain-timeout'], 1)
    t.is(listener(proxy).connections, 0)
  })
})

test('all workers of a port have sessions, each client its own', async (t) => {
  await withUdp(['a', 'b'], async ({ proxy, apply, sender }) => {
    await apply()
    const clients = await Promise.all(Array.from({ length: 24 }, () => sender()))
    const first = await Promise.all(clients.map((client) => client.asks('1')))
    t.is(first.filter((text) => text === 'a:1').length, 12, 'round robin is exact over the workers')
    const second = await Promise.all(clients.map((client) => client.asks('2')))
    t.deepEqual(second.map((text) => text[0]), first.map((text) => text[0]))
    t.is(listener(proxy).connections, 24)
  }, 2)
})

test('a range of ports; members at the same port as the client has sent to', async (t) => {
  await withUdp([], async ({ proxy, sender }) => {
    // Members at other addresses, on the ports of the range.
    const start = 20_000 + Math.floor(Math.random() * 20_000)
    const sockets = await Promise.all([0, 1, 2].map((i) => bound('127.15.1.9', start + i)))
    try {
      for (const socket of sockets) socket.on('message', (data, { address, port }) => socket.send(`${socket.address().port}:${data.toString()}`, port, address))
      await proxy.apply({
        haechi: 1,
        pools: [{ name: 'rtp', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.15.1.9', port: 9 }] }],
        listeners: [{ name: 'rtp', address: front, port: start, portEnd: start + 2, protocol: 'udp', pool: 'rtp', memberPort: 'same' }],
      })
      t.is(listener(proxy).error, '')
      const client = await sender()
      for (let i = 0; i < 3; i++) client.send('x', start + i)
      await until('all answer', () => client.got.length === 3)
      t.deepEqual([...client.got].sort(), [0, 1, 2].map((i) => `${start + i}:x`))
      t.is(listener(proxy).connections, 3)
    } finally {
      for (const socket of sockets) socket.close()
    }
  })
})

test('bug: a listener that had left a port still took new clients’ datagrams there from the next one', async (t) => {
  await withUdp(['a', 'b'], async ({ proxy, members, port, sender }) => {
    const other = await freeUdpPort()
    const document = (first: number, second?: number): unknown => ({
      haechi: 1,
      pools: members.map((member, i) => ({ name: 'ab'[i], healthCheck: { type: 'none' }, members: [{ name: 'ab'[i], address: '127.0.0.1', port: member.port }] })),
      listeners: [
        { name: 'one', address: front, port: first, protocol: 'udp', pool: 'a', udpTimeout: '1h' },
        ...(second === undefined ? [] : [{ name: 'two', address: front, port: second, protocol: 'udp', pool: 'b' }]),
      ],
    })
    await proxy.apply(document(port))
    const early = await sender()
    t.is(await early.asks('1'), 'a:1')
    // It moves: its session goes on where it was…
    await proxy.apply(document(other))
    t.is(await early.asks('2'), 'a:2')
    // …until another takes the port.
    await proxy.apply(document(other, port))
    for (let i = 0; i < 8; i++) t.is(await (await sender()).asks('n'), 'b:n')
    t.is(await early.asks('3'), 'b:3')
    // And back, while the other one has sessions.
    await proxy.apply(document(port))
    for (let i = 0; i < 8; i++) t.is(await (await sender()).asks('n'), 'a:n')
  })
})

test('IPv6, and IPv4 clients of a listener for both', async (t) => {
  await withUdp(['a'], async ({ proxy, members, port, sender }) => {
    const answers = (socket: Socket, address: string): Promise<string> =>
      new Promise((resolve) => {
        socket.once('message', (data, from) => resolve(`${data.toString()} ${from.address}`))
        socket.send('x', port, address)
      })
    const six = createSocket('udp6')
    const member = createSocket('udp6')
    member.on('message', (_, from) => member.send('six', from.port, from.address))
    try {
      await new Promise<void>((resolve) => six.bind(0, '::1', resolve))
      await new Promise<void>((resolve) => member.bind(0, '::1', resolve))
      await proxy.apply({
        haechi: 1,
        pools: [{ name: 'p', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '::1', port: member.address().port }] }],
        listeners: [{ name: 'p', address: '::1', port, protocol: 'udp', pool: 'p' }],
      })
      t.is(await answers(six, '::1'), 'six ::1')
      await proxy.apply({
        haechi: 1,
        pools: [{ name: 'p', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.0.0.1', port: members[0]!.port }] }],
        listeners: [{ name: 'p', address: '::', port, protocol: 'udp', pool: 'p' }],
      })
      t.is(await answers(six, '::1'), 'a:x ::1')
      const four = await sender('127.0.0.1')
      t.is(await answers(four.socket, '127.0.0.1'), 'a:x 127.0.0.1')
      t.is(listener(proxy).connectionsTotal, 3)
    } finally {
      six.close()
      member.close()
    }
  })
})

test('a port that another program has is reported', async (t) => {
  await withUdp(['a'], async ({ proxy, port, apply }) => {
    const taken = await bound(front, port)
    try {
      await apply()
      t.is(listener(proxy).error, `${front}:${port} is in use by another program`)
    } finally {
      taken.close()
    }
    await until('it listens', () => listener(proxy).error === '')
  })
})

test('held addresses: a UDP VIP is listened on only while held', async (t) => {
  await withUdp(['a'], async ({ proxy, members, port, sender }) => {
    await proxy.proxy.setHeld([])
    await proxy.apply({
      haechi: 1,
      vips: [{ name: 'v', address: front }],
      pools: [{ name: 'dns', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.0.0.1', port: members[0]!.port }] }],
      listeners: [{ name: 'dns', vip: 'v', port, protocol: 'udp', pool: 'dns' }],
    })
    const isFree = async (): Promise<boolean> => {
      const socket = await bound(front, port).catch(() => undefined)
      socket?.close()
      return socket !== undefined
    }
    t.true(await isFree())
    await proxy.proxy.setHeld([front])
    t.is(await (await sender()).asks('1'), 'a:1')
    await proxy.proxy.setHeld([])
    t.true(await isFree(), 'at once, though there was a session')
    t.is(active(proxy), 0)
  })
})
