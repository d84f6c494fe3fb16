/**
 * Servers that hurt, each at an address of its own: `bad-members.ts PORT`. .21 never answers, .22 closes within its body, .23 answers before
 * it has read the body, .24 sends one byte of its body a second.
 */
import { createServer, type Socket } from 'node:net'

const port = Number(process.argv[2])
const body = 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n'

function serve(address: string, behave: (socket: Socket) => void): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    behave(socket)
  })
  return new Promise((resolve) => server.listen({ port, host: address, backlog: 4096 }, resolve))
}

await serve('127.0.0.21', (socket) => void socket.on('data', () => undefined))
await serve('127.0.0.22', (socket) => void socket.once('data', () => socket.end(`${body}half`)))
await serve('127.0.0.23', (socket) => void socket.once('data', () => socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno')))
await serve('127.0.0.24', (socket) => void socket.once('data', () => {
  socket.write(body)
  const timer = setInterval(() => socket.write('x'), 1000)
  socket.on('close', () => clearInterval(timer))
}))
process.stdout.write('listening\n')
