/**
 * etcd for the consensus benchmark: a cluster of three with its defaults, and a client that costs little. The client speaks
 * HTTP/2 (RFC 9113) and gRPC's framing by hand, with headers that never change: on two cores a general client would take
 * the time that the servers should have.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'

export function etcdVersion(): string | undefined {
  const { status, stdout } = spawnSync('etcd', ['--version'])
  return status === 0 ? /etcd Version: (\S+)/.exec(stdout.toString())?.[1] : undefined
}

export interface EtcdCluster {
  /** Port of the leader for clients. */
  readonly leaderPort: number
  readonly pids: readonly number[]
  stop(): Promise<void>
}

/** `ports`: for each member one for clients and one for peers. */
export async function startEtcd(directory: string, ports: readonly (readonly [client: number, peer: number])[]): Promise<EtcdCluster> {
  const members = ports.map(([client, peer], at) => ({ name: `m${at + 1}`, client: `http://127.0.0.1:${client}`, peer: `http://127.0.0.1:${peer}` }))
  const initial = members.map(({ name, peer }) => `${name}=${peer}`).join(',')
  const children = members.map(({ name, client, peer }) =>
    spawn(
      'etcd',
      [
        '--name', name, '--data-dir', join(directory, name), '--listen-client-urls', client, '--advertise-client-urls', client,
        '--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', initial, '--initial-cluster-state', 'new',
      ],
      { stdio: 'ignore' },
    ),
  )
  const stop = async (): Promise<void> => void (await Promise.all(children.map(end)))
  const deadlineMs = performance.now() + 20_000
  for (;;) {
    for (const [at, { client }] of members.entries()) {
      const status = await statusOf(client)
      if (status?.leader !== undefined && status.leader !== '0' && status.leader === status.id) {
        return { leaderPort: ports[at]![0], pids: children.map(({ pid }) => pid!), stop }
      }
    }
    if (performance.now() > deadlineMs) {
      await stop()
      throw new Error('etcd found no leader within 20 s')
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function statusOf(url: string): Promise<{ id: string; leader: string } | undefined> {
  try {
    const answer = await fetch(`${url}/v3/maintenance/status`, { method: 'POST', body: '{}', signal: AbortSignal.timeout(1000) })
    const { header, leader } = (await answer.json()) as { header?: { member_id?: string }; leader?: string }
    return header?.member_id === undefined || leader === undefined ? undefined : { id: header.member_id, leader }
  } catch {
    return undefined
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])
/** HPACK (RFC 7541): indexed fields of the static table, and literals that are not indexed. */
const headerBlock = (authority: string): Buffer =>
  Buffer.concat([
    Buffer.from([0x83, 0x86, 0x04]), text('/etcdserverpb.KV/Put'), Buffer.from([0x01]), text(authority),
    Buffer.from([0x0f, 0x10]), text('application/grpc'), Buffer.from([0x00]), text('te'), text('trailers'),
  ])

const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const
const endStream = 1
const endHeaders = 4
const ack = 1

function frame(kind: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.allocUnsafe(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = kind
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const u32 = (value: number): Buffer => {
  const out = Buffer.allocUnsafe(4)
  out.writeUInt32BE(value)
  return out
}

/** One HTTP/2 connection that does nothing but put. */
export class EtcdConnection {
  readonly #socket: Socket
  readonly #headers: Buffer
  readonly #waiting = new Map<number, { answered: boolean; resolve: (ok: boolean) => void }>()
  #next = 1
  #rest: Buffer = Buffer.alloc(0)
  #received = 0
  /** What the server still takes on this connection. Ours are small, so a stream's own window is never the limit. */
  #window = 65_535
  readonly #queued: Buffer[] = []

  private constructor(socket: Socket, port: number) {
    this.#socket = socket
    this.#headers = headerBlock(`127.0.0.1:${port}`)
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#data(chunk as Buffer))
    socket.on('close', () => {
      for (const { resolve } of this.#waiting.values()) resolve(false)
      this.#waiting.clear()
    })
    socket.on('error', () => socket.destroy())
    // Large windows for what comes back, so that it never waits for us.
    const settings = Buffer.concat([Buffer.from([0, 2]), u32(0), Buffer.from([0, 4]), u32(1 << 20)])
    socket.write(Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(type.settings, 0, 0, settings), frame(type.windowUpdate, 0, 0, u32(1 << 29)),
    ]))
  }

  static open(port: number): Promise<EtcdConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new EtcdConnection(socket, port)))
      socket.once('error', reject)
    })
  }

  /** False when it was not done. */
  put(key: Buffer, value: Buffer): Promise<boolean> {
    if (this.#socket.destroyed) return Promise.resolve(false)
    const stream = this.#next
    this.#next += 2
    const message = Buffer.concat([Buffer.from([0x0a, ...varint(key.length)]), key, Buffer.from([0x12, ...varint(value.length)]), value])
    const data = frame(type.data, endStream, stream, Buffer.concat([Buffer.from([0]), u32(message.length), message]))
    this.#socket.cork()
    this.#socket.write(frame(type.headers, endHeaders, stream, this.#headers))
    this.#queued.push(data)
    this.#sendQueued()
    process.nextTick(() => this.#socket.uncork())
    return new Promise((resolve) => this.#waiting.set(stream, { answered: false, resolve }))
  }

  close(): void {
    this.#socket.destroy()
  }

  #sendQueued(): void {
    while (this.#queued.length > 0 && this.#queued[0]!.length - 9 <= this.#window) {
      const data = this.#queued.shift()!
      this.#window -= data.length - 9
      this.#socket.write(data)
    }
  }

  #data(chunk: Buffer): void {
    const all = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (all.length - at >= 9) {
      const length = all.readUIntBE(at, 3)
      if (all.length - at - 9 < length) break
      this.#frame(all[at + 3]!, all[at + 4]!, all.readUInt32BE(at + 5), all.subarray(at + 9, at + 9 + length))
      at += 9 + length
    }
    this.#rest = all.subarray(at)
  }

  #frame(kind: number, flags: number, stream: number, payload: Buffer): void {
    const waiting = this.#waiting.get(stream)
    if (kind === type.data) {
      this.#received += payload.length
      if (this.#received > 1 << 28) {
        this.#socket.write(frame(type.windowUpdate, 0, 0, u32(this.#received)))
        this.#received = 0
      }
      // A response message comes only with success; a failure is trailers alone.
      if (waiting !== undefined) waiting.answered = true
    } else if (kind === type.settings && (flags & ack) === 0) {
      this.#socket.write(frame(type.settings, ack, 0, Buffer.alloc(0)))
    } else if (kind === type.ping && (flags & ack) === 0) {
      this.#socket.write(frame(type.ping, ack, 0, Buffer.from(payload)))
    } else if (kind === type.windowUpdate && stream === 0) {
      this.#window += payload.readUInt32BE(0)
      this.#sendQueued()
    } else if (kind === type.goAway) {
      this.#socket.destroy()
    }
    const over = kind === type.reset || ((kind === type.data || kind === type.headers) && (flags & endStream) !== 0)
    if (waiting === undefined || !over) return
    this.#waiting.delete(stream)
    waiting.resolve(waiting.answered && kind !== type.reset)
  }
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest]
    bytes.push((rest & 0x7f) | 0x80)
  }
}
