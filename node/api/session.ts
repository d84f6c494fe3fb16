/**
 * Signing in and out, and changing one's own password. Signing in needs no quorum: an operator must be able to look at
 * a cluster that has lost it.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import type { StoredUser } from '../state/types.ts'
import { submit } from './change.ts'
import { actorOf, clientAddress, identityOfRequest, sessionCookie } from './guard.ts'
import { hashPassword, passwordProblem, PasswordsBusy, verifyPassword } from './password.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { PasswordBody, SessionInfo, SignInBody } from './schemas.ts'
import type { Session } from './signed-session.ts'
import type { SessionInfo as SessionInfoType } from './types.ts'

/** The last instant that a Date can hold: a session without an end. */
const never = 8_640_000_000_000_000

export function sessionRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { context, sessions, signInLimit, now } = options
  const audit = new SignInAudit(options)

  const info = (user: StoredUser, session: Session): SessionInfoType => ({
    user: { name: user.name, role: user.role, mustChangePassword: user.mustChangePassword },
    csrfToken: sessions.csrfToken(session),
    expiresEpochMs: session.expiresEpochMs,
  })

  /** A new session as a cookie for browsers, and as a token for everything else: a page's script never sees a token. */
  const begin = async (
    user: StoredUser,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<SessionInfoType | FastifyReply> => {
    const issued = await sessions.issue(user)
    if (issued === undefined)
      return problem(reply, 'not-ready', 'This node has not caught up with the cluster yet.', { retryAfterMs: 1000 })
    void reply.setCookie(sessionCookie, issued.token, {
      httpOnly: true,
      sameSite: 'strict',
      secure: options.tls,
      path: '/',
      expires: new Date(issued.session.expiresEpochMs),
    })
    return { ...info(user, issued.session), ...(fromBrowser(request) ? {} : { token: issued.token }) }
  }

  app.post<{ Body: Static<typeof SignInBody> }>(
    '/session',
    {
      config: { access: 'public' },
      schema: { tags: ['session'], summary: 'Sign in', body: SignInBody, response: { 200: SessionInfo } },
    },
    async (request, reply) => {
      const { name, password } = request.body
      const address = clientAddress(request)
      const permit = signInLimit.begin(address, name, now())
      if (!permit.ok) {
        return problem(reply, 'too-many-requests', 'Too many failed sign-ins from this address or for this user.', {
          retryAfterMs: permit.retryAfterMs,
        })
      }
      const user = context.state().user(name)
      const right = await checked(verifyPassword(password, user?.passwordHash), reply)
      if (right === undefined) {
        signInLimit.withdrawn(address, name)
        return reply
      }
      if (!right || user === undefined) {
        audit.failed(user?.name, address)
        return problem(reply, 'wrong-credentials', 'The user name or the password is wrong.')
      }
      signInLimit.succeeded(address, name)
      audit.succeeded(user.name, address)
      return begin(user, request, reply)
    },
  )

  app.get(
    '/session',
    {
      config: { access: 'session' },
      schema: { tags: ['session'], summary: 'Who is signed in', response: { 200: SessionInfo } },
    },
    (request): SessionInfoType => {
      const identity = identityOfRequest(request)
      const user = { name: identity.name, role: identity.role, mustChangePassword: identity.mustChangePassword }
      if (identity.session === undefined) return { user, csrfToken: '', expiresEpochMs: never }
      return { user, csrfToken: sessions.csrfToken(identity.session), expiresEpochMs: identity.session.expiresEpochMs }
    },
  )

  app.delete(
    '/session',
    {
      config: { access: 'session' },
      schema: { tags: ['session'], summary: 'Sign out', response: { 204: { type: 'null' } } },
    },
    (request, reply) => {
      const { session } = identityOfRequest(request)
      if (session !== undefined) sessions.revoke(session)
      return reply
        .clearCookie(sessionCookie, { path: '/', httpOnly: true, sameSite: 'strict', secure: options.tls })
        .code(204)
        .send()
    },
  )

  app.post<{ Body: Static<typeof PasswordBody> }>(
    '/session/password',
    {
      config: { access: 'session' },
      schema: {
        tags: ['session'],
        summary: 'Change your own password',
        description: 'Ends all other sessions of the user, on every node, and begins a new one.',
        body: PasswordBody,
        response: { 200: SessionInfo },
      },
    },
    async (request, reply) => {
      const identity = identityOfRequest(request)
      const address = clientAddress(request)
      const { current, next } = request.body
      const user = context.state().user(identity.name)
      if (user === undefined) return problem(reply, 'not-found', `${identity.name} is not a user with a password.`)
      const permit = signInLimit.begin(address, user.name, now())
      if (!permit.ok)
        return problem(reply, 'too-many-requests', 'Too many wrong passwords.', { retryAfterMs: permit.retryAfterMs })
      const right = await checked(verifyPassword(current, user.passwordHash), reply)
      if (right === undefined) {
        signInLimit.withdrawn(address, user.name)
        return reply
      }
      if (!right) {
        return problem(reply, 'wrong-credentials', 'The current password is wrong.', {
          problems: [{ field: '/current', message: 'is wrong' }],
        })
      }
      signInLimit.succeeded(address, user.name)
      const fault = next === current ? 'must not be the current one' : passwordProblem(next, user.name)
      if (fault !== undefined) {
        return problem(reply, 'invalid-request', `The new password ${fault}.`, {
          problems: [{ field: '/next', message: fault }],
        })
      }
      const passwordHash = await checked(hashPassword(next), reply)
      if (passwordHash === undefined) return reply
      const changed: StoredUser = { ...user, passwordHash, mustChangePassword: false, generation: user.generation + 1 }
      const outcome = await submit(
        context,
        { kind: 'user-put', actor: actorOf(request, context), user: changed },
        reply,
      )
      if (outcome === undefined) return reply
      return begin(context.state().user(user.name) ?? changed, request, reply)
    },
  )
}

