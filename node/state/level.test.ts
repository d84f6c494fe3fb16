/** The level of commands: who refuses what, and that nothing is ever passed over. */
import test from 'ava'
import type { Entry } from '../../consensus/core/types.ts'
import { encode } from './command.ts'
import { commandLevel, LevelError, type Support } from './level.ts'
import { ClusterState, encodeCommand } from './state.ts'
import type { Command, Outcome } from './types.ts'

const actor = { name: 'kim', from: '192.0.2.7', node: 'n1' }
const peer = (id: string, role: 'node' | 'witness' = 'node') => ({ id, role, address: `${id}:1`, apiAddress: '' })
const support = (...levels: [string, number][]): Support[] => levels.map(([id, level]) => ({ id, commandLevel: level, version: `0.${level}.0` }))
const everybody = support(['n1', 2], ['n2', 2], ['w', 2])

type Body = Command extends infer C ? (C extends Command ? Omit<C, 'id' | 'actor' | 'atEpochMs'> : never) : never

/** The same log on nodes that understand different levels; what each says of every entry. */
class Nodes {
  readonly states: ClusterState[]
  readonly stopped = new Map<ClusterState, LevelError>()
  #index = 0
  #id = 0

  constructor(...levels: number[]) {
    this.states = levels.map((level) => ClusterState.empty(level))
    this.entry('membership', new TextEncoder().encode(JSON.stringify({ voters: [peer('n1'), peer('n2'), peer('w', 'witness')], learners: [] })))
  }

