/** For tests of examples with TLS: a directory of certificates, members with TLS, requests over TLS. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request, type RequestOptions } from 'node:https'
import type { IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer, type ConnectionOptions, type TLSSocket, type TlsOptions } from 'node:tls'
import type { ExecutionContext } from 'ava'

/** A directory for `--certificates` that ends with the test. `files`: contents by file name. */
export function certificateDirectory(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-certificates-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o600 })
  return directory
}

export interface SecureAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Names of the certificate that was shown. */
  readonly names: string
}

export function secureRequest(options: RequestOptions): Promise<SecureAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ agent: false, ...options }, (incoming) => {
      const names = (incoming.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName ?? ''
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk: string) => (text += chunk))
      incoming.once('error', reject)
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, names }))
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
}

/** Sends one line and waits for what comes back. */
export function secureExchange(options: ConnectionOptions, line: string): Promise<{ text: string; names: string; alpn: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => socket.write(line))
    const names = (): string => socket.getPeerX509Certificate()?.subjectAltName ?? ''
    socket.once('data', (data) => {
      resolve({ text: data.toString(), names: names(), alpn: socket.alpnProtocol || '' })
      socket.destroy()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed without an answer')))
  })
}

/** A member with TLS: answers every piece with `HTTP/1.1 200` and this text. @returns what it has seen of each connection */
export async function secureMember(t: ExecutionContext, host: string, port: number, text: string, options: TlsOptions): Promise<{ serverName: string; client: string }[]> {
  const seen: { serverName: string; client: string }[] = []
  const sockets = new Set<TLSSocket>()
  const server = createServer(options, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    seen.push({ serverName: (socket as TLSSocket & { servername: string | false }).servername || '', client: socket.getPeerX509Certificate()?.subjectAltName ?? '' })
    socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`))
  })
  // Health checks connect and go.
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return seen
}
