/**
 * Persistence on a worker: from a request to the member that its client is kept on, and back. Everything that can be known before is
 * made when a table comes into force; a request costs a search for one field, and one comparison or one lookup in shared memory.
 */
import { refreshShare } from '../sessions/keeper.ts'
import { cookieValue, cookieValueLength, hashKey, type EntryType } from '../sessions/keys.ts'
import { sipHash } from '../sessions/hash.ts'
import { SessionTable, ticksPerSecond } from '../sessions/table.ts'
import { maxTextBytes, SessionUpdates, wasNone, wasTold } from '../sessions/updates.ts'
import { parseAddress } from './filters/address.ts'
import { ascii, equalsIgnoreCase } from './http/bytes.ts'
import { FieldKind, fieldStride, type Head } from './http/head.ts'
import type { PoolRuntime } from './pool.ts'
import type { PoolPlan } from './route/table.ts'

const SPACE = 0x20
const TAB = 0x09
const SEMICOLON = 0x3b
const EQUALS = 0x3d
const QUOTE = 0x22

const cookieField = ascii('cookie')
const setCookieField = ascii('set-cookie')
const nothing = new Uint8Array(0)

/** What one exchange (or connection) brings and gets. Reused. */
export class Stick {
  /** The member that the client belongs to: index into the pool's members, -1: none that is known. */
  named = -1
  /** The client keeps it although another member serves this request: it was only at its limit. */
  stays = false
  // — with entries —
  /** There is a key: the hash is set. */
  keyed = false
  low = 0
  high = 0
  /** Place of the member in the entry, though it may be none of the pool any more; -1: there is no entry. */
  slot = -1
  /** The entry has lived long enough to be refreshed. */
  stale = false
  /** Of the entry, beside the hash. */
  text: Uint8Array = nothing

  reset(): void {
    this.named = -1
    this.stays = false
    this.keyed = false
    this.slot = -1
    this.stale = false
    this.text = nothing
  }
}

export interface PoolPersistence {
  /** Looks for what a request brings; may take the cookie out of the head. To be called before anything else uses the head. */
  read(stick: Stick, head: Head, buffer: Buffer, address: Uint8Array): void
  /** The same for a client of which only the address is known (as text, in bytes). */
  readAddress(stick: Stick, address: Uint8Array): void
  /** A member was chosen. Called at each choice, so that the client's next connection finds it at once. */
  chosen(stick: Stick, index: number): void
  /**
   * The member's answer is written to the client: `target[0, length)` is its head, which may get one more field.
   * @param head of the answer, in `buffer`. @param secure the client speaks TLS
   * @returns the new length
   */
  answered(stick: Stick, index: number, head: Head, buffer: Buffer, target: Buffer, length: number, secure: boolean): number
}

/**
 * Chooses a member of the pool for who was `read` into the stick: the one that the client belongs to, else by the balance.
 * @returns as `PoolRuntime.pick`
 */
export function choose(persistence: PoolPersistence, stick: Stick, pool: PoolRuntime, tried: readonly number[], key: number): number {
  const { named } = stick
  if (named >= 0 && !tried.includes(named)) {
    if (pool.take(named)) {
      persistence.chosen(stick, named)
      return named
    }
    stick.stays = pool.keeps(named)
  } else stick.stays = false
  const index = pool.pick(tried, key)
  if (index >= 0 && !stick.stays) persistence.chosen(stick, index)
  return index
}

/** The same for a connection. `stick`: undefined at the first choice. `address`: of the client, as text. */
export function chooseFor(address: string, stick: Stick | undefined, pool: PoolRuntime, tried: readonly number[], key: number): [number, Stick | undefined] {
  const { persistence } = pool
  if (persistence === undefined) return [pool.pick(tried, key), undefined]
  const used = stick ?? new Stick()
  if (stick === undefined) persistence.readAddress(used, ascii(address))
  return [choose(persistence, used, pool, tried, key), used]
}

/** What all pools of a worker share. */
export class WorkerPersistence {
  readonly #secret: Uint8Array
  readonly #worker: number
  readonly #post: (batch: Uint8Array) => void
  #table: SessionTable | undefined
  #updates: SessionUpdates | undefined

  /** `secret`: of the cluster. `post`: takes a batch of updates for the main thread. */
  constructor(secret: Uint8Array, worker: number, post: (batch: Uint8Array) => void) {
    this.#secret = secret
    this.#worker = worker
    this.#post = post
  }

  /** The session table is there. */
  useTable(buffer: SharedArrayBuffer): void {
    this.#table = new SessionTable(buffer)
    this.#updates = new SessionUpdates(this.#table, this.#worker, this.#post)
  }

