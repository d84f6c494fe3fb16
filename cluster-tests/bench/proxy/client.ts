/**
 * A client for what wrk cannot do: WebSocket messages that come back (`socket`), and requests at a fixed rate whatever the answers
 * take (`paced`). Prints one `Load` as JSON. `client.ts KIND PORT SECONDS`.
 */
import { connect, type Socket } from 'node:net'
import type { Load } from './loads.ts'

const [kind, portText, secondsText] = process.argv.slice(2)
const port = Number(portText)
const seconds = Number(secondsText)
/** Latencies in steps of 10 µs up to 2 s. */
const stepMs = 0.01
const counts = new Uint32Array(200_000)
let done = 0
let failed = 0

function record(ms: number): void {
  counts[Math.min(counts.length - 1, Math.floor(ms / stepMs))]! += 1
  done += 1
}

function quantile(share: number): number {
  let left = done * share
  for (let i = 0; i < counts.length; i++) {
    left -= counts[i]!
    if (left <= 0) return i * stepMs
  }
  return counts.length * stepMs
}

function opened(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket))
    socket.setNoDelay(true)
    socket.once('error', reject)
  })
}

/** A masked text frame of 100 bytes (RFC 6455 §5.2); the server sends the same bytes back, which is all that counts here. */
function frame(): Buffer {
  const bytes = Buffer.alloc(106, 0x61)
  bytes.set([0x81, 0x80 | 100, 1, 2, 3, 4])
  return bytes
}

async function sockets(): Promise<void> {
  const message = frame()
  const untilMs = performance.now() + seconds * 1000
  await Promise.all(Array.from({ length: 64 }, async () => {
    const socket = await opened()
    await new Promise<void>((resolve) => {
      let switched = false
      let pending = 0
      let sentMs = 0
      const send = (): void => {
        sentMs = performance.now()
        if (sentMs >= untilMs) {
          socket.destroy()
          return resolve()
        }
        pending = message.length
        socket.write(message)
      }
      socket.on('data', (data: Buffer) => {
        if (!switched) {
          if (!data.includes('\r\n\r\n')) return
          switched = data.toString('latin1').startsWith('HTTP/1.1 101')
          if (!switched) {
            failed += 1
            socket.destroy()
            return resolve()
          }
          return send()
        }
        pending -= data.length
        if (pending > 0) return
        record(performance.now() - sentMs)
        send()
      })
      socket.on('close', () => {
        if (performance.now() < untilMs) failed += 1
        resolve()
      })
      socket.write('GET /socket HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
    })
  }))
}

const perSecond = 1000
const request = Buffer.from('GET /some/path HTTP/1.1\r\nHost: bench.example\r\n\r\n')

async function paced(): Promise<void> {
  const idle: { socket: Socket; sentMs: number }[] = []
  for (let i = 0; i < 20; i++) {
    const one = { socket: await opened(), sentMs: 0 }
    one.socket.on('data', () => {
      if (one.sentMs === 0) return
      record(performance.now() - one.sentMs)
      one.sentMs = 0
      idle.push(one)
    })
    idle.push(one)
  }
  const startMs = performance.now()
  const total = perSecond * seconds
  let sent = 0
  await new Promise<void>((resolve) => {
    const turn = (): void => {
      const nowMs = performance.now()
      // At its own instant, or as soon after it as this process gets to it: what it waits for itself is not the proxy's time.
      if (sent < total && nowMs >= startMs + (sent * 1000) / perSecond) {
        const one = idle.shift()
        if (one === undefined) failed += 1
        else {
          one.sentMs = nowMs
          one.socket.write(request)
        }
        sent += 1
      }
      if (sent >= total && (done + failed >= total || nowMs > startMs + seconds * 1000 + 2000)) return resolve()
      setImmediate(turn)
    }
    turn()
  })
  failed = total - done
}

const startedMs = performance.now()
await (kind === 'socket' ? sockets() : paced())
const load: Load = { done, failed, perSecond: done / ((performance.now() - startedMs) / 1000), p50Ms: quantile(0.5), p99Ms: quantile(0.99) }
process.stdout.write(JSON.stringify(load), () => process.exit())
