/**
 * Who may do what: every route names the access that it needs in `config.access`, and a route that does not name any
 * cannot be registered. Runs before a body is read.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import '@fastify/cookie'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Actor, StoredUser, UserRole } from '../state/types.ts'
import type { NodeContext } from './context.ts'
import { PasswordsBusy, verifyPassword } from './password.ts'
import { problem } from './problems.ts'
import type { SignInLimit } from './sign-in-limit.ts'
import type { Session, SignedSessions } from './signed-session.ts'

/** `public`: no sign-in. `session`: anyone signed in, even before the first password is changed. Else at least that role.
 *  `metrics`: a viewer, who may also use HTTP Basic, because Prometheus cannot sign in. */
export type Access = 'public' | 'session' | 'metrics' | UserRole

/** Who makes a request. */
export interface Identity {
  readonly name: string
  readonly role: UserRole
  readonly mustChangePassword: boolean
  readonly via: 'local' | 'cookie' | 'bearer' | 'basic'
  /** Undefined for `local` and `basic`. */
  readonly session: Session | undefined
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
  }
  interface FastifyRequest {
    identity: Identity | null
  }
}

export const sessionCookie = 'haechi_session'

const ranks: Readonly<Record<UserRole, number>> = { viewer: 0, operator: 1, administrator: 2 }
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** The administrator of the unix socket: whoever can open the socket owns the node. */
const local: Identity = {
  name: 'local',
  role: 'administrator',
  mustChangePassword: false,
  via: 'local',
  session: undefined,
}

