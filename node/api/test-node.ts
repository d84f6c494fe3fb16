/**
 * A node for tests: the real replicated state with commands applied at once, and everything that consensus would say set
 * by the test. Used by the tests of the API and of the command line.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { ProposeErrorCode, ProposeResult } from '../../consensus/consensus.ts'
import { balancedTiming, type Entry, type NodeId, type Peer } from '../../consensus/core/types.ts'
import { defaultVersions, type Versions } from '../../consensus/versions.ts'
import type { ConfigurationDocument } from '../config/schema.ts'
import type { HeartStatus } from '../link.ts'
import { metricsText } from '../observe/metrics.ts'
import { buildOverview, Rates } from '../observe/overview.ts'
import type { SessionKeeper } from '../sessions/keeper.ts'
import { encodeCommand } from '../state/command.ts'
import { commandLevel } from '../state/level.ts'
import { ClusterState } from '../state/state.ts'
import type { Command, Outcome, StoredUser, UserRole } from '../state/types.ts'
import type { NodeContext, ReadBarrier, Submission, SubmitResult } from './context.ts'
import { hashPassword } from './password.ts'
import { apiLimits, build, type RouteAccess } from './server.ts'
import { SignInLimit } from './sign-in-limit.ts'
import { SignedSessions } from './signed-session.ts'
import type { NodeReport } from './types.ts'

export const clusterId = '6f2c1b34-5a0e-4c1d-9d35-0a4b9c1d2e3f'
export const passwords: Readonly<Record<UserRole, string>> = {
  viewer: 'viewer password 1',
  operator: 'operator password 2',
  administrator: 'administrator password 3',
}
/** Names of the three users that every test node has. */
export const userNames: Readonly<Record<UserRole, string>> = { viewer: 'vera', operator: 'olga', administrator: 'anna' }

const peers: readonly Peer[] = [
  { id: 'n1', role: 'node', address: '192.0.2.1:7400', apiAddress: '192.0.2.1:8443' },
  { id: 'n2', role: 'node', address: '192.0.2.2:7400', apiAddress: '192.0.2.2:8443' },
  { id: 'w', role: 'witness', address: '192.0.2.3:7400', apiAddress: '' },
]

export const emptyDocument: ConfigurationDocument = { haechi: 1, vips: [], pools: [], listeners: [] }

const hashes = new Map<string, string>()
async function hashed(password: string): Promise<string> {
  const known = hashes.get(password) ?? (await hashPassword(password))
  hashes.set(password, known)
  return known
}

export class TestNode implements NodeContext {
  readonly selfId = 'n1'
  readonly version = '0.0.0-test'
  readonly directory: string
  readonly sessionKey = randomBytes(32).toString('base64url')
  readonly commands: Command[] = []
  /** When set, every submission is refused with it. */
  refusal: { readonly code: ProposeErrorCode; readonly retrySafe: boolean } | undefined
  handOvers: NodeId[] = []
  leader: NodeId = 'n1'
  removed: NodeId[] = []
  handOverDetail = ''
  /** What the members have announced; those that are not in it are not connected. */
  versions: Readonly<Record<NodeId, Versions>> = Object.fromEntries(peers.map(({ id }) => [id, defaultVersions]))
  readonly listeners = new Set<() => void>()
  /** What a linearizable read is told; called when it asks. */
  barrier: () => ReadBarrier | Promise<ReadBarrier> = () => ({ ok: true })
  /** Takes commands of the next level, too, so that upgrades can be tested before there is one. */
  readonly #state = ClusterState.empty(commandLevel + 1)
  /** The shared session table, where a test has one. */
  keeper: SessionKeeper | undefined
  readonly #rates = new Rates()
  #index = 0

  constructor(directory: string) {
    this.directory = directory
  }

  /** A node whose cluster has one user of each role. */
  static async create(directory: string, document: ConfigurationDocument = emptyDocument): Promise<TestNode> {
    const node = new TestNode(directory)
    node.#apply({ type: 'membership', data: Buffer.from(JSON.stringify({ voters: peers, learners: [] })) })
    const administrator = await storedUser(userNames.administrator, 'administrator', passwords.administrator)
    const system = { name: 'system', from: '', node: 'n1' }
    await node.submit({
      kind: 'init',
      actor: system,
      clusterId,
      user: administrator,
      secrets: { sessionKey: node.sessionKey },
      document,
    })
    for (const role of ['viewer', 'operator'] as const) {
      const user = await storedUser(userNames[role], role, passwords[role])
      await node.submit({ kind: 'user-put', actor: system, user })
    }
    return node
  }

  state(): ClusterState {
    return this.#state
  }

  async submit(submission: Submission): Promise<SubmitResult> {
    if (this.refusal !== undefined)
      return { ok: false, refusal: { ok: false, ...this.refusal, detail: 'as the test says' } }
    const command = { ...submission, id: randomUUID(), atEpochMs: Date.now() } as Command
    this.commands.push(command)
    const outcome = this.#apply({ type: 'command', data: encodeCommand(command) })
    if (outcome === undefined) throw new Error('a command has an outcome')
    return { ok: true, outcome }
  }

