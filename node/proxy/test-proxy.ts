/** For tests: a real proxy on loopback in front of backends that a test scripts byte by byte. */
import { randomInt } from 'node:crypto'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { validateDocument } from '../config/validate.ts'
import type { ConfigurationDocument } from '../config/schema.ts'
import { createProxy } from './manager.ts'
import type { Proxy, ProxyOptions } from './proxy.ts'

/**
 * A port that was free a moment ago, below those that the kernel gives to outgoing connections: what waits for it would else find it
 * taken now and then by a connection of another test.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = 22_000 + randomInt(10_000)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => server.once('error', () => resolve(false)).listen(port, host, () => resolve(true)))
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> {
  const started = performance.now()
  while (!(await condition())) {
    if (performance.now() - started > limitMs) throw new Error(`not within ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A server that records what each connection sends and answers as it is told. */
export class Backend {
  readonly server: Server
  readonly sockets = new Set<Socket>()
  /** Connections so far. */
  accepted = 0
  /** All that was received, in order of connections. */
  readonly received: string[] = []

  private constructor(handle: (socket: Socket, data: Buffer, whole: string) => void) {
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      const at = this.accepted++
      this.received[at] = ''
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
      socket.on('error', () => undefined)
      socket.on('end', () => socket.end())
      socket.on('data', (data) => {
        this.received[at] += data.toString('latin1')
        handle(socket, data, this.received[at]!)
      })
    })
  }

  static async start(handle: (socket: Socket, data: Buffer, whole: string) => void): Promise<Backend> {
    const backend = new Backend(handle)
    await new Promise<void>((resolve) => backend.server.listen(0, '127.0.0.1', resolve))
    return backend
  }

  /** Answers each complete head without a body by `text`, on kept connections. */
  static answering(text: string): Promise<Backend> {
    return Backend.start((socket, data) => {
      const heads = data.toString('latin1').split('\r\n\r\n').length - 1
      for (let i = 0; i < heads; i++) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`)
    })
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }
}

/** A raw client connection that collects what it gets. */
export class Client {
  readonly socket: Socket
  text = ''
  ended = false
  closed = false
  error = ''

  constructor(port: number, host = '127.0.0.1', localAddress?: string) {
    this.socket = connect({ port, host, allowHalfOpen: true, ...(localAddress === undefined ? {} : { localAddress }) })
    this.socket.on('data', (data) => (this.text += data.toString('latin1')))
    this.socket.on('end', () => (this.ended = true))
    this.socket.on('error', (error) => (this.error = (error as NodeJS.ErrnoException).code ?? error.message))
    this.socket.on('close', () => (this.closed = true))
  }

  send(text: string): void {
    this.socket.write(text, 'latin1')
  }
  async gets(pattern: RegExp | string): Promise<void> {
    await until(`the client gets ${String(pattern)}; it has: ${JSON.stringify(this.text.slice(0, 300))}`, () =>
      typeof pattern === 'string' ? this.text.includes(pattern) : pattern.test(this.text),
    ).catch((error: Error) => {
      throw new Error(`${error.message} … ${JSON.stringify(this.text.slice(-300))}`)
    })
  }
  async ends(): Promise<void> {
    await until('the connection ends', () => this.ended || this.closed)
  }
  close(): void {
    this.socket.destroy()
  }
}

export class TestProxy {
  readonly proxy: Proxy
  port: number
  #revision = 0
  failedReason = ''

  private constructor(workers: number, port: number, more: Partial<ProxyOptions>) {
    this.port = port
    this.proxy = createProxy({ workers, nodeId: 'test', log: () => undefined, failed: (reason) => (this.failedReason = reason), ...more })
  }

  static async start(workers = 1, more: Partial<ProxyOptions> = {}): Promise<TestProxy> {
    const test = new TestProxy(workers, await freePort(), more)
    await test.proxy.start()
    return test
  }

  /** Completes and applies a document; every member counts as up. */
  async apply(input: unknown): Promise<ConfigurationDocument> {
    const checked = validateDocument(input)
    if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
    await this.proxy.apply(++this.#revision, checked.document)
    for (const pool of checked.document.pools) for (const member of pool.members) if (member.state === 'enabled') this.proxy.setMemberHealth(pool.name, member.name, 'up')
    return checked.document
  }

  /** One http listener on one pool of these ports. */
  document(ports: readonly number[], options: { pool?: object; listener?: object; member?: (index: number) => object } = {}): unknown {
    return {
      haechi: 1,
      pools: [
        {
          name: 'web',
          healthCheck: { type: 'none' },
          members: ports.map((port, i) => ({ name: `m${i + 1}`, address: '127.0.0.1', port, ...options.member?.(i) })),
          ...options.pool,
        },
      ],
      listeners: [{ name: 'web', address: '127.0.0.1', port: this.port, pool: 'web', ...options.listener }],
    }
  }

  client(): Client {
    return new Client(this.port)
  }

  /** One request on a connection of its own: the whole answer. */
  async once(request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'): Promise<string> {
    const client = this.client()
    client.send(request)
    await client.ends()
    client.close()
    return client.text
  }

  async stop(): Promise<void> {
    await this.proxy.stop(0)
  }
}
