/** The web console: its built files, and index.html for every address that the console itself routes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { problem } from './problems.ts'

/** Registers the files, and answers what no route has: index.html to a browser that opens an address, else 404. */
export async function addConsole(app: FastifyInstance, directory: string): Promise<void> {
  const index = join(directory, 'index.html')
  const built = existsSync(index)
  if (built) {
    await app.register(fastifyStatic, {
      root: directory,
      index: 'index.html',
      cacheControl: false,
      dotfiles: 'ignore',
      setHeaders: (reply, path) => {
        // Vite puts a hash of the content into the names below assets/; everything else may change under its name.
        const hashed = path.startsWith(join(directory, 'assets'))
        void reply.header('cache-control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache')
      },
    })
  }
  app.setNotFoundHandler((request, reply) => {
    if (!opensPage(request)) return notFound(request, reply)
    if (built) return reply.sendFile('index.html')
    return reply
      .code(503)
      .type('text/html; charset=utf-8')
      .send(
        '<!doctype html><title>Haechi</title><h1>Haechi</h1><p>The console has not been built. Run <code>npx vite build webui</code> and start the node again.</p>',
      )
  })
}

/** 404 for what is no route. */
export function notFound(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = request.url.split('?')[0]!.slice(0, 200)
  return problem(reply, 'not-found', `There is no ${request.method} ${path}. See /api/docs for what there is.`)
}

function opensPage(request: FastifyRequest): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  const path = request.url.split('?')[0]!
  if (path === '/api' || path.startsWith('/api/') || path.startsWith('/assets/') || path === '/metrics') return false
  return request.headers.accept?.includes('text/html') === true
}
