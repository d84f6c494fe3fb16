import ava from 'ava'
import { Backend, Client, freePort, TestProxy, until } from './test-proxy.ts'

// One after the other: each has its own proxy with its own threads.
const test = ava.serial

/** Runs with a proxy and backends that are closed whatever happens. */
async function withProxy(use: (proxy: TestProxy, started: (backend: Promise<Backend>) => Promise<Backend>) => Promise<void>, workers = 1): Promise<void> {
  const proxy = await TestProxy.start(workers)
  const backends: Backend[] = []
  try {
    await use(proxy, async (starting) => {
      const backend = await starting
      backends.push(backend)
      return backend
    })
  } finally {
    await proxy.stop()
    for (const backend of backends) await backend.close()
  }
}

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

test('a request goes on with the fields of a proxy, without those of the hop', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('hello'))
    await proxy.apply(proxy.document([backend.port]))
    const answer = await proxy.once(
      'GET /p?q=1 HTTP/1.1\r\nHost: A.example\r\nConnection: close, X-Private\r\nX-Private: secret\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n' +
        'X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nVia: 1.0 before\r\nAccept: */*\r\n\r\n',
    )
    t.is(
      backend.received[0],
      'GET /p?q=1 HTTP/1.1\r\nHost: A.example\r\nAccept: */*\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nVia: 1.0 before, 1.1 test\r\n\r\n',
    )
    t.is(answer, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\nVia: 1.1 test\r\n\r\nhello')
  })
})

test('forwardedHeaders append keeps what a trusted proxy in front said', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('x'))
    await proxy.apply(proxy.document([backend.port], { listener: { forwardedHeaders: 'append' } }))
    await proxy.once('GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.1.1.1\r\nConnection: close\r\n\r\n')
    t.regex(backend.received[0]!, /X-Forwarded-For: 10\.1\.1\.1, 127\.0\.0\.1\r\n/)
  })
})

