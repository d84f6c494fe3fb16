/** The transport on `node:net`: the contract, plain and inside TLS. */
import { connect as connectPlain, createServer as createPlainServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, createServer, type TLSSocket } from 'node:tls'
import test from 'ava'
import { TestAuthority } from '../tls/test-certificates.ts'
import { contract, plain, type Variant } from './contract.ts'
import { createNetTransport } from './net.ts'
import { readInto } from './reading.ts'

const authority = await TestAuthority.create('contract')
const pair = await authority.issue('server', ['server.test', '127.0.0.1'])
const rawOf = new WeakMap<Socket, Socket>()

function variantOf(version: 'TLSv1.2' | 'TLSv1.3'): Variant {
  const context = createSecureContext({ cert: pair.chain, key: pair.key, minVersion: 'TLSv1.2', maxVersion: version })
  return {
    listen: (transport, port, accept) =>
      transport.listen({ host: '127.0.0.1', port, backlog: 64 }, (connection) => {
        transport.secure(
          connection,
          { default: { context, ocspResponse: undefined }, needsName: false, clientCertificate: 'none', alpn: [] },
          undefined,
          { secured: accept, failed: () => undefined },
        )
      }),
    connect: (port) => {
      const raw = connectPlain({ port, host: '127.0.0.1', allowHalfOpen: true })
      const socket = connectTls({ socket: raw, ca: authority.pem, servername: 'server.test' })
      rawOf.set(socket, raw)
      return socket
    },
    serve: async (handle) => {
      const server = createServer({ cert: pair.chain, key: pair.key, allowHalfOpen: true, noDelay: true, maxVersion: version })
      server.on('secureConnection', (socket) => {
        rawOf.set(socket, (socket as TLSSocket & { _parent: Socket })._parent)
        socket.on('error', () => undefined)
        handle(socket)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return { server: server as Server, port: (server.address() as AddressInfo).port }
    },
    reset: (socket) => void rawOf.get(socket)!.resetAndDestroy(),
    tls: () => ({
      context: createSecureContext({ ca: authority.pem, minVersion: 'TLSv1.2' }),
      serverName: '',
      verify: true,
      alpn: [],
      session: () => undefined,
      keep: () => undefined,
    }),
  }
}

test('this version of Node lets accepted sockets read into a given buffer', async (t) => {
  const buffer = Buffer.alloc(16)
  const length = await new Promise<number>((resolve) => {
    const server = createPlainServer((socket) => {
      t.true(readInto(socket, buffer, (count) => {
        resolve(count)
        socket.destroy()
        server.close()
        return true
      }))
    })
    server.listen(0, '127.0.0.1', () => connectPlain((server.address() as AddressInfo).port, '127.0.0.1').end('hello'))
  })
  t.is(buffer.toString('latin1', 0, length), 'hello')
})

contract('net', createNetTransport, plain)
contract('net with TLS 1.3', createNetTransport, variantOf('TLSv1.3'))
contract('net with TLS 1.2', createNetTransport, variantOf('TLSv1.2'))
contract('net with data events', () => createNetTransport(undefined, 'events'), plain)
contract('net with data events and TLS', () => createNetTransport(undefined, 'events'), variantOf('TLSv1.3'))
