/**
 * Clients that hurt: `slow-clients.ts JSON` with port, first, rest, count, limitMs. Each sends `first` and then one byte of `rest` a second;
 * prints how they ended within `limitMs`, as JSON: text → how many.
 */
import { connect, type Socket } from 'node:net'

interface Plan {
  readonly port: number
  readonly first: string
  readonly rest: string
  readonly count: number
  readonly limitMs: number
}

const plan = JSON.parse(process.argv[2]!) as Plan
const endings: Record<string, number> = {}
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** What was seen: a status and its error code, and how the connection ended. */
function say(text: string, end: string): string {
  const code = /x-haechi-error: (\S+)/i.exec(text)?.[1] ?? ''
  return [text.slice(9, 12), code, end].filter((part) => part !== '').join(' ')
}

async function one(index: number, untilMs: number): Promise<void> {
  // Spread over a second and a half, as clients are that do not know of each other.
  await sleep((index * 1500) / plan.count)
  await new Promise<void>((resolve) => {
    let text = ''
    let sent = 0
    let reset = false
    let drip: NodeJS.Timeout | undefined
    const socket: Socket = connect(plan.port, '127.0.0.1', () => {
      socket.write(plan.first)
      if (plan.rest === '') return
      drip = setInterval(() => {
        if (socket.writable && sent < plan.rest.length) socket.write(plan.rest[sent++]!)
      }, 1000)
    })
    const done = (end: string): void => {
      clearInterval(drip)
      clearTimeout(limit)
      const what = say(text, end)
      endings[what] = (endings[what] ?? 0) + 1
      socket.removeAllListeners('close')
      socket.destroy()
      resolve()
    }
    const limit = setTimeout(() => done('open'), untilMs - performance.now())
    socket.on('data', (data: Buffer) => {
      if (text.length < 4096) text += data.toString('latin1')
    })
    socket.on('error', () => (reset = true))
    socket.on('close', () => done(reset ? 'reset' : 'closed'))
  })
}

const untilMs = performance.now() + plan.limitMs
await Promise.all(Array.from({ length: plan.count }, (_, index) => one(index, untilMs)))
process.stdout.write(JSON.stringify(endings), () => process.exit())