  entry(type: Entry['type'], data: Uint8Array): (Outcome | undefined)[] {
    this.#index++
    return this.states.map((state) => {
      if (this.stopped.has(state)) return undefined
      try {
        return state.apply({ index: this.#index, term: 1, type, data })
      } catch (error) {
        if (!(error instanceof LevelError)) throw error
        this.stopped.set(state, error)
        return undefined
      }
    })
  }

  run(body: Body, id = `c${++this.#id}`): (Outcome | undefined)[] {
    return this.entry('command', encodeCommand({ id, actor, atEpochMs: 1000, ...body } as Command))
  }
}

const bytesOf = (state: ClusterState) => Buffer.concat([...state.snapshot()]).toString('hex')

test('this build takes every command that it makes, and starts at the first level', (t) => {
  t.true(commandLevel >= 1)
  t.is(ClusterState.empty().level, 1)
})

test('a raise is refused by old and new alike as long as a member has not announced support', (t) => {
  const nodes = new Nodes(1, 2)
  const cases: [Support[], RegExp][] = [
    [support(['n1', 2], ['n2', 1], ['w', 2]), /^n2 understands levels up to 1 \(version 0\.1\.0\)$/],
    [support(['n1', 2], ['n2', 2]), /^w has not announced what it understands$/],
    [[], /n1 has not .*; n2 has not .*; w has not/],
  ]
  for (const [said, detail] of cases) {
    const [old, young] = nodes.run({ kind: 'raise-level', to: 2, support: said })
    t.deepEqual(old, young)
    t.is(old!.code, 'not-supported')
    t.regex(old!.detail, detail)
  }
  t.is(nodes.stopped.size, 0, 'the old one goes on')
  t.deepEqual(nodes.states.map(({ level }) => level), [1, 1])
  t.is(bytesOf(nodes.states[0]!), bytesOf(nodes.states[1]!))
  // A learner counts, too: it joined after the others were asked.
  nodes.entry('membership', new TextEncoder().encode(JSON.stringify({ voters: [peer('n1'), peer('n2'), peer('w', 'witness')], learners: [peer('n3')] })))
  t.like(nodes.run({ kind: 'raise-level', to: 2, support: everybody })[1], { code: 'not-supported', detail: 'n3 has not announced what it understands' })
  t.is(ClusterState.empty(2).apply({ index: 1, term: 1, type: 'command', data: encodeCommand({ kind: 'raise-level', id: 'x', actor, atEpochMs: 1, to: 2, support: [] }) })?.code, 'not-supported', 'before any member is known')
})

test('a raise that is due is applied by the new, audited with who said what, and stops the old, which says what to do', (t) => {
  const nodes = new Nodes(1, 2)
  const [old, young] = nodes.states as [ClusterState, ClusterState]
  nodes.run({ kind: 'audit', action: 'a.b', detail: '' })
  const before = bytesOf(old)
  t.deepEqual(nodes.run({ kind: 'raise-level', to: 2, support: everybody }, 'raise').map((outcome) => outcome?.code), [undefined, 'ok'])
  t.is(young.level, 2)
  t.like(young.audit(undefined, 1)[0], { action: 'cluster.raise-level', actor, detail: 'level 1 → 2\nn1: level 2 (version 0.2.0)\nn2: level 2 (version 0.2.0)\nw: level 2 (version 0.2.0)' })
  t.is(nodes.stopped.get(old)!.message, 'upgrade this node: the cluster (since entry 3 of the log) needs command level 2, this version understands levels up to 1')
  t.is(bytesOf(old), before, 'it has changed nothing')
  t.is(old.appliedIndex, 2)
  t.throws(() => old.apply({ index: 3, term: 1, type: 'command', data: encodeCommand({ kind: 'raise-level', id: 'raise', actor, atEpochMs: 1, to: 2, support: everybody }) }), { instanceOf: LevelError }, 'nor does it come by it the second time')

  // Again, and back: nothing.
  t.like(nodes.run({ kind: 'raise-level', to: 2, support: everybody }, 'raise')[1], { code: 'duplicate' })
  t.like(nodes.run({ kind: 'raise-level', to: 2, support: everybody })[1], { code: 'ok', detail: 'the level is 2 already' })
  t.like(nodes.run({ kind: 'raise-level', to: 1, support: support(['n1', 1], ['n2', 1], ['w', 1]) })[1], { code: 'ok' })
  t.is(young.level, 2)
  t.is(young.auditTotal, 2 + 1)
})

test('a command of a higher level than is understood stops the state before it is read any further', (t) => {
  const nodes = new Nodes(1, 2)
  nodes.entry('command', encode({ level: 2, kind: 'from-the-future', nothing: 'of it is known' }))
  const [old, young] = nodes.states as [ClusterState, ClusterState]
  t.is(nodes.stopped.get(old)!.message, 'upgrade this node: entry 2 of the log needs command level 2, this version understands levels up to 1')
  t.is(old.appliedIndex, 1)
  t.is(young.appliedIndex, 2)
})

test('a command above the agreed level is refused by who would understand it', (t) => {
  const nodes = new Nodes(2, 3)
  const outcomes = nodes.run({ kind: 'audit', action: 'a.b', detail: '', level: 2 })
  t.like(outcomes[0], { code: 'not-supported', detail: 'it is of level 2, and the cluster\'s commands are of levels up to 1 so far' })
  t.deepEqual(outcomes[0], outcomes[1])
  nodes.run({ kind: 'raise-level', to: 2, support: everybody })
  t.deepEqual(nodes.run({ kind: 'audit', action: 'a.b', detail: '', level: 2 }).map((outcome) => outcome?.code), ['ok', 'ok'])
  t.is(bytesOf(nodes.states[0]!), bytesOf(nodes.states[1]!))
})

test('a snapshot carries its level; a version that does not understand it says so', (t) => {
  const nodes = new Nodes(1, 2)
  t.is(ClusterState.restore([...nodes.states[1]!.snapshot()], 1).level, 1, 'before the raise the old version takes what the new one wrote')
  nodes.run({ kind: 'raise-level', to: 2, support: everybody })
  const chunks = [...nodes.states[1]!.snapshot()]
  t.is(ClusterState.restore(chunks, 2).level, 2)
  const error = t.throws(() => ClusterState.restore(chunks, 1), { instanceOf: LevelError })
  t.is(error.message, 'upgrade this node: the snapshot needs command level 2, this version understands levels up to 1')
})

test('a machine of an old version cannot join a cluster that has gone further', (t) => {
  const nodes = new Nodes(2)
  nodes.run({ kind: 'token-create', tokenId: 't', secretHash: 'h', role: 'node', expiresEpochMs: 9e12 })
  nodes.run({ kind: 'raise-level', to: 2, support: everybody })
  const join = { kind: 'token-consume', secretHash: 'h', peer: peer('n3'), nowEpochMs: 1 } as const
  const [refused] = nodes.run(join)
  t.is(refused!.code, 'not-supported')
  t.regex(refused!.detail, /the version of n3 is too old: it understands command levels up to 1, the cluster is at 2/)
  t.like(nodes.run({ ...join, commandLevel: 2 })[0], { code: 'ok' }, 'the token is still good')
})
