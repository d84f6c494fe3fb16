/** The replicated state on clusters of two versions: real consensus, of which some nodes are told to be of the next version. */
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Cluster, until, type Member } from '../consensus/test-cluster.ts'
import type { Versions } from '../consensus/versions.ts'
import type { HeartStatus } from './link.ts'
import { upgradeView } from './api/upgrade.ts'
import { LevelError } from './state/level.ts'
import { ClusterState, encodeCommand } from './state/state.ts'
import type { Command, Outcome } from './state/types.ts'

const older: Versions = { protocol: { min: 1, max: 1 }, commandLevel: 1, product: '0.1.0' }
const newer: Versions = { protocol: { min: 1, max: 2 }, commandLevel: 2, product: '0.2.0' }
const actor = { name: 'kim', from: '', node: 'a' }

/** A node as the child would be: a state that applies what consensus hands on, until it meets what it does not understand. */
class Node {
  readonly member: Member
  state = ClusterState.empty()
  stopped: LevelError | undefined
  readonly outcomes = new Map<string, Outcome>()

  constructor(member: Member) {
    this.member = member
  }

  async restart(versions: Versions): Promise<void> {
    await this.member.consensus.stop()
    this.member.versions = versions
    this.state = ClusterState.empty(versions.commandLevel)
    this.stopped = undefined
    await this.member.open({
      committed: async (entries) => {
        for (const entry of entries) if (this.stopped === undefined) this.#apply(() => this.state.apply(entry))
        this.member.consensus?.applied(this.state.appliedIndex)
      },
      restore: async (_meta, chunks) => {
        const restoration = ClusterState.restoration(versions.commandLevel)
        for await (const chunk of chunks) this.#apply(() => void restoration.add(chunk))
        if (this.stopped === undefined) this.state = restoration.finish()
      },
    })
  }

  #apply(take: () => Outcome | undefined): void {
    try {
      const outcome = take()
      if (outcome !== undefined) this.outcomes.set(outcome.id, outcome)
    } catch (error) {
      if (!(error instanceof LevelError)) throw error
      this.stopped = error
    }
  }

  get view() {
    const heart = { consensus: this.member.consensus.status() } as HeartStatus
    return upgradeView({ selfId: this.member.id, state: () => this.state, heart: () => heart })
  }

  /** Whatever the view says: as a node would that has not looked, or looked a moment too early. */
  async raise(id: string): Promise<Outcome> {
    const support = this.view.nodes.map(({ id: member, commandLevel, version }) => ({ id: member, commandLevel: commandLevel ?? 0, version }))
    return this.run({ kind: 'raise-level', to: 2, support, id, actor, atEpochMs: 1 })
  }

  async run(command: Command): Promise<Outcome> {
    const proposed = () => this.member.consensus.propose(encodeCommand(command), 'normal')
    let result = await proposed()
    // Between two leaders nothing is taken, and nothing has happened.
    for (const end = performance.now() + 10_000; !result.ok && result.retrySafe && performance.now() < end; result = await proposed()) await sleep(20)
    if (!result.ok) throw new Error(result.detail)
    await until(`${command.id} is applied`, () => this.outcomes.has(command.id))
    return this.outcomes.get(command.id)!
  }

  audit(detail: string): Promise<Outcome> {
    return this.run({ kind: 'audit', action: 'test.note', detail, id: detail, actor, atEpochMs: 1 })
  }
}

async function start(t: ExecutionContext): Promise<[Node, Node, Node]> {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  return ['a', 'b', 'c'].map((id) => new Node(cluster.get(id))) as [Node, Node, Node]
}

test.serial('the level is raised once the last member is upgraded, not before; until then each can go back', async (t) => {
  const nodes = await start(t)
  const [a, b, c] = nodes
  for (const node of nodes) await node.restart(older)
  t.is((await a.audit('old')).code, 'ok')
  for (const node of [b, c]) await node.restart(newer)
  await until('b knows all', () => b.view.state === 'blocked' && b.view.nodes.every(({ connected }) => connected))
  t.deepEqual(b.view.blockers, ['a understands levels up to 1 (version 0.1.0)'])
  t.like(await b.raise('too early'), { code: 'not-supported', detail: 'a understands levels up to 1 (version 0.1.0)' })
  await until('a has applied the refusal', () => a.outcomes.has('too early'))
  t.is(a.stopped, undefined)
  t.deepEqual(a.outcomes.get('too early'), b.outcomes.get('too early'))
  t.is((await b.audit('mixed')).code, 'ok')

  // Back and there again: what the new version wrote is read by the old one, from its log and from the others.
  await b.restart(older)
  t.is((await b.audit('b is back')).code, 'ok')
  t.is(b.state.audit(undefined, 9).find(({ detail }) => detail === 'mixed')?.detail, 'mixed')
  await until('c knows', () => c.view.nodes.every(({ connected }) => connected))
  t.deepEqual(c.view.blockers.map((line) => line.slice(0, 2)), ['a ', 'b '])

  for (const node of [a, b]) await node.restart(newer)
  await until('nothing stands in the way', () => nodes.every((node) => node.view.state === 'ready'))
  t.is((await a.raise('finish')).code, 'ok')
  await until('all are there', () => nodes.every(({ state }) => state.level === 2))
  t.like(a.view, { state: 'current', level: 2, target: 2 })
  t.is(new Set(nodes.map(({ state }) => state.hash())).size, 1)
})

test.serial('after the raise an old version stops where it does not understand, the others serve on, and it goes on once upgraded', async (t) => {
  const nodes = await start(t)
  const [a, b, c] = nodes
  for (const node of nodes) await node.restart(newer)
  await until('nothing stands in the way', () => c.view.state === 'ready')
  t.is((await c.raise('finish')).code, 'ok')
  await a.restart(older)
  await until('a has come to where it does not understand', () => a.stopped !== undefined)
  t.regex(a.stopped!.message, /^upgrade this node: the cluster \(since entry \d+ of the log\) needs command level 2, this version understands levels up to 1$/)
  t.is(a.state.level, 1)
  t.is((await b.run({ kind: 'audit', action: 'test.note', detail: '', level: 2, id: 'of level 2', actor, atEpochMs: 1 })).code, 'ok')
  t.false(a.outcomes.has('of level 2'))

  // The same with a snapshot that the new version has written.
  await b.member.consensus.storeSnapshot(b.state.appliedIndex, chunksOf(b.state))
  await b.restart(older)
  await until('b refuses its snapshot', () => b.stopped !== undefined)
  t.is(b.stopped!.message, 'upgrade this node: the snapshot needs command level 2, this version understands levels up to 1')

  for (const node of [a, b]) await node.restart(newer)
  t.is((await a.audit('upgraded')).code, 'ok')
  await until('all are equally far', () => nodes.every(({ outcomes }) => outcomes.has('upgraded')))
  t.is(new Set(nodes.map(({ state }) => state.hash())).size, 1)
})

async function* chunksOf(state: ClusterState): AsyncGenerator<Uint8Array> {
  yield* state.snapshot()
}
