/**
 * A backend of the lab: a tiny HTTP server that answers with its own name, so that a client sees who served it.
 *
 *   node backend.ts --name NAME --listen ADDRESS:PORT
 *
 *   GET /            NAME and a line feed
 *   GET /health      200 `ok`, or 503 after POST /down (until POST /up): lets a health check fail without ending anything
 *   GET /drip?id=X   one `.` every 50 ms until POST /release?id=X, then `done` — a request that stays in flight
 *   GET /drips       ids of those requests, one a line
 *   GET /slow?ms=N   answers after N milliseconds (at most 60 s)
 *   POST, PUT        the body's length and NAME
 */
import { createServer, type ServerResponse } from 'node:http'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { name: { type: 'string' }, listen: { type: 'string' } } })
const name = values.name ?? 'backend'
const listen = values.listen ?? '127.0.0.1:0'
const colon = listen.lastIndexOf(':')

/** More unfinished `/drip` answers at once are refused. */
const maxDrips = 1000
const drips = new Map<string, { readonly response: ServerResponse; readonly timer: NodeJS.Timeout }>()
let healthy = true

function text(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain',
    'Content-Length': Buffer.byteLength(body),
    'X-Backend': name,
  })
  response.end(body)
}

function drip(id: string, response: ServerResponse): void {
  if (drips.has(id) || drips.size >= maxDrips) return text(response, 409, 'in use\n')
  response.writeHead(200, { 'Content-Type': 'text/plain', 'X-Backend': name })
  response.write('.')
  const timer = setInterval(() => response.write('.'), 50)
  drips.set(id, { response, timer })
  response.on('close', () => {
    clearInterval(timer)
    drips.delete(id)
  })
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://backend')
  if (request.method === 'POST' || request.method === 'PUT') {
    let length = 0
    request.on('data', (chunk: Buffer) => (length += chunk.length))
    request.on('end', () => {
      if (url.pathname === '/down' || url.pathname === '/up') healthy = url.pathname === '/up'
      if (url.pathname === '/release') {
        const waiting = drips.get(url.searchParams.get('id') ?? '')
        if (waiting === undefined) return text(response, 404, 'none\n')
        clearInterval(waiting.timer)
        waiting.response.end('done')
      }
      text(response, 200, `${length} ${name}\n`)
    })
    return
  }
  if (url.pathname === '/health') return text(response, healthy ? 200 : 503, healthy ? 'ok\n' : 'down\n')
  if (url.pathname === '/drips') return text(response, 200, [...drips.keys()].map((id) => `${id}\n`).join(''))
  if (url.pathname === '/drip') return drip(url.searchParams.get('id') ?? '', response)
  if (url.pathname === '/slow') {
    const milliseconds = Math.min(60_000, Math.max(0, Number(url.searchParams.get('ms')) || 0))
    const timer = setTimeout(() => text(response, 200, `${name}\n`), milliseconds)
    response.on('close', () => clearTimeout(timer))
    return
  }
  text(response, 200, `${name}\n`)
})
// Longer than any proxy keeps an idle connection, so that the proxy is always the one that closes.
server.keepAliveTimeout = 120_000
server.listen(Number(listen.slice(colon + 1)), listen.slice(0, colon), () => {
  process.stdout.write(`${JSON.stringify({ listening: server.address() })}\n`)
})
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => process.exit(0))
