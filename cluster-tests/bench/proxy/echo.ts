/** The server behind the WebSocket case: agrees to the upgrade, then sends back what it gets. `echo.ts PORT [ADDRESS…]`. */
import { createServer } from 'node:net'

const answer = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n'

const [port, ...addresses] = process.argv.slice(2)
for (const address of addresses.length === 0 ? ['127.0.0.1'] : addresses) createServer({ noDelay: true }, (socket) => {
  let switched = false
  socket.on('error', () => socket.destroy())
  socket.on('data', (data: Buffer) => {
    if (switched) socket.write(data)
    else if (data.includes('\r\n\r\n')) {
      switched = true
      socket.write(answer)
    }
  })
}).listen({ port: Number(port), host: address, backlog: 4096 })
