/** Requests at a steady rate over kept connections, whatever the answers take; each failure with when it was under way. */
import { connect, type Socket } from 'node:net'

export interface Failure {
  readonly what: string
  /** Of `performance.now()`, milliseconds. */
  readonly sentMs: number
  readonly failedMs: number
  readonly method: string
}

interface Line {
  socket: Socket | undefined
  busy: boolean
  sentMs: number
  method: string
}

/** Latencies in steps of 0.05 ms up to 5 s. */
const stepMs = 0.05

export class Steady {
  readonly failures: Failure[] = []
  answered = 0
  /** No connection was free: the load itself was late. */
  skipped = 0
  readonly #port: number
  readonly #lines: Line[]
  readonly #timeoutMs: number
  #counts = new Uint32Array(100_000)
  #measured = 0
  #sent = 0
  #startedMs = 0
  #timer: NodeJS.Timeout | undefined
  readonly #perSecond: number
  readonly #methods: readonly string[]

  constructor(port: number, perSecond: number, options: { readonly connections?: number; readonly timeoutMs?: number; readonly methods?: readonly string[] } = {}) {
    this.#port = port
    this.#perSecond = perSecond
    this.#timeoutMs = options.timeoutMs ?? 10_000
    this.#methods = options.methods ?? ['GET']
    this.#lines = Array.from({ length: options.connections ?? 100 }, () => ({ socket: undefined, busy: false, sentMs: 0, method: '' }))
  }

  start(): void {
    this.#startedMs = performance.now()
    this.#timer = setInterval(() => this.#turn(), 1)
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const line of this.#lines) line.socket?.destroy()
  }

  /** Latencies since the last call, milliseconds. */
  take(): { readonly p50Ms: number; readonly p99Ms: number; readonly count: number } {
    const at = (share: number): number => {
      let left = this.#measured * share
      for (let i = 0; i < this.#counts.length; i++) {
        left -= this.#counts[i]!
        if (left <= 0) return i * stepMs
      }
      return this.#counts.length * stepMs
    }
    const result = { p50Ms: at(0.5), p99Ms: at(0.99), count: this.#measured }
    this.#counts = new Uint32Array(100_000)
    this.#measured = 0
    return result
  }

  #turn(): void {
    const nowMs = performance.now()
    const due = Math.floor(((nowMs - this.#startedMs) * this.#perSecond) / 1000)
    while (this.#sent < due) {
      this.#sent += 1
      const line = this.#lines.find(({ busy }) => !busy)
      if (line === undefined) this.skipped += 1
      else this.#send(line, this.#methods[this.#sent % this.#methods.length]!)
    }
    for (const line of this.#lines) if (line.busy && nowMs - line.sentMs > this.#timeoutMs) this.#fail(line, 'no answer in time')
  }

  #send(line: Line, method: string): void {
    line.busy = true
    line.method = method
    line.sentMs = performance.now()
    const body = method === 'POST' ? 'Content-Length: 5\r\n\r\nhello' : '\r\n'
    line.socket ??= this.#open(line)
    line.socket.write(`${method} /steady HTTP/1.1\r\nHost: load.example\r\n${body}`)
  }

  #open(line: Line): Socket {
    const socket = connect(this.#port, '127.0.0.1')
    let text = ''
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1')
      const head = text.indexOf('\r\n\r\n')
      if (head < 0) return
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN)
      const chunkedEnd = /transfer-encoding: chunked/i.test(text.slice(0, head)) ? text.endsWith('0\r\n\r\n') : undefined
      if (chunkedEnd === false || (chunkedEnd === undefined && text.length < head + 4 + length)) return
      const status = text.slice(9, 12)
      const closes = /connection: close/i.test(text.slice(0, head))
      const error = /x-haechi-error: (\S+)/i.exec(text)?.[1] ?? ''
      text = ''
      if (closes) {
        socket.removeAllListeners('close')
        socket.destroy()
        line.socket = undefined
      }
      if (status !== '200') return this.#fail(line, `${status} ${error}`)
      const ms = performance.now() - line.sentMs
      this.#counts[Math.min(this.#counts.length - 1, Math.floor(ms / stepMs))]! += 1
      this.#measured += 1
      this.answered += 1
      line.busy = false
    })
    socket.on('close', () => {
      line.socket = undefined
      if (line.busy) this.#fail(line, 'the connection broke')
    })
    return socket
  }

  #fail(line: Line, what: string): void {
    if (!line.busy) return
    line.busy = false
    this.failures.push({ what, sentMs: line.sentMs, failedMs: performance.now(), method: line.method })
    const { socket } = line
    line.socket = undefined
    socket?.removeAllListeners('close')
    socket?.destroy()
  }
}
