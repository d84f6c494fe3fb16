/** For tests of TLS: certificates, a client and a member that say what they have seen. */
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { until } from '../test-proxy.ts'
import type { KeyPairMaterial, TlsMaterial } from './material.ts'
import { TestAuthority } from './test-certificates.ts'

export const authority = await TestAuthority.create('one')
export const pairs = {
  one: await authority.issue('one', ['one.test']),
  two: await authority.issue('two', ['two.test', 'both.test']),
  wild: await authority.issue('wild', ['*.wild.test', 'both.test']),
}
const ticketKeys = new Uint8Array(48).map((_, i) => i * 5)

export async function materialOf(more: Partial<TlsMaterial> = {}): Promise<TlsMaterial> {
  return { keyPairs: Object.values(pairs), authorities: [await authority.material()], ticketKeys, ...more }
}

/** A TLS client: what came back, who answered, how it ended. */
export class TlsClient {
  readonly socket: TLSSocket
  text = ''
  secure = false
  closed = false
  error = ''
  session: Buffer | undefined
  ocsp: Buffer | null = null
  constructor(port: number, options: ConnectionOptions = {}) {
    const servername = options.servername ?? 'one.test'
    this.socket = connect({ port, host: '127.0.0.1', ca: authority.pem, ALPNProtocols: ['h2', 'http/1.1'], ...options, servername })
    this.socket.on('secureConnect', () => (this.secure = true))
    this.socket.on('session', (session) => (this.session = session))
    this.socket.on('OCSPResponse', (response) => (this.ocsp = response))
    this.socket.on('data', (data) => (this.text += data.toString('latin1')))
    this.socket.on('error', (error) => (this.error ||= (error as NodeJS.ErrnoException).code ?? error.message))
    this.socket.on('close', () => (this.closed = true))
  }
  get names(): string {
    return this.socket.getPeerX509Certificate()?.subjectAltName ?? ''
  }
  async get(path = '/', fields = ''): Promise<string> {
    const before = this.text.length
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: one.test\r\n${fields}\r\n`)
    await until(`an answer (${this.error})`, () => this.closed || /\r\n\r\n[^]*$/.test(this.text.slice(before)) && this.text.slice(before).length > 30)
    return this.text.slice(before)
  }
  async refused(): Promise<string> {
    await until('refused', () => this.closed || this.error !== '')
    return this.error
  }
  async ready(): Promise<this> {
    await until(`a handshake (${this.error})`, () => this.secure || this.error !== '' || this.closed)
    if (!this.secure) throw new Error(`no handshake: ${this.error}`)
    return this
  }
  close(): void {
    this.socket.destroy()
  }
}

export interface TlsMember {
  readonly port: number
  readonly sockets: TLSSocket[]
  /** Of each connection: whether it went on with an earlier session. */
  readonly resumed: boolean[]
  close(): Promise<void>
}

export async function tlsMember(pair: KeyPairMaterial, options: object = {}): Promise<TlsMember> {
  const sockets: TLSSocket[] = []
  const resumed: boolean[] = []
  const server = createServer({ cert: pair.chain, key: pair.key, ...options }, (socket) => {
    sockets.push(socket)
    resumed.push(socket.isSessionReused())
    socket.on('error', () => undefined)
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure'))
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    sockets,
    resumed,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
