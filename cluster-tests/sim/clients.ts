/** Clients that write and read registers through any machine, and the history of what they saw. */
import { checkLinearizable, type Operation } from '../history/linearizability.ts'
import { registers, type RegisterOp, type RegisterResult } from '../history/models.ts'
import type { NodeId } from '../../consensus/core/types.ts'
import type { SimulatedCluster } from './cluster.ts'

const encoder = new TextEncoder()
const keys = ['x', 'y', 'z'] as const

interface Recorded {
  client: number
  invokeMs: number
  completeMs: number | undefined
  op: RegisterOp
  result: RegisterResult | undefined
}

export class Clients {
  readonly #cluster: SimulatedCluster
  readonly #history: Recorded[] = []
  #next = 0
  #values = 0
  #stopped = false

  constructor(cluster: SimulatedCluster) {
    this.#cluster = cluster
  }

  stop(): void {
    this.#stopped = true
  }

  /** One client that goes on until stopped; `everyMs` apart on average. */
  start(everyMs: number): void {
    const { time, random } = this.#cluster
    const again = () => {
      if (this.#stopped) return
      const ids = [...this.#cluster.hosts.keys()]
      const { leader } = this.#cluster
      const id = leader !== undefined && random() < 0.4 ? leader : ids[Math.floor(random() * ids.length)]!
      let over = false
      const next = () => {
        if (over) return
        over = true
        time.after(random() * 2 * everyMs, again)
      }
      // A client whose machine is gone gives up and goes on as another one.
      time.after(300 + random() * 900, next)
      this.once(id, random() < 0.5 ? 'read' : 'write', next)
    }
    time.after(random() * everyMs, again)
  }

  /** One operation through `id`; `done` when it is answered. `bytes`: added to what is written. */
  once(id: NodeId, kind: 'read' | 'write', done: (ok: boolean) => void = () => undefined, bytes = 0): void {
    const key = keys[Math.floor(this.#cluster.random() * keys.length)]!
    const client = (this.#next += 1)
    if (kind === 'read') this.#read(id, client, key, done)
    else this.#write(id, client, key, done, bytes)
  }

  #write(id: NodeId, client: number, key: string, done: (ok: boolean) => void, bytes: number): void {
    const { time, checks, counts } = this.#cluster
    const driver = this.#cluster.awake(id)
    if (driver === undefined) return done(false)
    const value = `v${(this.#values += 1)}${'.'.repeat(bytes)}`
    const text = `${key}=${value}`
    const record: Recorded = { client, invokeMs: time.now, completeMs: undefined, op: { kind: 'write', key, value }, result: undefined }
    this.#history.push(record)
    const priority = bytes > 0 || this.#cluster.random() < 0.7 ? 'normal' : 'bulk'
    void driver.propose(encoder.encode(text), priority).then((result) => this.#cluster.guard(() => {
      if (result.ok) {
        record.completeMs = time.now
        record.result = null
        counts.writes += 1
        checks.acknowledged(result.index, text)
      } else if (result.retrySafe) {
        this.#history.splice(this.#history.indexOf(record), 1)
        checks.safeToRepeat(text)
      }
      done(result.ok)
    }))
  }

  #read(id: NodeId, client: number, key: string, done: (ok: boolean) => void): void {
    const { time, checks, counts } = this.#cluster
    const host = this.#cluster.host(id)
    const driver = this.#cluster.awake(id)
    if (driver === undefined) return done(false)
    const known = checks.acknowledgedTo
    const record: Recorded = { client, invokeMs: time.now, completeMs: undefined, op: { kind: 'read', key }, result: undefined }
    void driver.readIndex().then((answer) => this.#cluster.guard(() => {
      if (!answer.ok) return done(false)
      if (answer.index < known) this.#cluster.fail(`${id} may read at ${answer.index}, but ${known} was acknowledged before it asked`)
      const answered = () => {
        record.completeMs = time.now
        record.result = host.registers.values.get(key) ?? null
        this.#history.push(record)
        counts.reads += 1
        done(true)
      }
      if (host.registers.applied >= answer.index) answered()
      else host.waiters.push({ index: answer.index, run: answered })
    }))
  }

  /** Whether one copy of the registers could have given these answers. */
  check(): void {
    const verdict = checkLinearizable(registers, this.#history as readonly Operation<RegisterOp, RegisterResult>[])
    if (verdict.verdict === 'linearizable') return
    this.#cluster.fail(`history ${verdict.verdict}: ${JSON.stringify(verdict.operation)}, states ${JSON.stringify(verdict.states)}, under way ${JSON.stringify(verdict.pending)}`)
  }
}
