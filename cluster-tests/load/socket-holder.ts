/** Holds WebSockets: `socket-holder.ts PORT COUNT`. Prints `held N, broken 0`; on SIGUSR2 sends a message on each: `echoed N, broken M`. */
import { connect, type Socket } from 'node:net'

const [port, countText] = process.argv.slice(2)
const count = Number(countText)
const upgrade = 'GET /socket HTTP/1.1\r\nHost: load.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
const sockets = new Set<Socket>()
let broken = 0

function answer(socket: Socket, send: string | Buffer, right: (data: Buffer) => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const onData = (data: Buffer): void => done(right(data))
    const onClose = (): void => done(false)
    const timer = setTimeout(() => done(false), 30_000)
    const done = (ok: boolean): void => {
      clearTimeout(timer)
      socket.off('data', onData)
      socket.off('close', onClose)
      resolve(ok)
    }
    socket.on('data', onData)
    socket.on('close', onClose)
    socket.write(send)
  })
}

async function open(): Promise<void> {
  const socket = connect(Number(port), '127.0.0.1')
  socket.setNoDelay(true)
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  if (!(await answer(socket, upgrade, (data) => data.toString('latin1').startsWith('HTTP/1.1 101')))) {
    broken += 1
    return
  }
  sockets.add(socket)
  socket.on('close', () => {
    broken += 1
    sockets.delete(socket)
  })
}

for (let opened = 0; opened < count; opened += 100) await Promise.all(Array.from({ length: Math.min(100, count - opened) }, open))
process.stdout.write(`held ${sockets.size}, broken ${broken}\n`)
process.on('SIGUSR2', () => {
  void (async () => {
    const message = Buffer.concat([Buffer.from([0x81, 0x80 | 5, 1, 2, 3, 4]), Buffer.from('hello')])
    let echoed = 0
    const all = [...sockets]
    for (let at = 0; at < all.length; at += 100) {
      echoed += (await Promise.all(all.slice(at, at + 100).map((socket) => answer(socket, message, (data) => data.equals(message))))).filter(Boolean).length
    }
    process.stdout.write(`echoed ${echoed}, broken ${broken}\n`)
  })()
})
setInterval(() => undefined, 1000)
