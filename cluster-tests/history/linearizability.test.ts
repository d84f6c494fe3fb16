/** The checker against histories made by a real object, against the same histories falsified, and against brute force. */
import test from 'ava'
import fc from 'fast-check'
import { checkLinearizable, type Model, type Operation } from './linearizability.ts'
import { casRegister, registers, type CasOp, type CasResult, type RegisterOp, type RegisterResult } from './models.ts'

type CasOperation = Operation<CasOp, CasResult>
type RegisterOperation = Operation<RegisterOp, RegisterResult>

const empty = { revision: 0, value: '' }
const cas = casRegister(empty)
const casVerdict = (history: readonly CasOperation[]): string => checkLinearizable(cas, history).verdict
const registerVerdict = (history: readonly RegisterOperation[]): string => checkLinearizable(registers, history).verdict

const read = (client: number, invokeMs: number, completeMs: number | undefined, revision: number, value: string): CasOperation =>
  ({ client, invokeMs, completeMs, op: { kind: 'read' }, result: { kind: 'read', revision, value } })
const write = (client: number, invokeMs: number, completeMs: number | undefined, expect: number, value: string): CasOperation => ({
  client, invokeMs, completeMs, op: { kind: 'write', expect, value },
  result: completeMs === undefined ? undefined : { kind: 'written', revision: expect + 1 },
})
const conflict = (client: number, invokeMs: number, completeMs: number, expect: number, revision?: number): CasOperation => ({
  client, invokeMs, completeMs, op: { kind: 'write', expect, value: 'never' },
  result: revision === undefined ? { kind: 'conflict' } : { kind: 'conflict', revision },
})

