/**
 * Many clients that use the service while something else is drilled: each keeps a connection, asks, waits, asks again,
 * and connects anew when that fails. Runs in the client's namespace.
 *
 *   node poller.ts OPTIONS     OPTIONS: JSON, see PollerOptions
 *
 * Standard output: `{"type":"ready"}` when every client has been answered once; `{"type":"result",…}` after the end of
 * standard input.
 */
import { connect, type Socket } from 'node:net'
import { readAnswer } from './answer.ts'

export interface PollerOptions {
  readonly host: string
  readonly port: number
  readonly clients: number
  /** Pause of a client between two requests, milliseconds. */
  readonly pauseMs: number
  readonly timeoutMs: number
}

export interface PollerResult {
  readonly type: 'result'
  readonly answered: number
  readonly failed: number
  /** Clients that were answered within the last two pauses and a second: at the end it has to be all of them. */
  readonly served: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as PollerOptions
const head = Buffer.from(`GET / HTTP/1.1\r\nHost: ${options.host}\r\n\r\n`)
let answered = 0
let failed = 0

class Client {
  lastAnswerMs = 0
  #socket: Socket | undefined
  #text = ''
  #timer: NodeJS.Timeout | undefined

  /** Begins after a part of the pause of its own, so that the clients do not ask in step. */
  start(offsetMs: number): void {
    this.#timer = setTimeout(() => this.#ask(), offsetMs)
  }

  #ask(): void {
    clearTimeout(this.#timer)
    this.#text = ''
    this.#timer = setTimeout(() => this.#fail(this.#socket), options.timeoutMs)
    this.#socket ??= this.#connect()
    this.#socket.write(head)
  }

  #connect(): Socket {
    const socket = connect({ host: options.host, port: options.port, noDelay: true })
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      if (readAnswer(this.#text) === undefined) {
        if (this.#text.length > 16_384 || /^HTTP\/1\.1 [345]/.test(this.#text)) this.#fail(socket)
        return
      }
      answered++
      this.lastAnswerMs = performance.now()
      this.#text = ''
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#ask(), options.pauseMs)
    })
    for (const event of ['error', 'end', 'close'] as const) socket.on(event, () => this.#fail(socket))
    return socket
  }

  #fail(socket: Socket | undefined): void {
    if (socket === undefined || socket !== this.#socket) return
    this.#socket = undefined
    socket.destroy()
    failed++
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#ask(), 50)
  }
}

const clients = Array.from({ length: options.clients }, () => new Client())
clients.forEach((client, i) => client.start((i / clients.length) * options.pauseMs))
const waiting = setInterval(() => {
  if (!clients.every((client) => client.lastAnswerMs > 0)) return
  clearInterval(waiting)
  process.stdout.write('{"type":"ready"}\n')
}, 20)

const finish = (): void => {
  const since = performance.now() - 2 * options.pauseMs - 1000
  const served = clients.filter((client) => client.lastAnswerMs > since).length
  const result: PollerResult = { type: 'result', answered, failed, served }
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}
process.stdin.resume()
process.stdin.once('end', finish)
process.stdin.once('error', finish)
