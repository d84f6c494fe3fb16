/** A server that can be killed: `member-server.ts PORT ADDRESS`. Answers each request with its address after 5 ms. */
import { createServer } from 'node:http'

const [port, address] = process.argv.slice(2)
const answerAfterMs = 5

const server = createServer((request, response) => {
  request.resume()
  request.on('end', () => setTimeout(() => response.end(`${address}\n`), answerAfterMs))
})
server.keepAliveTimeout = 3600_000
server.listen(Number(port), address, () => process.stdout.write('listening\n'))
