/**
 * The clients of the consensus benchmark, in a process of their own: puts to etcd over gRPC, proposals to a heart over its
 * link on a TCP connection, or the session batches of the nodes' children. Started by `consensus.ts`, which it answers over
 * IPC.
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import type { ProposeResult } from '../../consensus/consensus.ts'
import { Link, type ToHeart } from '../../node/link.ts'
import { SessionBatch } from '../../node/sessions/batch.ts'
import { encodeCommand } from '../../node/state/command.ts'
import { EtcdConnection } from './etcd.ts'
import { closedLoop, Latencies, type Summary } from './latencies.ts'

export const valueBytes = 256
const keys = 10_000

export interface PutLoad {
  readonly kind: 'etcd' | 'haechi'
  readonly port: number
  readonly clients: number
  readonly connections: number
  readonly warmSeconds: number
  readonly seconds: number
}

export interface SessionLoad {
  readonly kind: 'sessions'
  /** Each node's share comes in at its own heart. */
  readonly ports: readonly number[]
  /** Entries a second in all; Infinity: as fast as they are taken. */
  readonly rate: number
  /** Different keys. */
  readonly table: number
  readonly seconds: number
}

export interface SessionResult {
  readonly batches: Summary
  readonly entriesPerBatch: number
  readonly bytesPerBatch: number
  readonly entries: number
}

type Reply = { readonly type: 'reply'; readonly id: number; readonly result: ProposeResult }

class HeartConnection {
  readonly #link: Link<Reply, ToHeart>
  readonly #waiting = new Map<number, (ok: boolean) => void>()
  #next = 1

  private constructor(link: (connection: HeartConnection) => Link<Reply, ToHeart>) {
    this.#link = link(this)
  }

  static open(port: number): Promise<HeartConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.setNoDelay(true)
        const made = new HeartConnection(
          (self) =>
            new Link<Reply, ToHeart>(
              socket,
              ({ id, result }) => self.#settle(id, result.ok),
              () => [...self.#waiting.keys()].forEach((id) => self.#settle(id, false)),
            ),
        )
        resolve(made)
      })
      socket.once('error', reject)
    })
  }

  propose(data: Uint8Array, priority: 'normal' | 'bulk'): Promise<boolean> {
    const id = this.#next++
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.#link.send({ type: 'propose', id, data, priority })
    })
  }

  close(): void {
    this.#link.close()
  }

  #settle(id: number, ok: boolean): void {
    this.#waiting.get(id)?.(ok)
    this.#waiting.delete(id)
  }
}

async function put(load: PutLoad): Promise<Summary> {
  const { kind, port, clients, connections } = load
  const value = randomBytes(valueBytes)
  const key = (client: number, turn: number): Buffer => Buffer.from(String((client * 7919 + turn) % keys).padStart(8, '0'))
  let turn = 0
  if (kind === 'etcd') {
    const open = await Promise.all(Array.from({ length: connections }, () => EtcdConnection.open(port)))
    const summary = await closedLoop(clients, load.warmSeconds, load.seconds, (client) => open[client % connections]!.put(key(client, turn++), value))
    for (const connection of open) connection.close()
    return summary
  }
  const open = await Promise.all(Array.from({ length: connections }, () => HeartConnection.open(port)))
  const summary = await closedLoop(clients, load.warmSeconds, load.seconds, (client) =>
    open[client % connections]!.propose(Buffer.concat([key(client, turn++), value]), 'normal'),
  )
  for (const connection of open) connection.close()
  return summary
}

/** Batches that wait for their answer, in all: a child that proposes more would only grow the heart's queue. */
const maxUnderWay = 24

async function sessions(load: SessionLoad): Promise<SessionResult> {
  const hearts = await Promise.all(load.ports.map((port) => HeartConnection.open(port)))
  const latencies = new Latencies()
  let made = 0
  let entries = 0
  let bytes = 0
  let batches = 0
  let underWay = 0
  let wake: (() => void) | undefined
  const next = (): { data: Uint8Array; count: number } => {
    const batch = new SessionBatch()
    for (;;) {
      batch.add({ key: `web\u0000203.0.113.${made % 256}/${(made % load.table).toString(36)}`, member: `member-${made % 40}`, ttlMs: 3_600_000 }, 0)
      made += 1
      if (batch.due(0) === 0) break
    }
    const updates = batch.take(0)
    const id = `sessions-${made}`
    const data = encodeCommand({ kind: 'sessions', id, actor: { name: 'system', from: '', node: 'm1' }, atEpochMs: Date.now(), entries: updates })
    return { data, count: updates.length }
  }
  const startedMs = performance.now()
  const untilMs = startedMs + load.seconds * 1000
  let proposed = 0
  for (let nowMs = startedMs; nowMs < untilMs; nowMs = performance.now()) {
    const dueMs = startedMs + (proposed / load.rate) * 1000
    if (underWay >= maxUnderWay) await new Promise<void>((resolve) => (wake = resolve))
    else if (dueMs > nowMs) await new Promise((resolve) => setTimeout(resolve, Math.min(dueMs - nowMs, 20)))
    else {
      const { data, count } = next()
      proposed += count
      underWay += 1
      const sentMs = performance.now()
      void hearts[batches++ % hearts.length]!.propose(data, 'bulk').then((ok) => {
        underWay -= 1
        if (ok) {
          latencies.add(performance.now() - sentMs)
          entries += count
          bytes += data.length
        } else latencies.failed += 1
        wake?.()
      })
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const summary = latencies.summary()
  while (underWay > 0) await new Promise<void>((resolve) => (wake = resolve))
  for (const heart of hearts) heart.close()
  return { batches: summary, entries, entriesPerBatch: Math.round(entries / summary.count), bytesPerBatch: Math.round(bytes / summary.count) }
}

if (process.send !== undefined && import.meta.main) {
  process.on('message', (load: PutLoad | SessionLoad) => {
    void (load.kind === 'sessions' ? sessions(load) : put(load)).then(
      (result) => process.send!({ result }, () => process.exit(0)),
      (error: Error) => process.send!({ error: error.message }, () => process.exit(1)),
    )
  })
}
