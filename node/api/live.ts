/**
 * Live updates over a WebSocket: the overview at once with its history, then every second and soon after a change, and
 * every new revision. An overview is built and written out once for all sockets. A socket that does not keep up loses
 * messages, and then its connection: what one client does not read must not fill the memory of the node.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import { identityOfRequest } from './guard.ts'
import type { Session } from './signed-session.ts'
import type { RouteOptions } from './routes.ts'
import type { LiveMessage } from './types.ts'

export interface LiveLimits {
  readonly everyMs: number
  /** Shortest time between two overviews. */
  readonly leastMs: number
  readonly pingEveryMs: number
  /** Nothing more is sent to a socket with this much unread. Bytes. */
  readonly maxBufferedBytes: number
  /** A socket that has been that far behind for this long is closed. */
  readonly maxBehindMs: number
  readonly maxSockets: number
}

export const liveLimits: LiveLimits = {
  everyMs: 1000,
  leastMs: 100,
  pingEveryMs: 15_000,
  maxBufferedBytes: 1024 * 1024,
  maxBehindMs: 10_000,
  maxSockets: 200,
}

/** Close codes of RFC 6455 §7.4: 4000 and above are the application's. */
export const signedOutCode = 4401
const tryAgainLater = 1013

interface Client {
  readonly socket: WebSocket
  readonly session: Session | undefined
  answered: boolean
  behindSinceMs: number | undefined
}

export function liveRoutes(app: FastifyInstance, options: RouteOptions, limits: LiveLimits = liveLimits): void {
  const { context, sessions, now, log } = options
  const clients = new Set<Client>()
  let revision = 0
  let lastMs = -Infinity
  let soon: NodeJS.Timeout | undefined
  let every: NodeJS.Timeout | undefined
  let ping: NodeJS.Timeout | undefined
  let unsubscribe: (() => void) | undefined

  function send(client: Client, text: string): void {
    const { socket } = client
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount <= limits.maxBufferedBytes) {
      client.behindSinceMs = undefined
      socket.send(text)
      return
    }
    client.behindSinceMs ??= now()
    if (now() - client.behindSinceMs <= limits.maxBehindMs) return
    log('info', 'a live connection did not keep up and was closed', { bufferedBytes: socket.bufferedAmount })
    clients.delete(client)
    socket.terminate()
  }

  function signedOut(client: Client): boolean {
    if (client.session === undefined) return false
    const user = sessions.current(client.session)
    if (user !== undefined && !user.mustChangePassword) return false
    send(client, text({ type: 'signed-out' }))
    client.socket.close(signedOutCode, 'signed out')
    clients.delete(client)
    return true
  }

  function broadcast(): void {
    clearTimeout(soon)
    soon = undefined
    lastMs = now()
    for (const client of clients) signedOut(client)
    if (clients.size === 0) return
    const current = context.state().current
    const messages = [text({ type: 'overview', overview: context.overview(false) })]
    if (current !== undefined && current.revision !== revision) {
      revision = current.revision
      messages.unshift(text({ type: 'revision', revision, author: current.author, comment: current.comment }))
    }
    for (const client of clients) for (const message of messages) send(client, message)
  }

  /** At once if nothing was sent just now, else as soon as that is long enough ago: many changes make one message. */
  function changed(): void {
    if (soon !== undefined || clients.size === 0) return
    soon = setTimeout(broadcast, Math.max(0, lastMs + limits.leastMs - now()))
  }

  function pingAll(): void {
    for (const client of clients) {
      if (!client.answered) {
        client.socket.terminate()
        continue
      }
      client.answered = false
      client.socket.ping()
    }
  }

  function start(): void {
    revision = context.state().revision
    every = setInterval(broadcast, limits.everyMs)
    ping = setInterval(pingAll, limits.pingEveryMs)
    unsubscribe = context.onChange(changed)
  }

  function stop(): void {
    clearInterval(every)
    clearInterval(ping)
    clearTimeout(soon)
    soon = undefined
    unsubscribe?.()
    unsubscribe = undefined
  }

  app.get(
    '/live',
    {
      websocket: true,
      config: { access: 'viewer' },
      schema: { tags: ['cluster'], summary: 'WebSocket: overview and revisions, live' },
    },
    (socket: WebSocket, request: FastifyRequest) => {
      if (clients.size >= limits.maxSockets) {
        socket.close(tryAgainLater, 'too many live connections')
        return
      }
      const client: Client = {
        socket,
        session: identityOfRequest(request).session,
        answered: true,
        behindSinceMs: undefined,
      }
      socket.on('pong', () => (client.answered = true))
      socket.on('error', (error) => log('debug', 'a live connection failed', { reason: error.message }))
      socket.on('close', () => {
        clients.delete(client)
        if (clients.size === 0) stop()
      })
      if (clients.size === 0) start()
      clients.add(client)
      send(client, text({ type: 'overview', overview: context.overview(true) }))
    },
  )

  app.addHook('onClose', async () => stop())
}

function text(message: LiveMessage): string {
  return JSON.stringify(message)
}