/** mulberry32: every property is given by one seed. */
function generator(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Planned<Op> {
  readonly client: number
  readonly invokeMs: number
  readonly atMs: number
  readonly completeMs: number
  readonly op: Op
}

/** Overlapping operations of some clients; each takes effect at `atMs`, so what an object then answers is linearizable. */
function execute<State, Op, Result>(
  model: Model<State, Op, Result>,
  choose: (seen: State, random: () => number, number: number) => Op,
  answer: (state: State, op: Op) => Result,
  options: { seed: number; operations: number; clients: number; unknown: number },
): Operation<Op, Result>[] {
  const random = generator(options.seed)
  const free = Array.from({ length: options.clients }, () => random() * 10)
  const history: Operation<Op, Result>[] = []
  // Effects happen in the order of their instants: operations are planned ahead and carried out when their time comes.
  const planned: Planned<Op>[] = []
  let state = model.initial
  const carryOut = (untilMs: number): void => {
    for (;;) {
      const next = planned.reduce<Planned<Op> | undefined>((best, one) => (best === undefined || one.atMs < best.atMs ? one : best), undefined)
      if (next === undefined || next.atMs > untilMs) return
      planned.splice(planned.indexOf(next), 1)
      const { client, invokeMs, completeMs, op } = next
      const lost = random() < options.unknown
      if (lost && random() < 0.5) {
        history.push({ client, invokeMs, completeMs: undefined, op, result: undefined })
        continue
      }
      const result = answer(state, op)
      const step = model.step(state, op, undefined)
      if (step.ok) state = step.next
      history.push({ client, invokeMs, completeMs: lost ? undefined : completeMs, op, result: lost ? undefined : result })
    }
  }
  for (let number = 0; number < options.operations; number++) {
    const client = free.indexOf(Math.min(...free))
    const invokeMs = free[client]!
    carryOut(invokeMs)
    const atMs = invokeMs + random() * 8
    const completeMs = atMs + random() * 8
    planned.push({ client, invokeMs, atMs, completeMs, op: choose(state, random, number) })
    free[client] = completeMs + 0.001 + random() * 4
  }
  carryOut(Infinity)
  return history
}

function casHistory(seed: number, operations: number, clients: number, unknown: number): CasOperation[] {
  return execute(
    cas,
    (seen, random, number): CasOp =>
      random() < 0.4 ? { kind: 'read' } : { kind: 'write', expect: Math.max(0, seen.revision - Math.floor(random() * 2)), value: `v${number}` },
    (state, op): CasResult => {
      if (op.kind === 'read') return { kind: 'read', ...state }
      return op.expect === state.revision ? { kind: 'written', revision: op.expect + 1 } : { kind: 'conflict', revision: state.revision }
    },
    { seed, operations, clients, unknown },
  )
}

function registerHistory(seed: number, operations: number, clients: number, unknown: number, keys = 1): RegisterOperation[] {
  // Several objects: each is a part of its own, so each gets an execution of its own.
  return Array.from({ length: keys }, (_, index) => {
    const key = `k${index}`
    return execute(
      registers,
      (_seen, random, number): RegisterOp => (random() < 0.5 ? { kind: 'read', key } : { kind: 'write', key, value: `v${number}` }),
      (state, op): RegisterResult => (op.kind === 'read' ? state : null),
      { seed: seed + index, operations, clients, unknown },
    )
  }).flat()
}

/** Tries every order of every choice of unknown operations. */
function bruteForce<State, Op, Result>(model: Model<State, Op, Result>, history: readonly Operation<Op, Result>[]): boolean {
  const used = history.map(() => false)
  const search = (state: State): boolean => {
    if (history.every((one, i) => used[i] || one.completeMs === undefined)) return true
    for (const [i, one] of history.entries()) {
      if (used[i]) continue
      // Not before something that had completed when this one began.
      if (history.some((other, j) => !used[j] && j !== i && other.completeMs !== undefined && other.completeMs < one.invokeMs)) continue
      const step = model.step(state, one.op, one.result)
      if (!step.ok) continue
      used[i] = true
      if (search(step.next)) return true
      used[i] = false
    }
    return false
  }
  return search(model.initial)
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

test('an empty history is linearizable', (t) => {
  t.is(casVerdict([]), 'linearizable')
})

test('a read sees the write before it', (t) => {
  t.is(casVerdict([write(1, 0, 1, 0, 'a'), read(2, 2, 3, 1, 'a')]), 'linearizable')
  t.is(casVerdict([write(1, 0, 1, 0, 'a'), read(2, 2, 3, 0, '')]), 'violation')
})

test('a read that overlaps a write may see either', (t) => {
  t.is(casVerdict([write(1, 0, 10, 0, 'a'), read(2, 2, 3, 1, 'a')]), 'linearizable')
  t.is(casVerdict([write(1, 0, 10, 0, 'a'), read(2, 2, 3, 0, '')]), 'linearizable')
  t.is(casVerdict([write(1, 0, 10, 0, 'a'), read(2, 2, 3, 1, 'a'), read(3, 4, 5, 0, '')]), 'violation', 'and then back again')
})

test('two writes upon the same revision: an update is lost', (t) => {
  t.is(casVerdict([write(1, 0, 10, 0, 'a'), write(2, 0, 10, 0, 'b')]), 'violation')
  t.is(casVerdict([write(1, 0, 10, 0, 'a'), conflict(2, 0, 10, 0)]), 'linearizable')
})

test('a conflict without a reason is a violation, as is one that names a revision from the past', (t) => {
  t.is(casVerdict([conflict(1, 0, 1, 0)]), 'violation')
  t.is(casVerdict([write(1, 0, 1, 0, 'a'), write(1, 2, 3, 1, 'b'), conflict(2, 4, 5, 0, 1)]), 'violation')
})

test('a write of unknown outcome may happen late, or never, but not before it began, and not twice', (t) => {
  t.is(casVerdict([write(1, 0, undefined, 0, 'a'), read(2, 5, 6, 0, ''), read(2, 7, 8, 1, 'a')]), 'linearizable')
  t.is(casVerdict([write(1, 0, undefined, 0, 'a'), read(2, 5, 6, 0, '')]), 'linearizable')
  t.is(casVerdict([read(2, 1, 2, 1, 'a'), write(1, 3, undefined, 0, 'a')]), 'violation')
  t.is(casVerdict([write(1, 0, undefined, 0, 'a'), read(2, 5, 6, 1, 'a'), read(2, 7, 8, 0, '')]), 'violation')
  t.is(registerVerdict([
    { client: 1, invokeMs: 0, completeMs: undefined, op: { kind: 'write', key: 'k', value: 'a' }, result: undefined },
    { client: 2, invokeMs: 1, completeMs: 2, op: { kind: 'read', key: 'k' }, result: 'a' },
    { client: 2, invokeMs: 3, completeMs: 4, op: { kind: 'write', key: 'k', value: 'b' }, result: null },
    { client: 2, invokeMs: 5, completeMs: 6, op: { kind: 'read', key: 'k' }, result: 'a' },
  ]), 'violation')
})

test('a violation names the operation, what was possible and what was under way', (t) => {
  const stale = read(3, 4, 5, 0, '')
  const verdict = checkLinearizable(cas, [write(1, 0, 1, 0, 'a'), stale, write(2, 3, 9, 1, 'b')])
  if (verdict.verdict !== 'violation') return t.fail(verdict.verdict)
  t.is(verdict.operation, stale)
  t.deepEqual(verdict.states, [{ revision: 1, value: 'a' }])
  t.deepEqual(verdict.pending.map(({ client }) => client), [2])
})

test('keys are independent of each other', (t) => {
  const put = (key: string, value: string, invokeMs: number, completeMs: number): RegisterOperation =>
    ({ client: 1, invokeMs, completeMs, op: { kind: 'write', key, value }, result: null })
  const get = (key: string, value: string | null, invokeMs: number, completeMs: number): RegisterOperation =>
    ({ client: 2, invokeMs, completeMs, op: { kind: 'read', key }, result: value })
  t.is(registerVerdict([put('x', 'a', 0, 1), get('y', null, 2, 3), get('x', 'a', 4, 5)]), 'linearizable')
  const verdict = checkLinearizable(registers, [put('x', 'a', 0, 1), put('y', 'b', 0, 1), get('y', null, 2, 3)])
  t.is(verdict.verdict, 'violation')
  t.is('part' in verdict ? verdict.part : '', 'y')
})

test('a check that would cost too much gives up and says so', (t) => {
  const history: RegisterOperation[] = Array.from({ length: 12 }, (_, i) =>
    ({ client: i, invokeMs: 0, completeMs: 10, op: { kind: 'write', key: 'k', value: `v${i}` }, result: null }))
  history.push({ client: 99, invokeMs: 11, completeMs: 12, op: { kind: 'read', key: 'k' }, result: 'nothing of the kind' })
  t.is(checkLinearizable(registers, history, { maxConfigurations: 500 }).verdict, 'undecided')
})

test('histories of a real register pass, with and without unknown outcomes', (t) => {
  fc.assert(fc.property(seeds, fc.integer({ min: 1, max: 8 }), fc.constantFrom(0, 0.1, 0.3), (seed, clients, unknown) => {
    const verdict = casVerdict(casHistory(seed, 120, clients, unknown))
    if (verdict !== 'linearizable') throw new Error(verdict)
    const other = registerVerdict(registerHistory(seed, 60, clients, unknown, 3))
    if (other !== 'linearizable') throw new Error(`registers: ${other}`)
  }), { numRuns: 60 })
  t.pass()
})

test('a stale read is found wherever it is', (t) => {
  let tried = 0
  fc.assert(fc.property(seeds, fc.integer({ min: 1, max: 6 }), (seed, clients) => {
    const history = casHistory(seed, 80, clients, 0.1)
    const written = history.filter(({ result }) => result?.kind === 'written')
    const reads = history.flatMap((one, i) => (one.result?.kind === 'read' ? [i] : []))
    const index = reads[seed % Math.max(1, reads.length)]
    if (index === undefined) return
    const victim = history[index]!
    // Some revision that had been replaced before this read began.
    const older = written.filter(({ completeMs }) => completeMs! < victim.invokeMs).at(-1)?.op
    if (older?.kind !== 'write') return
    tried++
    const before = written.find(({ op }) => op.kind === 'write' && op.expect === older.expect - 1)?.op
    const value = before?.kind === 'write' ? before.value : ''
    const falsified = history.with(index, { ...victim, result: { kind: 'read', revision: older.expect, value } })
    if (casVerdict(falsified) !== 'violation') throw new Error('not found')
  }), { numRuns: 100 })
  t.true(tried > 30)
})

test('an acknowledged update that is lost is found', (t) => {
  let tried = 0
  fc.assert(fc.property(seeds, fc.integer({ min: 1, max: 6 }), (seed, clients) => {
    const history = casHistory(seed, 80, clients, 0)
    const written = history.flatMap((one, i) => (one.result?.kind === 'written' ? [i] : []))
    const index = written[seed % Math.max(1, written.length)]
    // The last one may be lost unseen when nobody asks after it.
    if (index === undefined || index === written.at(-1)) return
    tried++
    const victim = history[index]!
    const falsified = history.with(index, { ...victim, op: { ...(victim.op as CasOp & { kind: 'write' }), value: 'something else' } })
    const seen = history.some(({ result }) => result?.kind === 'read' && victim.op.kind === 'write' && result.value === victim.op.value)
    if ((casVerdict(falsified) === 'violation') !== seen) throw new Error('content')
    const swallowed = history.toSpliced(index, 1)
    if (casVerdict(swallowed) !== 'violation') throw new Error('swallowed')
  }), { numRuns: 100 })
  t.true(tried > 50)
})

test('reads whose answers are exchanged are found', (t) => {
  let tried = 0
  fc.assert(fc.property(seeds, fc.integer({ min: 1, max: 6 }), (seed, clients) => {
    const history = casHistory(seed, 80, clients, 0.2)
    const reads = history.flatMap((one, i) => (one.result?.kind === 'read' ? [{ one, i }] : []))
    const pair = reads.flatMap((a) => reads.filter((b) => a.one.completeMs! < b.one.invokeMs &&
      JSON.stringify(a.one.result) !== JSON.stringify(b.one.result)).map((b) => [a, b] as const)).at(seed % 7)
    if (pair === undefined) return
    tried++
    const [a, b] = pair
    const falsified = history.with(a.i, { ...a.one, result: b.one.result }).with(b.i, { ...b.one, result: a.one.result })
    if (casVerdict(falsified) !== 'violation') throw new Error('not found')
  }), { numRuns: 100 })
  t.true(tried > 50)
})

test('small histories, true and false ones: the same verdict as brute force', (t) => {
  const seen = { linearizable: 0, violation: 0 }
  fc.assert(fc.property(seeds, fc.integer({ min: 1, max: 4 }), fc.boolean(), (seed, clients, falsify) => {
    const random = generator(seed ^ 0x5bd1e995)
    const compare = <State, Op, Result>(model: Model<State, Op, Result>, history: readonly Operation<Op, Result>[]): void => {
      const found = checkLinearizable(model, history).verdict
      const wanted = bruteForce(model, history) ? 'linearizable' : 'violation'
      if (found !== wanted) throw new Error(`${found}, but ${wanted}: ${JSON.stringify(history)}`)
      seen[wanted]++
    }
    const jumble = <Op, Result>(history: Operation<Op, Result>[]): Operation<Op, Result>[] => {
      if (!falsify) return history
      const a = Math.floor(random() * history.length)
      const same = history.filter((one) => one.result !== undefined && (one.op as { kind: string }).kind === (history[a]!.op as { kind: string }).kind)
      const other = same[Math.floor(random() * same.length)]
      return other === undefined || history[a]!.result === undefined ? history : history.with(a, { ...history[a]!, result: other.result })
    }
    compare(cas, jumble(casHistory(seed, 7, clients, 0.25)))
    compare(registers, jumble(registerHistory(seed, 7, clients, 0.25)))
  }), { numRuns: 400 })
  t.true(seen.linearizable > 100 && seen.violation > 50, JSON.stringify(seen))
})

test('the order in which a history was written down does not matter', (t) => {
  const history = casHistory(7, 200, 6, 0.1)
  t.is(casVerdict(history.toReversed()), 'linearizable')
})

test('thousands of operations with hundreds of unknown outcomes are decided', (t) => {
  const history = casHistory(11, 20_000, 12, 0.05)
  t.true(history.filter(({ completeMs }) => completeMs === undefined).length > 500)
  t.is(casVerdict(history), 'linearizable')
  t.is(registerVerdict(registerHistory(12, 10_000, 10, 0.05)), 'linearizable')
})