  /** Gives the pools of a new table what keeps their clients. */
  equip(pools: readonly PoolRuntime[]): void {
    for (const pool of pools) pool.persistence = this.#of(pool.plan)
  }

  #of(plan: PoolPlan): PoolPersistence | undefined {
    if (plan.persistence === undefined) return undefined
    if (plan.persistence.type === 'cookie') return new InsertedCookie(plan, this.#secret)
    if (this.#table === undefined || this.#updates === undefined) throw new Error(`pool ${plan.name} has entries, and there is no session table`)
    return new Entries(plan, this.#secret, this.#table, this.#updates)
  }

  /** Gives on what has been decided last. */
  stop(): void {
    this.#updates?.flush()
    this.#updates?.stop()
  }
}

// — cookies in place —

/** The pair that `findCookie` found: where it and its value are, and in which field. */
const pair = { field: 0, start: 0, valueStart: 0, end: 0 }

/**
 * Finds a cookie in a request, in `pair` (RFC 6265 §4.2.1; quotes around a value are not part of it).
 * @param field where to begin, and where in it; 0, 0: at the beginning
 */
function findCookie(head: Head, buffer: Buffer, name: Uint8Array, field: number, from: number): boolean {
  const { fields, count } = head
  for (let i = field; i < count; i++) {
    const base = i * fieldStride
    if (fields[base + 1]! - fields[base]! !== 6 || !equalsIgnoreCase(buffer, fields[base]!, fields[base + 1]!, cookieField)) continue
    const end = fields[base + 3]!
    for (let at = Math.max(i === field ? from : 0, fields[base + 2]!); at < end; at++) {
      while (at < end && (buffer[at] === SPACE || buffer[at] === TAB)) at++
      let stop = at
      while (stop < end && buffer[stop] !== SEMICOLON) stop++
      if (startsWithPair(buffer, at, stop, name)) {
        pair.field = i
        pair.start = at
        pair.valueStart = at + name.length + 1
        pair.end = stop
        return true
      }
      at = stop
    }
  }
  return false
}

function startsWithPair(buffer: Buffer, start: number, end: number, name: Uint8Array): boolean {
  const { length } = name
  if (end - start <= length || buffer[start + length] !== EQUALS) return false
  for (let i = 0; i < length; i++) if (buffer[start + i] !== name[i]) return false
  return true
}

/** Of a value in `[start, end)`, without spaces at its end and quotes around it. */
const value = { start: 0, end: 0 }
function trimValue(buffer: Buffer, start: number, end: number): void {
  let from = start
  let to = end
  while (to > from && (buffer[to - 1] === SPACE || buffer[to - 1] === TAB)) to--
  if (to - from >= 2 && buffer[from] === QUOTE && buffer[to - 1] === QUOTE) {
    from++
    to--
  }
  value.start = from
  value.end = to
}

// — the cookie that Haechi inserts —

class InsertedCookie implements PoolPersistence {
  readonly #name: Uint8Array
  readonly #removed: boolean
  readonly #secure: 'auto' | 'always' | 'never'
  /** Indexes by the first four bytes of the value: nearly always one. */
  readonly #byStart = new Map<number, number[]>()
  readonly #values: readonly Buffer[]
  readonly #lines: readonly Buffer[]
  readonly #secureLines: readonly Buffer[]

  constructor(plan: PoolPlan, secret: Uint8Array) {
    const { cookieName, attributes, secure, removed } = plan.persistence!
    this.#name = ascii(cookieName)
    this.#removed = removed
    this.#secure = secure
    const values = plan.members.map((member) => cookieValue(secret, plan.name, member.name))
    this.#values = values.map((text) => ascii(text))
    this.#lines = values.map((text) => ascii(`Set-Cookie: ${cookieName}=${text}${attributes}\r\n`))
    this.#secureLines = values.map((text) => ascii(`Set-Cookie: ${cookieName}=${text}${attributes}; Secure\r\n`))
    for (const [index, bytes] of this.#values.entries()) {
      const start = bytes.readInt32LE(0)
      const same = this.#byStart.get(start)
      if (same === undefined) this.#byStart.set(start, [index])
      else same.push(index)
    }
  }

  read(stick: Stick, head: Head, buffer: Buffer): void {
    stick.reset()
    if (this.#removed) return this.#readAndRemove(stick, head, buffer)
    let field = 0
    let from = 0
    while (stick.named < 0 && findCookie(head, buffer, this.#name, field, from)) {
      this.#note(stick, buffer)
      field = pair.field
      from = pair.end + 1
    }
  }

  /** Takes all its pairs out of the head, in place: what follows moves up, once, and spaces end the value (RFC 9110 §5.5). */
  #readAndRemove(stick: Stick, head: Head, buffer: Buffer): void {
    const { fields } = head
    let found = findCookie(head, buffer, this.#name, 0, 0)
    while (found) {
      const { field } = pair
      const base = field * fieldStride
      const valueStart = fields[base + 2]!
      const valueEnd = fields[base + 3]!
      let to = pair.start
      let last: boolean
      do {
        this.#note(stick, buffer)
        last = pair.end === valueEnd
        let from = Math.min(pair.end + 1, valueEnd)
        while (from < valueEnd && (buffer[from] === SPACE || buffer[from] === TAB)) from++
        found = findCookie(head, buffer, this.#name, field, from)
        const until = found && pair.field === field ? pair.start : valueEnd
        buffer.copyWithin(to, from, until)
        to += until - from
      } while (found && pair.field === field)
      // With the last one the separator in front goes, too.
      if (last) while (to > valueStart && (buffer[to - 1] === SPACE || buffer[to - 1] === TAB || buffer[to - 1] === SEMICOLON)) to--
      buffer.fill(SPACE, to, valueEnd)
      fields[base + 3] = to
      if (to === valueStart) head.kinds[field] = FieldKind.hopByHop
    }
  }

  /** The pair that was found. */
  #note(stick: Stick, buffer: Buffer): void {
    if (stick.named >= 0) return
    trimValue(buffer, pair.valueStart, pair.end)
    stick.named = this.#memberOf(buffer)
  }

  /** There is no other way to know a client here. */
  readAddress(stick: Stick): void {
    stick.reset()
  }

  chosen(): void {
    // The answer says it.
  }

  answered(stick: Stick, index: number, _head: Head, _buffer: Buffer, target: Buffer, length: number, secure: boolean): number {
    if (index === stick.named || stick.stays || index < 0) return length
    const line = this.#secure === 'always' || (this.#secure === 'auto' && secure) ? this.#secureLines[index]! : this.#lines[index]!
    // In front of the empty line that ends the head.
    const at = length - 2
    target.set(line, at)
    target[at + line.length] = 0x0d
    target[at + line.length + 1] = 0x0a
    return length + line.length
  }

  #memberOf(buffer: Buffer): number {
    const { start, end } = value
    if (end - start !== cookieValueLength) return -1
    const candidates = this.#byStart.get(buffer.readInt32LE(start))
    if (candidates === undefined) return -1
    for (let i = 0; i < candidates.length; i++) {
      const bytes = this.#values[candidates[i]!]!
      let different = 0
      for (let at = 0; at < cookieValueLength; at++) different |= bytes[at]! ^ buffer[start + at]!
      if (different === 0) return candidates[i]!
    }
    return -1
  }
}

// — what is remembered in the session table —

class Entries implements PoolPersistence {
  readonly #type: EntryType
  /** Of the cookie or the header field. */
  readonly #name: Uint8Array
  readonly #ipv6PrefixLength: number
  readonly #pool: number
  readonly #refreshBelow: number
  readonly #slots: readonly number[]
  readonly #indexes: ReadonlyMap<number, number>
  readonly #hashing: Int32Array
  readonly #hash = new Int32Array(2)
  readonly #table: SessionTable
  readonly #updates: SessionUpdates
  /** The address of the last connection, as long as it asks again and again. */
  #lastAddress: Uint8Array = nothing
  #lastText: Uint8Array = nothing
  #lastLow = 0
  #lastHigh = 0

  constructor(plan: PoolPlan, secret: Uint8Array, table: SessionTable, updates: SessionUpdates) {
    const { type, cookieName, header, ttlMs, ipv6PrefixLength } = plan.persistence!
    this.#type = type as EntryType
    this.#name = ascii(type === 'header' ? header : cookieName)
    this.#ipv6PrefixLength = ipv6PrefixLength
    this.#pool = plan.slot
    this.#refreshBelow = Math.ceil((ttlMs / 1000) * ticksPerSecond) * refreshShare
    this.#slots = plan.members.map(({ slot }) => slot)
    this.#indexes = new Map(this.#slots.map((slot, index) => [slot, index]))
    this.#hashing = hashKey(secret, plan.name, this.#type)
    this.#table = table
    this.#updates = updates
  }

  read(stick: Stick, head: Head, buffer: Buffer, address: Uint8Array): void {
    if (this.#type === 'source') return this.readAddress(stick, address)
    stick.reset()
    if (this.#type === 'header') {
      const { fields, count } = head
      const { length } = this.#name
      for (let base = 0; base < count * fieldStride; base += fieldStride) {
        if (fields[base + 1]! - fields[base]! !== length || !equalsIgnoreCase(buffer, fields[base]!, fields[base + 1]!, this.#name)) continue
        this.#look(stick, buffer, fields[base + 2]!, fields[base + 3]!)
        return
      }
    } else if (findCookie(head, buffer, this.#name, 0, 0)) {
      trimValue(buffer, pair.valueStart, pair.end)
      this.#look(stick, buffer, value.start, value.end)
    }
  }

  readAddress(stick: Stick, address: Uint8Array): void {
    stick.reset()
    if (this.#type !== 'source') return
    if (address !== this.#lastAddress) {
      this.#lastAddress = address
      this.#lastText = sourceText(address, this.#ipv6PrefixLength)
      sipHash(this.#hashing, this.#lastText, 0, this.#lastText.length, this.#hash)
      this.#lastLow = this.#hash[0]!
      this.#lastHigh = this.#hash[1]!
    }
    stick.text = this.#lastText
    this.#find(stick, this.#lastLow, this.#lastHigh)
  }

  #look(stick: Stick, buffer: Buffer, start: number, end: number): void {
    if (start === end) return
    sipHash(this.#hashing, buffer, start, end, this.#hash)
    this.#find(stick, this.#hash[0]!, this.#hash[1]!)
  }

  #find(stick: Stick, low: number, high: number): void {
    stick.keyed = true
    stick.low = low
    stick.high = high
    let slot = this.#updates.member(low, high)
    if (slot < 0 && this.#table.find(low, high) && this.#table.pool === this.#pool) {
      slot = this.#table.member
      stick.stale = this.#table.remaining < this.#refreshBelow
    }
    if (slot < 0) return
    stick.slot = slot
    stick.named = this.#indexes.get(slot) ?? -1
  }

  chosen(stick: Stick, index: number): void {
    if (!stick.keyed) return
    const slot = this.#slots[index]!
    if (slot === stick.slot && !stick.stale) return
    this.#updates.add(this.#pool, slot, stick.slot < 0 ? wasNone : stick.slot, stick.low, stick.high, stick.text)
    stick.slot = slot
    stick.stale = false
  }

  answered(_stick: Stick, index: number, head: Head, buffer: Buffer, _target: Buffer, length: number): number {
    if (this.#type !== 'app-cookie' || index < 0) return length
    const { fields, count } = head
    for (let base = 0; base < count * fieldStride; base += fieldStride) {
      if (fields[base + 1]! - fields[base]! !== 10 || !equalsIgnoreCase(buffer, fields[base]!, fields[base + 1]!, setCookieField)) continue
      const start = fields[base + 2]!
      let end = start
      while (end < fields[base + 3]! && buffer[end] !== SEMICOLON) end++
      if (startsWithPair(buffer, start, end, this.#name)) this.#learn(buffer, start + this.#name.length + 1, end, this.#slots[index]!)
    }
    return length
  }

  /** A member has given its client this value. An empty one takes it back. */
  #learn(buffer: Buffer, start: number, end: number, slot: number): void {
    trimValue(buffer, start, end)
    if (value.start === value.end) return
    sipHash(this.#hashing, buffer, value.start, value.end, this.#hash)
    const low = this.#hash[0]!
    const high = this.#hash[1]!
    // Some set it again with each answer.
    if (this.#updates.member(low, high) === slot) return
    const known = this.#table.find(low, high) && this.#table.pool === this.#pool && this.#table.member === slot
    if (known && this.#table.remaining >= this.#refreshBelow) return
    this.#updates.add(this.#pool, slot, wasTold, low, high, nothing)
  }
}

const words = new Uint32Array(4)

/** A client's address as it stands in an entry: of IPv6 only the prefix. Never longer than `maxTextBytes`. */
function sourceText(address: Uint8Array, ipv6PrefixLength: number): Uint8Array {
  if (!address.includes(0x3a) || ipv6PrefixLength === 128) return address.subarray(0, maxTextBytes)
  const text = Buffer.from(address.buffer, address.byteOffset, address.byteLength).toString('latin1').replace(/%.*$/, '')
  if (parseAddress(text, words) !== 6) return address.subarray(0, maxTextBytes)
  const groups: string[] = []
  for (let bit = 0; bit < ipv6PrefixLength; bit += 16) {
    const group = (words[bit >>> 5]! >>> (bit % 32 === 0 ? 16 : 0)) & 0xffff
    const kept = Math.min(16, ipv6PrefixLength - bit)
    groups.push((group & (0xffff << (16 - kept))).toString(16))
  }
  while (groups.at(-1) === '0') groups.pop()
  return ascii(`${groups.join(':')}${groups.length < 8 ? '::' : ''}/${ipv6PrefixLength}`)
}
