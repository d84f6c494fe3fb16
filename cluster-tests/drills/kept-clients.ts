/**
 * The clients of the `keep-clients` drill, on the client's host: `kept-clients.ts VIP HTTP-PORT HTTPS-PORT SESSIONS TLS`. On a line `go`
 * from its parent every session sends one request, and every TLS client one on a connection of its own, offering the session
 * of its last one; what came of it is written as one line of JSON. The first round says who serves whom.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { connect as connectTls } from 'node:tls'

/** One round of all clients. */
export interface Round {
  readonly answered: number
  readonly failed: number
  /** Sessions that were served by the member of their first round; of the first one: 0. */
  readonly same: number
  readonly tls: number
  readonly tlsFailed: number
  /** TLS handshakes that took a session up again. */
  readonly resumed: number
  readonly ms: number
}

const [vip = '', httpPort, httpsPort, sessionsText, tlsText] = process.argv.slice(2)
const sessions = Number(sessionsText)
const tlsClients = Number(tlsText)
const lines = 50
const limitMs = 5000
const served: string[] = []
const tickets: (Buffer | undefined)[] = []
/** From the second round on what a client meets is compared with its first. */
let first = true

/** A kept connection that asks for one session after the other. */
async function line(next: () => number | undefined, count: (session: number, member: string) => void, failed: () => void): Promise<void> {
  let socket: Socket | undefined
  for (let session = next(); session !== undefined; session = next()) {
    try {
      socket ??= await open()
      count(session, await ask(socket, session))
    } catch {
      failed()
      socket?.destroy()
      socket = undefined
    }
  }
  socket?.destroy()
}

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp(Number(httpPort), vip, () => resolve(socket))
    socket.setNoDelay(true)
    socket.setTimeout(limitMs, () => socket.destroy(new Error('timeout')))
    socket.once('error', reject)
  })
}

/** The backend's name: it is the body of its answer. */
function ask(socket: Socket, session: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const done = (error: Error | undefined, member: string): void => {
      socket.off('data', onData)
      socket.off('close', onClose)
      if (error === undefined) resolve(member)
      else reject(error)
    }
    const onClose = (): void => done(new Error('closed'), '')
    const onData = (data: Buffer): void => {
      text += data.toString('latin1')
      const head = text.indexOf('\r\n\r\n')
      if (head < 0 || !text.endsWith('\n') || text.length === head + 4) return
      if (text.startsWith('HTTP/1.1 200')) done(undefined, text.slice(head + 4).trim())
      else done(new Error(text.slice(0, 12)), '')
    }
    socket.on('data', onData)
    socket.on('close', onClose)
    socket.write(`GET / HTTP/1.1\r\nHost: drill\r\nX-Session: session-${session}\r\n\r\n`)
  })
}

/** One TLS connection with one request; true when its session was taken up again. */
function overTls(client: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const ticket = tickets[client]
    const socket = connectTls({ host: vip, port: Number(httpsPort), servername: 'drill.example', rejectUnauthorized: false, ...(ticket === undefined ? {} : { session: ticket }) })
    let reused = false
    socket.setTimeout(limitMs, () => socket.destroy(new Error('timeout')))
    // In TLS 1.3 tickets come after the handshake, before or with the answer.
    socket.on('session', (session: Buffer) => (tickets[client] = session))
    socket.once('secureConnect', () => {
      reused = socket.isSessionReused()
      socket.write('GET / HTTP/1.1\r\nHost: drill.example\r\nConnection: close\r\n\r\n')
    })
    let text = ''
    socket.on('data', (data: Buffer) => (text += data.toString('latin1')))
    socket.once('error', reject)
    socket.once('close', () => (text.startsWith('HTTP/1.1 200') ? resolve(reused) : reject(new Error(text.slice(0, 12)))))
  })
}

async function round(): Promise<Round> {
  const startedMs = performance.now()
  let at = 0
  let answered = 0
  let failed = 0
  let same = 0
  await Promise.all(Array.from({ length: lines }, () => line(
    () => (at < sessions ? at++ : undefined),
    (session, member) => {
      answered += 1
      if (first) served[session] = member
      else if (served[session] === member) same += 1
    },
    () => (failed += 1),
  )))
  let resumed = 0
  let tlsFailed = 0
  for (let from = 0; from < tlsClients; from += lines) {
    const results = await Promise.allSettled(Array.from({ length: Math.min(lines, tlsClients - from) }, (_, i) => overTls(from + i)))
    for (const result of results) {
      if (result.status === 'rejected') tlsFailed += 1
      else if (result.value) resumed += 1
    }
  }
  first = false
  return { answered, failed, same, tls: tlsClients, tlsFailed, resumed, ms: Math.round(performance.now() - startedMs) }
}

for await (const word of createInterface({ input: process.stdin })) {
  if (word !== 'go') break
  process.stdout.write(`${JSON.stringify(await round())}\n`)
}
process.exit()
