import test from 'ava'
import { SignInLimit, signInLimits } from './sign-in-limit.ts'

/** Fails `count` times as fast as it may; returns the instants of the attempts that were let through. */
function guess(limit: SignInLimit, address: string, name: string, count: number, startMs = 0): number[] {
  const instants: number[] = []
  let nowMs = startMs
  while (instants.length < count) {
    const permit = limit.begin(address, name, nowMs)
    if (permit.ok) instants.push(nowMs)
    else nowMs += permit.retryAfterMs
  }
  return instants
}

test('a few attempts are free, then each waits twice as long, up to a limit', (t) => {
  const instants = guess(new SignInLimit(), 'a', 'kim', 12)
  const gaps = instants.slice(1).map((instant, index) => instant - instants[index]!)
  t.deepEqual(gaps.slice(0, 4), [0, 0, 0, 0])
  t.deepEqual(gaps.slice(4, 9), [1000, 2000, 4000, 8000, 16_000])
  t.is(gaps[10], signInLimits.maxNameDelayMs)
})

test('an address that tries many names is slowed down too', (t) => {
  const limit = new SignInLimit()
  let refused = 0
  for (let index = 0; index < 100; index++) if (!limit.begin('a', `user${index}`, 0).ok) refused++
  t.is(refused, 100 - signInLimits.freePerAddress)
  t.true(limit.begin('b', 'user0', 0).ok, 'another address is not')
})

test('success clears the counts', (t) => {
  const limit = new SignInLimit()
  guess(limit, 'a', 'kim', 4)
  limit.succeeded('a', 'kim')
  t.deepEqual(guess(limit, 'a', 'kim', 5), [0, 0, 0, 0, 0])
})

test('guesses from elsewhere do not lock out an address that the user has signed in from', (t) => {
  const limit = new SignInLimit()
  t.true(limit.begin('office', 'kim', 0).ok)
  limit.succeeded('office', 'kim')
  for (let index = 0; index < 50; index++) limit.begin(`attacker${index}`, 'kim', 0)
  t.false(limit.begin('new place', 'kim', 0).ok)
  t.true(limit.begin('office', 'kim', 0).ok)
})

test('a withdrawn attempt does not count', (t) => {
  const limit = new SignInLimit()
  for (let index = 0; index < 50; index++) {
    t.true(limit.begin('a', 'kim', 0).ok)
    limit.withdrawn('a', 'kim')
  }
})

test('counts are forgotten after a while', (t) => {
  const limit = new SignInLimit()
  guess(limit, 'a', 'kim', 5)
  t.false(limit.begin('a', 'kim', 0).ok)
  t.true(limit.begin('a', 'kim', signInLimits.forgetMs).ok)
})

test('memory is bounded', (t) => {
  const limit = new SignInLimit({ ...signInLimits, maxEntries: 3, freePerAddress: 1, freePerName: 1 })
  t.true(limit.begin('a0', 'n0', 0).ok)
  t.false(limit.begin('a0', 'n0', 0).ok)
  for (let index = 1; index <= 3; index++) limit.begin(`a${index}`, `n${index}`, 0)
  t.true(limit.begin('a0', 'n0', 0).ok, 'the oldest was forgotten')
})
