/**
 * The live connection: a WebSocket that carries the overview every second and every new revision. It reconnects by
 * itself; while it is down the console says so and falls back to asking (see queries.ts).
 */
import { useSyncExternalStore } from 'react'
import type { LiveMessage } from '../../../node/api/types.ts'

export interface LiveState {
  readonly phase: 'connecting' | 'live' | 'lost'
  /** When the phase began, wall-clock milliseconds. */
  readonly sinceEpochMs: number
  /** Attempts since the connection was lost. */
  readonly attempts: number
}

/** The node sends every second; a silence this long means that the connection is dead, whatever TCP thinks. */
const silenceMs = 5_000
const backoffMs = [500, 1_000, 2_000, 4_000, 5_000]

let state: LiveState = { phase: 'connecting', sinceEpochMs: Date.now(), attempts: 0 }
const listeners = new Set<() => void>()
let socket: WebSocket | undefined
let retry: ReturnType<typeof setTimeout> | undefined
let silence: ReturnType<typeof setTimeout> | undefined
let receive: (message: LiveMessage) => void = () => undefined
let wanted = false

function become(phase: LiveState['phase'], attempts: number): void {
  const sinceEpochMs = phase === state.phase ? state.sinceEpochMs : Date.now()
  state = { phase, sinceEpochMs, attempts }
  for (const listener of listeners) listener()
}

/** Connects and keeps connected until the returned function is called. */
export function connectLive(handler: (message: LiveMessage) => void): () => void {
  receive = handler
  wanted = true
  open()
  const wake = () => retryLive()
  window.addEventListener('online', wake)
  return () => {
    wanted = false
    window.removeEventListener('online', wake)
    clearTimeout(retry)
    clearTimeout(silence)
    socket?.close()
    socket = undefined
    become('connecting', 0)
  }
}

/** Tries again now, without waiting for the next attempt. */
export function retryLive(): void {
  if (!wanted || state.phase === 'live') return
  clearTimeout(retry)
  open()
}

function open(): void {
  // An attempt that hangs is replaced; its late events are recognised by identity and ignored.
  const previous = socket
  socket = undefined
  previous?.close()
  const opened = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`)
  socket = opened
  watchSilence(opened)
  opened.addEventListener('message', (event: MessageEvent<unknown>) => {
    if (socket !== opened || typeof event.data !== 'string') return
    watchSilence(opened)
    if (state.phase !== 'live') become('live', 0)
    receive(JSON.parse(event.data) as LiveMessage)
  })
  opened.addEventListener('close', () => lost(opened))
  opened.addEventListener('error', () => lost(opened))
}

function watchSilence(opened: WebSocket): void {
  clearTimeout(silence)
  silence = setTimeout(() => {
    if (socket === opened) {
      lost(opened)
      opened.close()
    }
  }, silenceMs)
}

function lost(opened: WebSocket): void {
  if (socket !== opened || !wanted) return
  socket = undefined
  clearTimeout(silence)
  const attempts = state.attempts + 1
  become('lost', attempts)
  clearTimeout(retry)
  retry = setTimeout(open, backoffMs[Math.min(attempts, backoffMs.length) - 1])
}

export function useLive(): LiveState {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => state,
  )
}
