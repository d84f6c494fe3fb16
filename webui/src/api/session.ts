/** Who is signed in. The session itself is a cookie that this code never sees; here is what the node says about it. */
import { useSyncExternalStore } from 'react'
import type { SessionInfo, UserRole } from '../../../node/api/types.ts'
import { ApiFailure, call, onSignedOut, setCsrfToken } from './client.ts'

export type Session =
  | { readonly phase: 'loading' }
  /** `ended`: there was a session and the node no longer accepts it. */
  | { readonly phase: 'signed-out'; readonly ended: boolean }
  | { readonly phase: 'signed-in'; readonly info: SessionInfo }
  | { readonly phase: 'unreachable'; readonly detail: string }

let current: Session = { phase: 'loading' }
const listeners = new Set<() => void>()
let expiry: ReturnType<typeof setTimeout> | undefined

/** Set while this browser has a session: without it the node is not asked for one, which could only be refused. */
const hintKey = 'haechi.session'

function remember(signedIn: boolean): void {
  try {
    if (signedIn) localStorage.setItem(hintKey, 'yes')
    else localStorage.removeItem(hintKey)
  } catch {
    // Storage may be forbidden; then one signs in after every reload.
  }
}

function mayHaveSession(): boolean {
  try {
    return localStorage.getItem(hintKey) !== null
  } catch {
    return false
  }
}

function become(next: Session): void {
  current = next
  if (next.phase === 'signed-in' || next.phase === 'signed-out') remember(next.phase === 'signed-in')
  clearTimeout(expiry)
  if (next.phase === 'signed-in') {
    setCsrfToken(next.info.csrfToken)
    // setTimeout takes at most 2^31-1 ms; a longer session is simply noticed by the first 401.
    const remainingMs = next.info.expiresEpochMs - Date.now()
    if (remainingMs < 2 ** 31) expiry = setTimeout(() => void recheck(), Math.max(1000, remainingMs))
  } else {
    setCsrfToken('')
  }
  for (const listener of listeners) listener()
}

onSignedOut(() => sessionEnded())

/** The node no longer accepts the session: show the sign-in, keep the address and the draft. */
export function sessionEnded(): void {
  if (current.phase === 'signed-in') become({ phase: 'signed-out', ended: true })
}

async function recheck(): Promise<void> {
  try {
    become({ phase: 'signed-in', info: await call<SessionInfo>('GET', '/session') })
  } catch (error) {
    if (error instanceof ApiFailure && error.status === 401) sessionEnded()
  }
}

/** Asks the node whether the browser has a session already. */
export async function openSession(): Promise<void> {
  if (!mayHaveSession()) return become({ phase: 'signed-out', ended: false })
  try {
    become({ phase: 'signed-in', info: await call<SessionInfo>('GET', '/session') })
  } catch (error) {
    if (error instanceof ApiFailure && (error.status === 401 || error.status === 403)) {
      become({ phase: 'signed-out', ended: false })
    } else {
      become({ phase: 'unreachable', detail: error instanceof Error ? error.message : String(error) })
    }
  }
}

/** Throws ApiFailure: 401 wrong name or password, 429 too many attempts (with `retryAfterSeconds`). */
export async function signIn(name: string, password: string): Promise<void> {
  become({ phase: 'signed-in', info: await call<SessionInfo>('POST', '/session', { body: { name, password } }) })
}

export async function signOut(): Promise<void> {
  try {
    await call('DELETE', '/session')
  } finally {
    become({ phase: 'signed-out', ended: false })
  }
}

/** Changes the own password. That ends every other session of the user and begins a new one. Throws ApiFailure. */
export async function changePassword(before: string, next: string): Promise<void> {
  become({ phase: 'signed-in', info: await call<SessionInfo>('POST', '/session/password', { body: { current: before, next } }) })
}

export function useSession(): Session {
  return useSyncExternalStore(subscribe, () => current)
}

export function currentUserName(): string {
  return current.phase === 'signed-in' ? current.info.user.name : ''
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

const ranks: Readonly<Record<UserRole, number>> = { viewer: 0, operator: 1, administrator: 2 }

/** Whether the signed-in user has at least this role. */
export function useMay(role: UserRole): boolean {
  const session = useSession()
  return session.phase === 'signed-in' && ranks[session.info.user.role] >= ranks[role]
}
