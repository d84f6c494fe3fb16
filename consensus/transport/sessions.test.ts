import test from 'ava'
import type { Message } from '../core/types.ts'
import { datagramBytes, ReceivingSessions, ReplayWindow, SendingSession } from './sessions.ts'

const heartbeat: Message = { type: 'heartbeat', from: 'a', to: 'b', term: 7, sequence: 99, commit: 2 ** 40 }

function pair(): { sending: SendingSession; receiving: ReceivingSessions } {
  const sending = new SendingSession()
  const receiving = new ReceivingSessions('b')
  receiving.add('a', sending.id, sending.key)
  return { sending, receiving }
}

test('every datagram message arrives as it was sent, in the name of the session', (t) => {
  const { sending, receiving } = pair()
  const messages: Message[] = [
    heartbeat,
    { type: 'heartbeat-ack', from: 'a', to: 'b', term: 7, sequence: 99, lastIndex: 12 },
    { type: 'pre-vote', from: 'a', to: 'b', term: 8, lastIndex: 3, lastTerm: 2 },
    { type: 'pre-vote-reply', from: 'a', to: 'b', term: 8, granted: true },
    { type: 'vote', from: 'a', to: 'b', term: 8, lastIndex: 3, lastTerm: 2, transfer: true },
    { type: 'vote-reply', from: 'a', to: 'b', term: 8, granted: false },
    { type: 'timeout-now', from: 'a', to: 'b', term: 8 },
  ]
  for (const message of messages) t.like(receiving.open(sending.seal(message)!), { ok: true, from: 'a', message })
  t.like(receiving.open(sending.seal({ ...heartbeat, from: 'mallory' })!), { ok: true, from: 'a', message: heartbeat })
  t.is(sending.seal({ type: 'snapshot-request', from: 'a', to: 'b', term: 1 }), undefined)
})

test('any changed bit is noticed', (t) => {
  const { sending, receiving } = pair()
  const datagram = sending.seal(heartbeat)!
  t.is(datagram.length, datagramBytes)
  for (let at = 0; at < datagram.length; at += 1) {
    const changed = Buffer.from(datagram)
    changed[at]! ^= 0x10
    t.like(receiving.open(changed), { ok: false, reason: at < 8 ? 'unknown-session' : 'forged' }, `byte ${at}`)
  }
  t.like(receiving.open(datagram.subarray(1)), { ok: false, reason: 'malformed' })
  t.like(receiving.open(Buffer.alloc(0)), { ok: false, reason: 'malformed' })
  t.true(receiving.open(datagram).ok, 'forgeries do not use up its counter')
})

test('a datagram of another key, or of a forgotten peer, is refused', (t) => {
  const { sending, receiving } = pair()
  const impostor = new SendingSession(sending.id)
  t.like(receiving.open(impostor.seal(heartbeat)!), { ok: false, reason: 'forged' })
  receiving.forget('a')
  t.like(receiving.open(sending.seal(heartbeat)!), { ok: false, reason: 'unknown-session' })
})

test('a replay is refused, reordering is not', (t) => {
  const { sending, receiving } = pair()
  const datagrams = Array.from({ length: 100 }, () => sending.seal(heartbeat)!)
  for (const at of [0, 2, 1, 50, 49]) t.true(receiving.open(datagrams[at]!).ok, `first time ${at}`)
  for (const at of [0, 2, 1, 50, 49]) t.like(receiving.open(datagrams[at]!), { ok: false, reason: 'replayed' }, `again ${at}`)
  t.true(receiving.open(datagrams[99]!).ok)
  t.true(receiving.open(datagrams[36]!).ok, 'the oldest within the window')
  t.like(receiving.open(datagrams[35]!), { ok: false, reason: 'replayed' }, 'too old to tell')
})

test('the window accepts every counter at most once, whatever the order', (t) => {
  const seed = Date.now() % 1_000_000
  let state = seed
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state % below
  }
  const window = new ReplayWindow()
  const accepted = new Set<bigint>()
  let highest = -1n
  for (let at = 0; at < 5000; at += 1) {
    const counter = BigInt(Math.max(Math.floor(at / 4) + random(120) - 60, 0))
    const expected = !accepted.has(counter) && (counter > highest || highest - counter < 64n)
    t.is(window.accept(counter), expected, `seed ${seed}, step ${at}, counter ${counter}`)
    if (expected) accepted.add(counter)
    if (expected && counter > highest) highest = counter
  }
})

test('the session before stays valid while a new one is agreed, but not for ever', (t) => {
  const receiving = new ReceivingSessions('b')
  const sessions = Array.from({ length: 12 }, () => new SendingSession())
  receiving.add('a', sessions[0]!.id, sessions[0]!.key)
  for (const session of sessions.slice(1)) {
    receiving.add('a', session.id, session.key)
    t.true(receiving.open(sessions[0]!.seal(heartbeat)!).ok, 'the one in use')
  }
  t.true(receiving.open(sessions[11]!.seal(heartbeat)!).ok)
  t.like(receiving.open(sessions[1]!.seal(heartbeat)!), { ok: false, reason: 'unknown-session' }, 'never used and old')
})