test('connections are kept on both sides, and pipelined requests are answered in order', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket, data) => {
        for (const path of [...data.toString().matchAll(/GET (\S+) /g)].map((found) => found[1]!)) {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`)
        }
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.gets('/3')
    client.send('GET /4 HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.gets('/4')
    t.deepEqual([...client.text.matchAll(/\r\n\r\n(\/\d)/g)].map((found) => found[1]), ['/1', '/2', '/3', '/4'])
    t.is(backend.accepted, 1)
    t.is(proxy.proxy.listeners()[0]!.requestsTotal, 4)
    t.is(proxy.proxy.members()[0]!.active, 0)
    client.close()
  })
})

test('large bodies pass whole both ways, with a reader that is slow and bounded memory', async (t) => {
  await withProxy(async (proxy, started) => {
    const size = 24 * 1024 * 1024
    let uploaded = 0
    const backend = await started(
      Backend.start((socket, data, whole) => {
        uploaded += data.length
        // Only the head is needed as text; the rest is counted.
        if (whole.length > 1000) (backend.received as string[])[0] = whole.slice(0, 1000)
        const head = whole.indexOf('\r\n\r\n') + 4
        if (uploaded - head < size) return
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
        socket.write(Buffer.alloc(size, 'y'))
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.socket.removeAllListeners('data')
    let got = 0
    client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
    client.socket.write(Buffer.alloc(size, 'x'))
    client.socket.on('data', (data) => {
      got += data.length
      client.socket.pause()
      setImmediate(() => client.socket.resume())
    })
    await until('the whole answer', () => got > size, 60_000)
    t.true(got < size + 300)
    client.close()
  })
})

test('a client that does not read stops the member, not the memory', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket) => {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
        const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, 'z'), Buffer.from('\r\n')])
        const more = (): void => {
          while (!socket.destroyed && socket.write(chunk)) sent += chunk.length
        }
        socket.on('drain', more)
        more()
      }),
    )
    let sent = 0
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.socket.pause()
    client.send(get)
    let before = -1
    await until('the member has been stopped', async () => {
      const same = sent > 0 && sent === before
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
      return same
    })
    t.true(sent < 64 * 1024 * 1024)
    client.close()
    await until('the member connection is closed with the client', () => backend.sockets.size === 0)
    await until('its place is given back', () => proxy.proxy.members()[0]!.active === 0)
  })
})

test('chunked bodies both ways, with trailers and extensions', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket, _data, whole) => {
        if (whole.endsWith('0\r\nX-Sum: 1\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n')
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel')
    client.send('lo\r\n0\r\nX-Sum: 1\r\n\r\n')
    await client.gets(/3;a=b\r\nabc\r\n0\r\n\r\n$/)
    t.true(backend.received[0]!.endsWith('5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'))
    client.close()
  })
})

test('HTTP/1.0 clients get a body that they can read, and keep-alive only when they ask', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n')),
    )
    await proxy.apply(proxy.document([backend.port]))
    const answer = await proxy.once('GET / HTTP/1.0\r\n\r\n')
    t.true(answer.endsWith('\r\n\r\nabcde'))
    t.notRegex(answer, /Transfer-Encoding/i)
    t.regex(backend.received[0]!, /^GET \/ HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n/)
  })
})

test('an answer that ends with its connection is complete only when that ends in order', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket) => {
        socket.write('HTTP/1.0 200 OK\r\n\r\nall of')
        setImmediate(() => socket.end(' it'))
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const answer = await proxy.once(get)
    t.true(answer.endsWith('all of it'))
    t.regex(answer, /Connection: close/)
  })
})

test('HEAD, 204 and 304 have no body, whatever their length says', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket, data) => {
        const text = data.toString()
        if (text.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n')
        else if (text.includes('/204')) socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n')
        else socket.write('HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n')
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\nGET /304 HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.gets('304 Not Modified')
    t.regex(client.text, /Content-Length: 5000\r\n[^]*204 No Content\r\nVia/)
    t.is(backend.accepted, 1)
    client.close()
  })
})

test('100-continue passes between client and member', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket, data) => {
        if (data.toString().includes('Expect: 100-continue')) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n')
    await client.gets('HTTP/1.1 100 Continue\r\n\r\n')
    client.send('data')
    await client.gets(/200 OK[^]*ok$/)
    t.true(backend.received[0]!.endsWith('data'))
    client.close()
  })
})

test('Upgrade becomes a tunnel that half-closes, and is not a kept connection afterwards', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket, data) => {
        if (data.toString().includes('Upgrade: websocket')) socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst')
        else socket.write(`echo:${data.toString()}`)
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly')
    await client.gets('first')
    t.regex(client.text, /^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n/)
    client.send('ping')
    await client.gets('echo:')
    await until('all arrived', () => backend.received[0]!.endsWith('earlyping'))
    t.is(proxy.proxy.members()[0]!.active, 1)
    client.socket.end()
    await client.ends()
    await until('the place is given back', () => proxy.proxy.members()[0]!.active === 0)
    t.is(proxy.proxy.listeners()[0]!.connections, 0)
  })
})

test('tcp: bytes both ways, and each side ends on its own', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.start(() => undefined))
    backend.server.removeAllListeners('connection')
    backend.server.on('connection', (socket) => {
      let all = ''
      socket.on('data', (data) => (all += data.toString()))
      socket.on('end', () => socket.end(`got ${all}`))
    })
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp' } }))
    const client = proxy.client()
    client.socket.end('all my bytes')
    await client.ends()
    t.is(client.text, 'got all my bytes')
    client.close()
    await until('places are given back', () => proxy.proxy.members()[0]!.active === 0 && proxy.proxy.listeners()[0]!.connections === 0)
  })
})

test('a member that refuses is passed over, up to the retries; without another the client gets 502', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('alive'))
    const dead = await freePort()
    await proxy.apply(proxy.document([dead, backend.port]))
    for (let i = 0; i < 4; i++) t.true((await proxy.once()).endsWith('alive'))
    t.true(proxy.proxy.members()[0]!.connectFailuresTotal > 0)
    await proxy.apply(proxy.document([dead]))
    const answer = await proxy.once()
    t.regex(answer, /^HTTP\/1\.1 502 [^]*X-Haechi-Error: member-connect-failed\r\n/)
    t.is(proxy.proxy.members()[0]!.active, 0)
  })
})

test('a kept connection that the member closes is replaced without the client noticing; a POST is not repeated', async (t) => {
  await withProxy(async (proxy, started) => {
    let answered = 0
    const backend = await started(
      Backend.start((socket) => {
        // The second request on a connection finds it closing.
        if ((socket as { used?: boolean }).used === true) return void socket.destroy()
        ;(socket as { used?: boolean }).used = true
        answered++
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    for (let i = 1; i <= 4; i++) {
      client.send(get)
      await until('an answer', () => client.text.split('200 OK').length - 1 === i)
    }
    t.is(answered, 4)
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx')
    await client.gets('X-Haechi-Error: member-closed')
    client.close()
  })
})

test('a member that breaks off in the middle is seen as a failure by the client', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this')
        setTimeout(() => socket.destroy(), 20)
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send(get)
    await until('the connection breaks', () => client.closed)
    t.is(client.error, 'ECONNRESET')
    t.is(proxy.proxy.listeners()[0]!.errorsTotal['member-closed'], 1)
  })
})

test('deadlines: request head, silent member, idle client', async (t) => {
  await withProxy(async (proxy, started) => {
    const silent = await started(Backend.start(() => undefined))
    await proxy.apply(
      proxy.document([silent.port], { listener: { requestHeadTimeout: '300ms', clientKeepAlive: '400ms', clientIdleTimeout: '300ms' }, pool: { serverIdleTimeout: '300ms' } }),
    )
    const slow = proxy.client()
    slow.send('GET / HT')
    const waiting = proxy.client()
    waiting.send(get)
    const idle = proxy.client()
    const upload = proxy.client()
    upload.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc')
    await slow.gets(/^HTTP\/1\.1 408 [^]*request-timeout/)
    await waiting.gets(/^HTTP\/1\.1 504 [^]*member-timeout/)
    await upload.gets(/^HTTP\/1\.1 408 [^]*client-timeout/)
    await idle.ends()
    t.is(idle.text, '')
    for (const client of [slow, waiting, idle, upload]) client.close()
    await until('places are given back', () => proxy.proxy.members()[0]!.active === 0)
  })
})

test('an early answer reaches a client that is still sending', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket, _data, whole) => {
        if (whole.split('413').length === 1 && socket.writable && socket.bytesWritten === 0) socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig')
      }),
    )
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n')
    client.socket.write(Buffer.alloc(200_000))
    await client.gets(/413 [^]*big$/)
    t.regex(client.text, /Connection: close/)
    await client.ends()
    client.close()
  })
})

test('round robin is exact across workers; draining, disabled and down members get nothing new', async (t) => {
  await withProxy(async (proxy, started) => {
    const backends = [await started(Backend.answering('1')), await started(Backend.answering('2')), await started(Backend.answering('3'))]
    const ports = backends.map((backend) => backend.port)
    await proxy.apply(proxy.document(ports, { member: (i) => ({ weight: i === 0 ? 2 : 1 }) }))
    const count = async (n: number): Promise<Record<string, number>> => {
      const counts: Record<string, number> = {}
      for (let i = 0; i < n; i++) {
        const last = (await proxy.once()).at(-1)!
        counts[last] = (counts[last] ?? 0) + 1
      }
      return counts
    }
    t.deepEqual(await count(16), { 1: 8, 2: 4, 3: 4 })
    await proxy.apply(proxy.document(ports, { member: (i) => (i === 0 ? { state: 'drain' } : i === 1 ? { state: 'disabled' } : {}) }))
    t.deepEqual(await count(6), { 3: 6 })
    proxy.proxy.setMemberHealth('web', 'm3', 'down')
    t.regex(await proxy.once(), /^HTTP\/1\.1 503 [^]*no-member-available/)
  }, 2)
})

test('least connections is exact across workers', async (t) => {
  await withProxy(async (proxy, started) => {
    const held: (() => void)[] = []
    const handler = (socket: import('node:net').Socket): void => void held.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'))
    const backends = [await started(Backend.start(handler)), await started(Backend.start(handler)), await started(Backend.start(handler))]
    await proxy.apply(proxy.document(backends.map((backend) => backend.port), { pool: { balance: 'least-connections' } }))
    const clients = []
    for (let i = 1; i <= 30; i++) {
      const client = proxy.client()
      clients.push(client)
      client.send(get)
      await until('the request arrived', () => held.length === i)
    }
    t.deepEqual(proxy.proxy.members().map((member) => member.active), [10, 10, 10])
    for (const answer of held) answer()
    await until('all are answered', () => proxy.proxy.members().every((member) => member.active === 0))
    for (const client of clients) client.close()
  }, 2)
})

test('routes: hosts without case and port, wildcards, paths by whole segments, in order; else 404', async (t) => {
  await withProxy(async (proxy, started) => {
    const names = ['api', 'shop', 'wild']
    const backends: Backend[] = []
    for (const name of names) backends.push(await started(Backend.answering(name)))
    await proxy.apply({
      haechi: 1,
      pools: names.map((name, i) => ({ name, healthCheck: { type: 'none' }, members: [{ name: 'm', address: '127.0.0.1', port: backends[i]!.port }] })),
      listeners: [
        {
          name: 'web', address: '127.0.0.1', port: proxy.port,
          routes: [
            { name: 'api', hosts: ['shop.example'], paths: ['/api/'], pool: 'api' },
            { name: 'shop', hosts: ['shop.example'], pool: 'shop' },
            { name: 'wild', hosts: ['*.wild.example'], pool: 'wild' },
          ],
        },
      ],
    })
    const ask = async (host: string, path: string): Promise<string> => {
      const answer = await proxy.once(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
      return /X-Haechi-Error: (\S+)/.exec(answer)?.[1] ?? answer.split('\r\n\r\n')[1]!
    }
    t.is(await ask('SHOP.example:8080', '/api'), 'api')
    t.is(await ask('shop.example', '/api/x?y'), 'api')
    t.is(await ask('shop.example.', '/apix'), 'shop')
    t.is(await ask('a.b.wild.example', '/'), 'wild')
    t.is(await ask('wild.example', '/'), 'no-route')
    t.is(await ask('other.example', '/api'), 'no-route')
  })
})

test('a hundred changes while requests are in flight fail none of them', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(
      Backend.start((socket) => void setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone'), 15)),
    )
    const other = await started(Backend.answering('done'))
    await proxy.apply(proxy.document([backend.port]))
    let running = true
    let answered = 0
    const bad: string[] = []
    const loops = Array.from({ length: 8 }, async () => {
      while (running) {
        const answer = await proxy.once()
        answered++
        if (!/^HTTP\/1\.1 200 OK[^]*done$/.test(answer)) bad.push(answer)
      }
    })
    const long = proxy.client()
    long.send(get)
    for (let i = 0; i < 100; i++) {
      await proxy.apply(proxy.document(i % 2 === 0 ? [backend.port, other.port] : [backend.port], { pool: { retries: i % 3 }, listener: { maxHeaders: 50 + (i % 10) } }))
    }
    running = false
    await Promise.all(loops)
    t.deepEqual(bad, [])
    t.true(answered > 20)
    await long.gets(/done$/)
    long.close()
  }, 2)
})

test('a listener is removed and added live; one that stays keeps its connections; a port in use is reported', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.start((socket, data) => void socket.write(data)))
    const ports = [await freePort(), await freePort()] as const
    const document = (listeners: readonly { name: string; port: number }[]): unknown => ({
      haechi: 1,
      pools: [{ name: 'web', healthCheck: { type: 'none' }, members: [{ name: 'm', address: '127.0.0.1', port: backend.port }] }],
      listeners: listeners.map((listener) => ({ ...listener, address: '127.0.0.1', protocol: 'tcp', pool: 'web' })),
    })
    await proxy.apply(document([{ name: 'stays', port: proxy.port }]))
    const client = proxy.client()
    client.send('before')
    await client.gets('before')
    await proxy.apply(document([{ name: 'stays', port: proxy.port }, { name: 'comes', port: ports[0] }]))
    const second = new Client(ports[0])
    second.send('second')
    await second.gets('second')
    client.send(' after')
    await client.gets('before after')
    await proxy.apply(document([{ name: 'stays', port: proxy.port }]))
    second.send(' more')
    await second.gets('second more')
    const refused = new Client(ports[0])
    await until('refused', () => refused.closed)
    t.is(refused.error, 'ECONNREFUSED')
    const taken = await started(Backend.answering('not a proxy'))
    await proxy.apply(document([{ name: 'stays', port: proxy.port }, { name: 'taken', port: taken.port }]))
    t.regex(proxy.proxy.listeners()[1]!.error, /in use by another program/)
    client.send('!')
    await client.gets('before after!')
    client.close()
    second.close()
  }, 2)
})

test('held addresses: a VIP is listened on only while held', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('x'))
    const port = await freePort('127.0.0.77')
    await proxy.proxy.setHeld([])
    await proxy.apply({
      haechi: 1,
      vips: [{ name: 'v', address: '127.0.0.77' }],
      pools: [{ name: 'web', healthCheck: { type: 'none' }, members: [{ name: 'm', address: '127.0.0.1', port: backend.port }] }],
      listeners: [{ name: 'web', vip: 'v', port, pool: 'web' }],
    })
    const refused = new Client(port, '127.0.0.77')
    await until('refused', () => refused.closed)
    await proxy.proxy.setHeld(['127.0.0.77'])
    const client = new Client(port, '127.0.0.77')
    client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await client.gets('200 OK')
    await proxy.proxy.setHeld([])
    const again = new Client(port, '127.0.0.77')
    await until('refused again', () => again.closed)
    t.is(again.error, 'ECONNREFUSED')
    client.close()
  }, 2)
})

test('maxConnections holds over all workers, and is freed', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('x'))
    await proxy.apply(proxy.document([backend.port], { listener: { maxConnections: 3 } }))
    const clients = [proxy.client(), proxy.client(), proxy.client()]
    await until('three are open', () => proxy.proxy.listeners()[0]!.connections === 3)
    const fourth = proxy.client()
    await fourth.ends()
    t.is(proxy.proxy.listeners()[0]!.errorsTotal['connection-limit'], 1)
    clients[0]!.close()
    await until('one is free', () => proxy.proxy.listeners()[0]!.connections === 2)
    t.regex(await proxy.once(), /200 OK/)
    for (const client of [...clients, fourth]) client.close()
  }, 2)
})

test('a client that goes away takes its member connection with it', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.start(() => undefined))
    await proxy.apply(proxy.document([backend.port]))
    const client = proxy.client()
    client.send(get)
    await until('the request arrived', () => backend.received[0] !== undefined && backend.received[0].endsWith('\r\n\r\n'))
    client.socket.resetAndDestroy()
    await until('the member connection is closed', () => backend.sockets.size === 0)
    await until('places are given back', () => proxy.proxy.members()[0]!.active === 0 && proxy.proxy.listeners()[0]!.connections === 0)
    t.is(proxy.proxy.listeners()[0]!.errorsTotal['client-closed'], 1)
  })
})
