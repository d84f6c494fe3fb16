/**
 * Sessions: a JWT (RFC 7519, HS256) signed with the key that all nodes share through the replicated state, so that a
 * session made on one node is valid on every other and survives a failover. It names the user and the generation of the
 * user's record; the role is looked up at each request. Signing out is remembered by this node only, until the session
 * would have ended anyway; a changed password or role ends sessions everywhere (it raises the generation).
 */
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import { jwtVerify, SignJWT } from 'jose'
import type { ClusterSecrets, StoredUser } from '../state/types.ts'

/** Hours of a working day, so that a forgotten console does not stay open for ever. */
export const sessionMs = 12 * 3600_000
const maxTokenLength = 2048
const maxRevoked = 10_000
const issuer = 'haechi'

export interface Session {
  readonly id: string
  readonly user: string
  readonly generation: number
  readonly expiresEpochMs: number
}

/** What sessions need of the replicated state, read at each use. */
export interface SessionState {
  readonly secrets: ClusterSecrets | undefined
  readonly clusterId: string
  user(name: string): StoredUser | undefined
}

export class SignedSessions {
  readonly #state: () => SessionState
  readonly #now: () => number
  readonly #revoked = new Map<string, number>()

  /** `now`: wall-clock milliseconds since the epoch. */
  constructor(state: () => SessionState, now: () => number = Date.now) {
    this.#state = state
    this.#now = now
  }

  /** A new session for a user who has proved who it is; undefined while the cluster's key is not known here. */
  async issue(user: StoredUser): Promise<{ readonly session: Session; readonly token: string } | undefined> {
    const key = this.#key()
    if (key === undefined) return undefined
    const issuedS = Math.floor(this.#now() / 1000)
    const session = {
      id: randomUUID(),
      user: user.name,
      generation: user.generation,
      expiresEpochMs: issuedS * 1000 + sessionMs,
    }
    const token = await new SignJWT({ gen: session.generation })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer(issuer)
      .setAudience(this.#state().clusterId)
      .setSubject(session.user)
      .setJti(session.id)
      .setIssuedAt(issuedS)
      .setExpirationTime(session.expiresEpochMs / 1000)
      .sign(key)
    return { session, token }
  }

  /** The session and its user, or undefined when the token is not, or no longer, valid. */
  async verify(token: string): Promise<{ readonly session: Session; readonly user: StoredUser } | undefined> {
    const key = this.#key()
    if (key === undefined || token.length > maxTokenLength) return undefined
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ['HS256'],
        issuer,
        audience: this.#state().clusterId,
        currentDate: new Date(this.#now()),
      })
      const { sub, jti, exp, gen } = payload
      if (typeof sub !== 'string' || typeof jti !== 'string' || typeof exp !== 'number' || typeof gen !== 'number')
        return undefined
      const session = { id: jti, user: sub, generation: gen, expiresEpochMs: exp * 1000 }
      const user = this.current(session)
      return user === undefined ? undefined : { session, user }
    } catch {
      // jose throws for every kind of invalid token; which kind is nobody's business.
      return undefined
    }
  }

  /** The user of a session that was verified before, if it is still valid now. */
  current(session: Session): StoredUser | undefined {
    if (session.expiresEpochMs <= this.#now() || this.#revoked.has(session.id)) return undefined
    const user = this.#state().user(session.user)
    return user !== undefined && user.generation === session.generation ? user : undefined
  }

  revoke(session: Session): void {
    const now = this.#now()
    for (const [id, expiresEpochMs] of this.#revoked) {
      if (expiresEpochMs > now && this.#revoked.size < maxRevoked) break
      this.#revoked.delete(id)
    }
    this.#revoked.set(session.id, session.expiresEpochMs)
  }

  /** The token that a page must send back with every change; bound to the session. */
  csrfToken(session: Session): string {
    return createHmac('sha256', this.#key() ?? '')
      .update(`csrf ${session.id}`)
      .digest('base64url')
  }

  csrfTokenMatches(session: Session, given: string | undefined): boolean {
    const expected = Buffer.from(this.csrfToken(session))
    const actual = Buffer.from(given ?? '')
    return actual.length === expected.length && timingSafeEqual(actual, expected)
  }

  #key(): Uint8Array | undefined {
    const text = this.#state().secrets?.sessionKey
    if (text === undefined) return undefined
    const key = Buffer.from(text, 'base64url')
    // RFC 7518 §3.2: a key for HS256 has at least 256 bits.
    return key.length >= 32 ? key : undefined
  }
}