/** Browsers say so in headers that a page's script cannot take away (Fetch Metadata, Origin). */
function fromBrowser(request: FastifyRequest): boolean {
  return request.headers.origin !== undefined || request.headers['sec-fetch-site'] !== undefined
}

/** The result of a password computation; undefined when too many are running and the request has been answered. */
export async function checked<T>(computation: Promise<T>, reply: FastifyReply): Promise<T | undefined> {
  try {
    return await computation
  } catch (error) {
    if (!(error instanceof PasswordsBusy)) throw error
    problem(reply, 'overloaded', 'Too many sign-ins at once.', { retryAfterMs: 1000 })
    return undefined
  }
}

const auditBurst = 10
const auditEveryMs = 6000

/**
 * Sign-ins in the audit log, at a bounded rate: whoever guesses passwords must not fill the log of the cluster. What
 * was left out is counted in the next entry. A name that is no user's is not recorded: it may be a password typed into
 * the wrong field.
 */
class SignInAudit {
  readonly #options: RouteOptions
  #tokens = auditBurst
  #refilledMs: number
  #leftOut = 0

  constructor(options: RouteOptions) {
    this.#options = options
    this.#refilledMs = options.now()
  }

  succeeded(name: string, from: string): void {
    this.#record('session.sign-in', name, from, '')
  }

  failed(name: string | undefined, from: string): void {
    this.#record(
      'session.sign-in-failed',
      name ?? 'unknown',
      from,
      name === undefined ? 'no such user' : 'wrong password',
    )
  }

  #record(action: string, name: string, from: string, detail: string): void {
    const { context, now, log } = this.#options
    const refill = Math.floor((now() - this.#refilledMs) / auditEveryMs)
    if (refill > 0) {
      this.#tokens = Math.min(auditBurst, this.#tokens + refill)
      this.#refilledMs += refill * auditEveryMs
    }
    log(action === 'session.sign-in' ? 'info' : 'warn', action, { user: name, from })
    if (this.#tokens === 0) {
      this.#leftOut++
      return
    }
    this.#tokens--
    const text =
      this.#leftOut === 0
        ? detail
        : `${detail}${detail === '' ? '' : '; '}${this.#leftOut} more sign-ins were not recorded one by one`
    this.#leftOut = 0
    // Not awaited: a cluster without a quorum must not keep anybody from signing in.
    void context
      .submit({ kind: 'audit', actor: { name, from, node: context.selfId }, action, detail: text })
      .then((result) => {
        if (!result.ok)
          log('warn', 'a sign-in could not be recorded in the audit log', { user: name, reason: result.refusal.detail })
      })
  }
}
