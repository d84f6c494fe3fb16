/**
 * Watches what every proxy answers, one by one and not through a VIP: a request to each every few milliseconds, each on
 * a connection of its own, so that all workers of a node take their turns. Runs in the client's namespace.
 *
 *   node watch.ts OPTIONS     OPTIONS: JSON, see WatchOptions
 *
 * Standard output: lines of JSON, each an array of `[target, sentMs, doneMs, answer]`; an empty answer is a failure.
 * Ends with standard input.
 */
import { connect } from 'node:net'
import { readAnswer } from './answer.ts'
import { monotonicMs } from './clock.ts'

export interface WatchOptions {
  readonly targets: readonly { readonly name: string; readonly host: string; readonly port: number }[]
  readonly periodMs: number
}
export type Seen = readonly [target: string, sentMs: number, doneMs: number, answer: string]

const options = JSON.parse(process.argv[2] ?? '{}') as WatchOptions
const timeoutMs = 2000
const maxInFlight = 256
let inFlight = 0
let seen: Seen[] = []

function ask(target: WatchOptions['targets'][number]): void {
  if (inFlight >= maxInFlight) return
  inFlight++
  const sentMs = monotonicMs()
  const socket = connect({ host: target.host, port: target.port, noDelay: true })
  let text = ''
  let ended = false
  const finish = (answer: string): void => {
    if (ended) return
    ended = true
    inFlight--
    clearTimeout(timer)
    socket.resetAndDestroy()
    seen.push([target.name, sentMs, monotonicMs(), answer])
  }
  const timer = setTimeout(() => finish(''), timeoutMs)
  socket.on('connect', () => socket.write(`GET / HTTP/1.1\r\nHost: ${target.host}\r\nConnection: close\r\n\r\n`))
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    const answer = readAnswer(text)
    if (answer !== undefined) finish(answer.backend)
    else if (text.length > 16_384) finish('')
  })
  for (const event of ['end', 'error', 'close'] as const) socket.on(event, () => finish(''))
}

setInterval(() => options.targets.forEach(ask), options.periodMs)
setInterval(() => {
  if (seen.length === 0) return
  process.stdout.write(`${JSON.stringify(seen)}\n`)
  seen = []
}, 20)
process.stdin.resume()
for (const event of ['end', 'error'] as const) process.stdin.once(event, () => process.exit(0))