export interface GuardOptions {
  /** Every request is the local administrator (unix socket). */
  readonly local: boolean
  readonly sessions: SignedSessions
  readonly signInLimit: SignInLimit
  readonly context: NodeContext
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** Adds the guard to every route of the instance. Call before any route is added. */
export function addGuard(app: FastifyInstance, options: GuardOptions): void {
  const basic = new BasicCredentials(options)
  app.decorateRequest('identity', null)
  app.addHook('onRoute', (route) => {
    if (route.config?.access === undefined)
      throw new Error(`route ${String(route.method)} ${route.url} does not say who may use it`)
  })
  app.addHook('onRequest', async (request, reply) => {
    const access = request.routeOptions.config.access
    // Not a route: the handler for what is not found answers.
    if (access === undefined) return undefined
    if (!options.local) {
      const refused = crossSite(request, reply)
      if (refused !== undefined) return refused
    }
    const identity = options.local ? local : await identify(request, options.sessions)
    request.identity = identity
    if (access === 'public') return undefined
    if (access === 'metrics' && identity === null && request.headers.authorization?.startsWith('Basic ')) {
      return await basic.check(request, reply)
    }
    if (identity === null) {
      if (access === 'metrics') void reply.header('www-authenticate', 'Basic realm="haechi", charset="UTF-8"')
      return problem(reply, 'not-signed-in', 'There is no session, or it has ended. Sign in with POST /api/v1/session.')
    }
    return mayUse(identity, access, request, reply, options.sessions)
  })
}

function mayUse(
  identity: Identity,
  access: Exclude<Access, 'public'>,
  request: FastifyRequest,
  reply: FastifyReply,
  sessions: SignedSessions,
): FastifyReply | undefined {
  if (identity.via === 'cookie' && !safeMethods.has(request.method) && identity.session !== undefined) {
    const given = request.headers['x-csrf-token']
    if (!sessions.csrfTokenMatches(identity.session, typeof given === 'string' ? given : undefined)) {
      return problem(reply, 'csrf-token', 'Send the csrfToken of GET /api/v1/session in the X-CSRF-Token header.')
    }
  }
  if (access === 'session') return undefined
  if (identity.mustChangePassword) {
    return problem(
      reply,
      'password-change-required',
      'This password is for the first sign-in only. Set a new one with POST /api/v1/session/password.',
    )
  }
  const needed = access === 'metrics' ? 'viewer' : access
  if (ranks[identity.role] < ranks[needed]) {
    return problem(reply, 'forbidden', `This needs the role ${needed}; ${identity.name} has the role ${identity.role}.`)
  }
  return undefined
}

/** Whether a browser sent this from a page of another site. Requests without an Origin do not come from a page's script;
 *  the cookie is SameSite=Strict besides. A WebSocket with a cookie must have an Origin: browsers always send one. */
function crossSite(request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  const { origin, host, upgrade, authorization } = request.headers
  if (origin === undefined) {
    if (upgrade === undefined || authorization !== undefined) return undefined
    return problem(reply, 'wrong-origin', 'A WebSocket with a cookie needs an Origin header.')
  }
  if (safeMethods.has(request.method) && upgrade === undefined) return undefined
  const own = URL.canParse(origin) ? new URL(origin).host : ''
  if (own !== '' && own === host) return undefined
  return problem(reply, 'wrong-origin', 'The Origin header does not name this node.')
}

async function identify(request: FastifyRequest, sessions: SignedSessions): Promise<Identity | null> {
  const { authorization } = request.headers
  // Whoever sends a token means the token: a cookie that happens to be there must not stand in for a bad one.
  const bearer = authorization === undefined ? undefined : /^Bearer ([\w.-]+)$/i.exec(authorization)?.[1]
  if (authorization !== undefined && bearer === undefined) return null
  const token = bearer ?? request.cookies[sessionCookie]
  if (token === undefined) return null
  const found = await sessions.verify(token)
  if (found === undefined) return null
  return identityOf(found.user, bearer === undefined ? 'cookie' : 'bearer', found.session)
}

function identityOf(user: StoredUser, via: Identity['via'], session: Session | undefined): Identity {
  return { name: user.name, role: user.role, mustChangePassword: user.mustChangePassword, via, session }
}

/** The identity of a request on a route that needs one. */
export function identityOfRequest(request: FastifyRequest): Identity {
  if (request.identity === null) throw new Error(`${request.method} ${request.url} ran without an identity`)
  return request.identity
}

/** The client's address without the prefix of an IPv4-mapped one; empty on the unix socket. */
export function clientAddress(request: FastifyRequest): string {
  const address = request.ip ?? ''
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/** Who a change is recorded for. */
export function actorOf(request: FastifyRequest, context: NodeContext): Actor {
  return { name: identityOfRequest(request).name, from: clientAddress(request), node: context.selfId }
}

const basicCacheMs = 5 * 60_000
const maxBasicCached = 100

/** HTTP Basic (RFC 7617) for scrapers. What was right is remembered for a while as a keyed hash, so that a scrape every
 *  few seconds does not cost an argon2 each. */
class BasicCredentials {
  readonly #options: GuardOptions
  readonly #key = randomBytes(32)
  readonly #cache = new Map<string, { readonly hash: Buffer; readonly generation: number; readonly untilMs: number }>()

  constructor(options: GuardOptions) {
    this.#options = options
  }

  async check(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
    const { context, signInLimit, sessions, now } = this.#options
    const text = Buffer.from(request.headers.authorization?.slice('Basic '.length) ?? '', 'base64').toString('utf8')
    const colon = text.indexOf(':')
    const name = colon < 0 ? text : text.slice(0, colon)
    const password = colon < 0 ? '' : text.slice(colon + 1)
    const user = context.state().user(name)
    const hash = createHmac('sha256', this.#key).update(text).digest()
    const cached = this.#cache.get(name)
    let right =
      user !== undefined &&
      cached !== undefined &&
      cached.untilMs > now() &&
      cached.generation === user.generation &&
      timingSafeEqual(cached.hash, hash)
    if (!right) {
      const address = clientAddress(request)
      const permit = signInLimit.begin(address, name, now())
      if (!permit.ok)
        return problem(reply, 'too-many-requests', 'Too many failed sign-ins.', { retryAfterMs: permit.retryAfterMs })
      try {
        right = await verifyPassword(password.slice(0, 1024), user?.passwordHash)
      } catch (error) {
        if (!(error instanceof PasswordsBusy)) throw error
        signInLimit.withdrawn(address, name)
        return problem(reply, 'overloaded', 'Too many sign-ins at once.', { retryAfterMs: 1000 })
      }
      if (right && user !== undefined) {
        signInLimit.succeeded(address, name)
        this.#cache.delete(name)
        this.#cache.set(name, { hash, generation: user.generation, untilMs: now() + basicCacheMs })
        if (this.#cache.size > maxBasicCached) this.#cache.delete(this.#cache.keys().next().value!)
      }
    }
    if (!right || user === undefined) {
      void reply.header('www-authenticate', 'Basic realm="haechi", charset="UTF-8"')
      return problem(reply, 'wrong-credentials', 'The user name or the password is wrong.')
    }
    const identity = identityOf(user, 'basic', undefined)
    request.identity = identity
    return mayUse(identity, 'metrics', request, reply, sessions)
  }
}