  async readBarrier(): Promise<ReadBarrier> {
    return this.barrier()
  }

  #apply({ type, data }: Pick<Entry, 'type' | 'data'>): Outcome | undefined {
    this.#index++
    return this.#state.apply({ index: this.#index, term: 1, type, data })
  }

  changed(): void {
    for (const listener of this.listeners) listener()
  }

  heart(): HeartStatus {
    return {
      consensus: {
        id: 'n1',
        nodeRole: 'node',
        clusterId,
        role: 'leader',
        term: 3,
        leader: this.refusal === undefined ? this.leader : '',
        commitIndex: this.#index,
        lastIndex: this.#index,
        firstIndex: 1,
        snapshotIndex: 0,
        leaseRemainingMs: 180,
        membership: { voters: peers, learners: [] },
        peers: peers
          .slice(1)
          .map((peer) => {
            const versions = this.versions[peer.id]
            const connected = versions !== undefined
            return { peer, voter: true, connected, lastHeardAgoMs: 12, matchIndex: this.#index, protocol: connected ? 1 : null, versions: versions ?? null }
          }),
        versions: this.versions['n1'] ?? defaultVersions,
        timing: balancedTiming,
      },
      vips: this.#state.document.vips.map((vip) => ({
        name: vip.name,
        address: vip.address,
        state: 'held' as const,
        sinceEpochMs: Date.now() - 60_000,
        fenceRemainingMs: 150,
        announcements: 5,
        error: '',
      })),
      loopGapMs: 1,
      loopGapMaxMs: 12,
      residentBytes: 50_000_000,
      heartPid: 4242,
    }
  }

  report(): NodeReport {
    const { document } = this.#state
    return {
      id: 'n1',
      atEpochMs: Date.now(),
      startedEpochMs: Date.now() - 3_600_000,
      revisionInForce: this.#state.revision,
      degraded: '',
      appliedIndex: this.#index,
      vips: this.heart().vips.map((vip) => ({ ...vip, leaseRemainingMs: vip.fenceRemainingMs })),
      listeners: document.listeners.map(({ name }) => ({
        name,
        connections: 2,
        connectionsTotal: 10,
        requestsTotal: 100,
        responsesTotal: [0, 90, 0, 5, 5],
        bytesInTotal: 1000,
        bytesOutTotal: 10_000,
        errorsTotal: { 'member-timeout': 5 },
        error: '',
      })),
      members: document.pools.flatMap((pool) =>
        pool.members.map((member) => ({
          pool: pool.name,
          member: member.name,
          active: 1,
          requestsTotal: 50,
          connectFailuresTotal: 0,
          errorsTotal: 0,
          health: 'up' as const,
          healthSinceEpochMs: Date.now() - 1000,
          lastProbe: '200 in 3 ms',
        })),
      ),
      heartPid: 4242,
      heartLoopGapMs: 1,
      heartResidentBytes: 50_000_000,
      residentBytes: 100_000_000,
      version: this.version,
      stateHash: '',
    }
  }

  overview(history: boolean) {
    this.#rates.add(Date.now(), new Map([['n1', this.report()]]), performance.now())
    return buildOverview({
      self: 'n1',
      clusterId,
      atEpochMs: Date.now(),
      revision: this.#state.revision,
      document: this.#state.document,
      heart: this.heart(),
      reports: new Map([['n1', this.report()]]),
      rates: this.#rates,
      history,
    })
  }

  async handOver(to: NodeId) {
    this.handOvers.push(to)
    if (this.handOverDetail === '') this.leader = to === '' ? 'n2' : to
    return this.handOverDetail === '' ? ({ ok: true } as const) : ({ ok: false, detail: this.handOverDetail } as const)
  }

  async removeNode(id: NodeId): Promise<ProposeResult> {
    this.removed.push(id)
    return { ok: true, index: this.#index, term: 1 }
  }

  joinAnchor() {
    return {
      caFingerprint: createHash('sha256').update('ca').digest('hex'),
      addresses: ['192.0.2.1:7400', '192.0.2.2:7400'],
    }
  }

  sessionTable() {
    return this.keeper
  }

  metrics(): string {
    return metricsText({ report: this.report(), heart: this.heart(), revision: this.#state.revision })
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}

export async function storedUser(
  name: string,
  role: UserRole,
  password: string,
  more: Partial<StoredUser> = {},
): Promise<StoredUser> {
  return { name, role, passwordHash: await hashed(password), mustChangePassword: false, generation: 1, ...more }
}

/** Every route that the API guards, and who may use it. */
export async function listRoutes(context: NodeContext): Promise<readonly RouteAccess[]> {
  const routes: RouteAccess[] = []
  const state = { secrets: undefined, clusterId, user: () => undefined }
  const options = {
    context,
    local: false,
    tls: false,
    log: () => undefined,
    now: () => 0,
    sessions: new SignedSessions(() => state),
    signInLimit: new SignInLimit(),
  }
  const app = await build(options, { consoleDirectory: context.directory }, apiLimits, (route) => routes.push(route))
  await app.close()
  return routes
}
