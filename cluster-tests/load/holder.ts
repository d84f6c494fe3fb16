/**
 * Holds connections: `holder.ts PORT COUNT [once]`. Each sends one request and waits for its answer, `held` is printed; on SIGUSR2
 * each sends another one, `again N, failed M` is printed. With `once` it ends after the first.
 */
import { connect, type Socket } from 'node:net'

const [port, countText, mode] = process.argv.slice(2)
const count = Number(countText)
const request = 'GET / HTTP/1.1\r\nHost: load.example\r\n\r\n'
const sockets = new Set<Socket>()
let failed = 0

/** One request on a connection; resolves with whether it was answered. */
function ask(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const onData = (data: Buffer): void => done(data.toString('latin1').startsWith('HTTP/1.1 200'))
    const onClose = (): void => done(false)
    const done = (ok: boolean): void => {
      socket.off('data', onData)
      socket.off('close', onClose)
      resolve(ok)
    }
    socket.on('data', onData)
    socket.on('close', onClose)
    socket.write(request)
  })
}

async function open(): Promise<void> {
  const socket = connect(Number(port), '127.0.0.1')
  socket.setNoDelay(true)
  socket.on('error', () => undefined)
  socket.on('close', () => sockets.delete(socket))
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  if (await ask(socket)) sockets.add(socket)
  else failed += 1
}

// A hundred at a time: the accept queue is not what is measured.
for (let opened = 0; opened < count; opened += 100) await Promise.all(Array.from({ length: Math.min(100, count - opened) }, open))
process.stdout.write(`held ${sockets.size}, failed ${failed}\n`)
if (mode === 'once') process.exit(failed === 0 ? 0 : 1)
process.on('SIGUSR2', () => {
  void (async () => {
    let again = 0
    const all = [...sockets]
    for (let at = 0; at < all.length; at += 100) again += (await Promise.all(all.slice(at, at + 100).map(ask))).filter(Boolean).length
    process.stdout.write(`again ${again}, failed ${count - again}\n`)
  })()
})
setInterval(() => undefined, 1000)
