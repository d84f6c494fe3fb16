/** What every file of routes gets. */
import type { Log } from '../observe/log.ts'
import type { NodeContext } from './context.ts'
import type { SignInLimit } from './sign-in-limit.ts'
import type { SignedSessions } from './signed-session.ts'

export interface RouteOptions {
  readonly context: NodeContext
  readonly sessions: SignedSessions
  readonly signInLimit: SignInLimit
  readonly log: Log
  /** The unix socket: every request is the local administrator. */
  readonly local: boolean
  /** Served over TLS: cookies are marked Secure. */
  readonly tls: boolean
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** Path prefix of all routes. */
export const apiPrefix = '/api/v1'
