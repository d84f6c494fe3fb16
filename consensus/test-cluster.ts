/** For tests: a cluster of real nodes on loopback in one process, with real disks, TLS and datagrams. */
import { createHash, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import type { ConsensusHooks, JoinRequest, JoinResponse, Lease } from './consensus.ts'
import type { Versions } from './versions.ts'
import type { Entry, NodeRole, SnapshotMeta, Timing } from './core/types.ts'
import type { AbortableConsensus } from './driver.ts'
import { caFingerprint, encodeJoinToken, initCluster, joinCluster, loadIdentity, signCsr } from './identity.ts'
import { realWorld } from './environment.ts'
import { openConsensus } from './open.ts'

const secret = 'secret-secret-secret'
/** The payload of an entry as text. */
export const text = (entry: Entry) => Buffer.from(entry.data).toString()

/**
 * A port that was free a moment ago, below those that the kernel gives to outgoing connections: what waits for it would else find it
 * taken now and then by a connection of another test.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 22_000 + randomInt(10_000)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)))
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

export async function until(what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timed out waiting until ${what}`)
    await sleep(5)
  }
}

/** One node of the cluster, whatever became of its consensus, and all that its hooks were told. */
export class Member {
  readonly id: string
  readonly directory: string
  readonly role: NodeRole
  consensus!: AbortableConsensus
  timing: Timing | undefined
  /** What it says of itself from the next `open` on; undefined: this build's. */
  versions: Versions | undefined
  entries: Entry[] = []
  restored: { meta: SnapshotMeta; data: Buffer }[] = []
  lease: Lease | null = null
  leases: (Lease | null)[] = []
  calls: string[] = []
  gossip: string[] = []
  /** Why the process of this node would have ended. */
  crashed: Error | undefined
  #logs: string[] = []

  constructor(id: string, directory: string, role: NodeRole) {
    this.id = id
    this.directory = directory
    this.role = role
  }

  get logText(): string {
    return this.#logs.join('\n')
  }

  async open(overrides: Partial<ConsensusHooks> = {}, signal?: AbortSignal): Promise<void> {
    this.entries = []
    this.restored = []
    this.crashed = undefined
    const crash = (error: Error): void => {
      this.crashed = error
      void this.consensus.abort()
    }
    const hooks: ConsensusHooks = {
      committed: async (entries) => {
        this.entries.push(...entries)
        this.consensus?.applied(entries.at(-1)!.index)
      },
      restore: async (meta, chunks) => {
        const parts: Uint8Array[] = []
        for await (const chunk of chunks) parts.push(chunk)
        this.entries = []
        this.restored.push({ meta, data: Buffer.concat(parts) })
      },
      lease: (lease) => {
        this.lease = lease
        this.leases.push(lease)
      },
      closeFence: async () => void this.calls.push('closeFence'),
      transferRequested: (to) => this.consensus.transfer(to === '' ? undefined : to),
      changed: () => undefined,
      gossip: (from, data) => void this.gossip.push(`${from}: ${Buffer.from(data).toString()}`),
      ...(this.role === 'witness' ? {} : { join: (request: JoinRequest) => this.#admit(request) }),
      ...overrides,
    }
    this.consensus = await openConsensus({
      directory: this.directory, hooks, ...(signal === undefined ? {} : { signal }), ...(this.timing === undefined ? {} : { timing: this.timing }),
      ...(this.versions === undefined ? {} : { versions: this.versions }),
      log: (level, message, fields) => this.#logs.push(`${this.id} ${level} ${message} ${JSON.stringify(fields ?? {})}`),
    }, { ...realWorld, crash })
  }

  async #admit(request: JoinRequest): Promise<{ ok: true; response: JoinResponse } | { ok: false; error: string }> {
    if (request.secret !== secret) return { ok: false, error: 'the token is not valid' }
    const { certificate, peer } = await signCsr(this.directory, request.csr, request.peer)
    const added = await this.consensus.addPeer(peer)
    if (!added.ok) return { ok: false, error: added.detail }
    const { clusterId, generation } = loadIdentity(this.directory)
    return {
      ok: true,
      response: {
        clusterId, ...(generation === undefined ? {} : { generation }),
        caCertificate: readFileSync(join(this.directory, 'ca.pem'), 'utf8'),
        certificate,
        caKey: request.peer.role === 'node' ? readFileSync(join(this.directory, 'ca.key'), 'utf8') : '',
        membership: this.consensus.status().membership,
        joinedAtIndex: added.index,
      },
    }
  }
}

export class Cluster {
  readonly directory: string
  readonly members = new Map<string, Member>()

  constructor(directory: string) {
    this.directory = directory
  }

  static async start(t: ExecutionContext, ids: readonly string[], roles: Record<string, NodeRole> = {}): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), 'haechi-driver-')))
    t.teardown(() => cluster.end())
    const [first, ...others] = ids
    const founder = cluster.member(first!, 'node')
    await initCluster({
      directory: founder.directory, id: founder.id, role: 'node', address: `127.0.0.1:${await freePort()}`, apiAddress: '127.0.0.1:1',
      firstEntries: [Buffer.from('first')],
    })
    await founder.open()
    for (const id of others) await cluster.join(id, roles[id] ?? 'node')
    return cluster
  }

  member(id: string, role: NodeRole, directory = join(this.directory, id)): Member {
    const member = new Member(id, directory, role)
    this.members.set(id, member)
    return member
  }

  /** With a new identity; its data goes into `directory`. */
  async join(id: string, role: NodeRole, directory?: string): Promise<Member> {
    const via = this.leader() ?? (await this.waitForLeader())
    const member = this.member(id, role, directory)
    const token = encodeJoinToken({
      clusterId: loadIdentity(via.directory).clusterId, caFingerprint: caFingerprint(via.directory), secret,
      addresses: [loadIdentity(via.directory).address],
    })
    await joinCluster({
      directory: member.directory, token, id, role, address: `127.0.0.1:${await freePort()}`, apiAddress: role === 'node' ? '127.0.0.1:1' : '',
    })
    await member.open()
    await until(`${id} votes`, () => via.consensus.status().membership.voters.some((voter) => voter.id === id))
    return member
  }

  get(id: string): Member {
    return this.members.get(id)!
  }

  leader(): Member | undefined {
    return [...this.members.values()].find((member) => member.consensus?.status().role === 'leader')
  }

  /** A leader of whom all `among` know. */
  async waitForLeader(among: readonly Member[] = [...this.members.values()]): Promise<Member> {
    await until('all know one leader', () => {
      const known = new Set(among.map((member) => member.consensus.status().leader))
      return known.size === 1 && !known.has('') && among.some((member) => known.has(member.id))
    })
    return this.get(among[0]!.consensus.status().leader)
  }

  /**
   * Hands over from `from`, which leads, to `to`, once it has answered in this term: a hand-over asked of a leader in its
   * first moments is refused, as to a node that may be gone.
   */
  async handOver(from: Member, to: string): ReturnType<Member['consensus']['transfer']> {
    const answered = (): boolean => (from.consensus.status().peers.find(({ peer }) => peer.id === to)?.matchIndex ?? 0) > 0
    await until(`${to} has answered ${from.id}`, answered)
    return from.consensus.transfer(to)
  }

  async end(): Promise<void> {
    await Promise.all([...this.members.values()].map((member) => member.consensus?.abort()))
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** Everything that was handed to the state machine, as one hash. */
export function digest(member: Member): string {
  const hash = createHash('sha256')
  for (const { index, term, type, data } of member.entries) hash.update(`${index} ${term} ${type} `).update(data)
  return hash.digest('hex')
}

/** Nothing skipped, nothing twice. */
export function assertInOrder(t: ExecutionContext, member: Member): void {
  const start = member.restored.at(-1)?.meta.index ?? 0
  t.deepEqual(member.entries.map(({ index }) => index), member.entries.map((_, at) => start + at + 1), `${member.id} is in order`)
}
