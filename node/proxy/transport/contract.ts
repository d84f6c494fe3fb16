/** The suite that every implementation of the seam passes, plain and inside TLS: `contract('net', createNetTransport, plain)` in a test file. */
import { connect as connectPlain, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import test from 'ava'
import { freePort, until } from '../test-proxy.ts'
import type { Acceptor, ClientTls, Connection, ConnectionOwner, Transport } from './transport.ts'

/** Records what an owner hears. */
class Recorder implements ConnectionOwner {
  text = ''
  bytes = 0
  isConnected = false
  isEnded = false
  drains = 0
  closedWith: string | undefined
  readonly #keep: boolean
  constructor(keep = true) {
    this.#keep = keep
  }
  connected(): void {
    this.isConnected = true
  }
  received(_connection: Connection, buffer: Buffer, start: number, end: number): void {
    if (this.#keep) this.text += buffer.toString('latin1', start, end)
    this.bytes += end - start
  }
  ended(): void {
    this.isEnded = true
  }
  drained(): void {
    this.drains++
  }
  closed(_connection: Connection, error: string): void {
    this.closedWith = error
  }
}

/** What the peers of a transport are, and how its connections are made with them. */
export interface Variant {
  listen(transport: Transport, port: number, accept: (connection: Connection) => void): Promise<Acceptor>
  /** A peer that connects; half-open connections are allowed. */
  connect(port: number): Socket
  /** A server of half-open connections. */
  serve(handle: (socket: Socket) => void): Promise<{ server: Server; port: number }>
  /** Breaks a peer's connection off. */
  reset(socket: Socket): void
  /** Profile of outgoing connections. */
  tls(): ClientTls | undefined
}

async function plainServer(handle: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    handle(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port }
}

export const plain: Variant = {
  listen: (transport, port, accept) => transport.listen({ host: '127.0.0.1', port, backlog: 64 }, accept),
  connect: (port) => connectPlain({ port, host: '127.0.0.1', allowHalfOpen: true }),
  serve: plainServer,
  reset: (socket) => void socket.resetAndDestroy(),
  tls: () => undefined,
}

export function contract(name: string, create: () => Transport, variant: Variant): void {
  /** One accepted connection with a plain peer. */
  async function accepted(use: (recorder: Recorder, connection: Connection, peer: Socket) => Promise<void>, keep = true): Promise<void> {
    const port = await freePort()
    const recorder = new Recorder(keep)
    let connection: Connection | undefined
    const acceptor = await variant.listen(create(), port, (fresh) => {
      connection = fresh
      fresh.owner = recorder
    })
    const peer = variant.connect(port)
    peer.on('error', () => undefined)
    try {
      await until('accepted', () => connection !== undefined)
      await use(recorder, connection!, peer)
    } finally {
      peer.destroy()
      connection?.close()
      acceptor.close()
    }
  }

  test(`${name}: bytes arrive at an accepted connection and go back`, async (t) => {
    await accepted(async (recorder, connection, peer) => {
      let back = ''
      peer.on('data', (data) => (back += data.toString()))
      peer.write('hello')
      await until('received', () => recorder.text === 'hello')
      connection.write(Buffer.from('world'))
      await until('sent', () => back === 'world')
      t.is(connection.remoteAddress, '127.0.0.1')
      t.true(connection.flushed)
    })
  })

  test(`${name}: an outgoing connection says when it stands, and carries bytes both ways`, async (t) => {
    const { server, port } = await variant.serve((socket) => socket.on('data', (data) => socket.write(data)))
    const recorder = new Recorder()
    const connection = create().connect('127.0.0.1', port, recorder, variant.tls())
    await until('connected', () => recorder.isConnected)
    connection.write(Buffer.from('echo'))
    await until('echoed', () => recorder.text === 'echo')
    connection.close()
    await until('closed', () => recorder.closedWith !== undefined)
    t.is(recorder.closedWith, '')
    server.close()
  })

  test(`${name}: a refused connection closes with the error's name and never connects`, async (t) => {
    const recorder = new Recorder()
    create().connect('127.0.0.1', await freePort(), recorder, variant.tls())
    await until('closed', () => recorder.closedWith !== undefined)
    t.is(recorder.closedWith, 'ECONNREFUSED')
    t.false(recorder.isConnected)
  })

  test(`${name}: half-close in both directions leaves the other open`, async (t) => {
    await accepted(async (recorder, connection, peer) => {
      let back = ''
      let peerEnded = false
      peer.on('data', (data) => (back += data.toString()))
      peer.on('end', () => (peerEnded = true))
      peer.end('last words')
      await until('ended', () => recorder.isEnded)
      t.is(recorder.text, 'last words')
      connection.write(Buffer.from('answer'))
      connection.end()
      await until('the answer and the end', () => back === 'answer' && peerEnded)
      await until('closed', () => recorder.closedWith !== undefined)
      t.is(recorder.closedWith, '')
    })
  })

  test(`${name}: an outgoing connection hears the end of its peer and can still send`, async (t) => {
    let got = ''
    const { server, port } = await variant.serve((socket) => {
      socket.on('data', (data) => (got += data.toString()))
      socket.end('bye')
    })
    const recorder = new Recorder()
    const connection = create().connect('127.0.0.1', port, recorder, variant.tls())
    await until('ended', () => recorder.isEnded)
    t.is(recorder.text, 'bye')
    connection.write(Buffer.from('still here'))
    await until('arrived', () => got === 'still here')
    connection.end()
    await until('closed', () => recorder.closedWith !== undefined)
    server.close()
  })

  test(`${name}: writing more than the kernel takes returns false, then drains, and nothing is lost`, async (t) => {
    await accepted(async (recorder, connection, peer) => {
      peer.pause()
      const piece = Buffer.alloc(64 * 1024, 'w')
      let written = 0
      let ok = true
      while (ok && written < 256 * 1024 * 1024) {
        ok = connection.write(Buffer.from(piece))
        written += piece.length
      }
      t.false(ok)
      t.false(connection.flushed)
      let got = 0
      peer.on('data', (data) => (got += data.length))
      peer.resume()
      await until('drained', () => recorder.drains === 1)
      await until('all arrived', () => got === written)
      t.true(connection.flushed)
    })
  })

  for (const direction of ['accepted', 'outgoing'] as const) {
    test(`${name}: a paused ${direction} connection delivers nothing and keeps its peer waiting`, async (t) => {
      let sent = 0
      const pump = (socket: Socket): void => {
        const piece = Buffer.alloc(256 * 1024, 'p')
        const more = (): void => {
          while (!socket.destroyed && sent < 64 * 1024 * 1024 && socket.write(piece)) sent += piece.length
        }
        socket.on('drain', more)
        more()
      }
      const check = async (recorder: Recorder, connection: Connection): Promise<void> => {
        await until('some arrived', () => recorder.bytes > 0)
        connection.pause()
        let before = -1
        await until('the peer waits', async () => {
          const same = before === sent
          before = sent
          await new Promise((resolve) => setTimeout(resolve, 100))
          return same
        })
        t.true(sent < 64 * 1024 * 1024)
        const paused = recorder.bytes
        await new Promise((resolve) => setImmediate(resolve))
        t.is(recorder.bytes, paused)
        connection.resume()
        await until('it goes on', () => recorder.bytes > paused)
      }
      if (direction === 'accepted') {
        await accepted(async (recorder, connection, peer) => {
          pump(peer)
          await check(recorder, connection)
        }, false)
      } else {
        const { server, port } = await variant.serve(pump)
        const recorder = new Recorder(false)
        const connection = create().connect('127.0.0.1', port, recorder, variant.tls())
        await check(recorder, connection)
        connection.close()
        await until('closed', () => recorder.closedWith !== undefined)
        server.close()
      }
    })
  }

  test(`${name}: abort is seen as a failure by the peer`, async (t) => {
    await accepted(async (recorder, connection, peer) => {
      let error = ''
      peer.on('error', (failure) => (error = (failure as NodeJS.ErrnoException).code ?? ''))
      connection.abort()
      await until('reset', () => error !== '')
      t.is(error, 'ECONNRESET')
      await until('closed', () => recorder.closedWith !== undefined)
    })
  })

  test(`${name}: a reset by the peer closes with its name`, async (t) => {
    await accepted(async (recorder, _connection, peer) => {
      variant.reset(peer)
      await until('closed', () => recorder.closedWith !== undefined)
      t.is(recorder.closedWith, 'ECONNRESET')
    })
  })

  test(`${name}: what the peer sent before it broke off is delivered although a write failed, and the end is a failure`, async (t) => {
    let gone = false
    let peer: Socket | undefined
    const { server, port } = await variant.serve((socket) => {
      peer = socket
      socket.on('close', () => (gone = true))
    })
    const recorder = new Recorder()
    const connection = create().connect('127.0.0.1', port, recorder, variant.tls())
    await until('both connected', () => recorder.isConnected && peer !== undefined)
    try {
      connection.pause()
      peer!.write('bye')
      variant.reset(peer!)
      await until('the peer is gone', () => gone)
      for (let i = 0; i < 3; i++) {
        connection.write(Buffer.from('more'))
        await new Promise((resolve) => setImmediate(resolve))
      }
      connection.resume()
      await until('closed', () => recorder.closedWith !== undefined)
      t.is(recorder.text, 'bye')
      t.not(recorder.closedWith, '')
      t.false(recorder.isEnded)
    } finally {
      connection.close()
      server.close()
    }
  })

  test(`${name}: several listen on one port side by side; closing one keeps its connections`, async (t) => {
    const port = await freePort()
    const counts = [0, 0]
    const recorders: Recorder[] = []
    const owned: Connection[] = []
    const acceptors = await Promise.all(
      [0, 1].map((which) =>
        variant.listen(create(), port, (connection) => {
          counts[which]! += 1
          const recorder = new Recorder()
          recorders.push(recorder)
          connection.owner = recorder
          owned.push(connection)
        }),
      ),
    )
    const peers = Array.from({ length: 40 }, () => variant.connect(port))
    await until('all accepted', () => counts[0]! + counts[1]! === 40)
    t.true(counts[0]! > 0 && counts[1]! > 0, counts.join())
    for (const acceptor of acceptors) acceptor.close()
    for (const peer of peers) peer.write('x')
    await until('all still deliver', () => recorders.every((recorder) => recorder.text === 'x'))
    for (const peer of peers) peer.destroy()
    for (const connection of owned) connection.close()
  })

  test(`${name}: a port that another program has is refused with its name`, async (t) => {
    const { server, port } = await plainServer(() => undefined)
    const error = await t.throwsAsync(create().listen({ host: '127.0.0.1', port, backlog: 1 }, () => undefined))
    t.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE')
    server.close()
  })
}
