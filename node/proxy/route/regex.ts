/**
 * Matches a compiled pattern (`../../config/pattern.ts`) against bytes, in time linear in the input: no input can make it slow.
 * `test` walks a deterministic automaton that is built as inputs need it, thrown away when it has grown too large, and left alone for
 * the rest of an input that makes it too large twice (Cox, “Regular Expression Matching in the Wild”); `exec` also finds the groups, by Pike's simulation. No platform, no clock.
 */
import { Op, type Pattern } from '../../config/pattern.ts'

/** States of one automaton at once: at most 64 KiB of transitions. */
const maxStates = 128

const accepts = 1
const acceptsAtEnd = 2
const dead = 4

const unknown = -1

/** One pattern, ready to match; keeps its automaton from one input to the next. */
export class Regex {
  readonly #pattern: Pattern
  /** Per state: the instructions where it is, sorted. State 0 is the begin of the input. */
  #states: Int32Array[] = []
  #flags: Uint8Array = new Uint8Array(4)
  #next: Int16Array
  readonly #byKey = new Map<string, number>()
  /** Instructions of the state that is being built: a list, and when each was last put there. */
  readonly #list: Int32Array
  #listLength = 0
  readonly #mark: Uint32Array
  #round = 0
  readonly #stack: Int32Array
  /** For `exec`. */
  #threads: Threads | undefined

  constructor(pattern: Pattern) {
    this.#pattern = pattern
    const size = pattern.ops.length
    this.#list = new Int32Array(size)
    this.#mark = new Uint32Array(size)
    this.#stack = new Int32Array(2 * size + 2)
    this.#next = new Int16Array(4 * pattern.classCount).fill(unknown)
    this.#start()
  }

  get groups(): number {
    return this.#pattern.groups
  }

  /** Whether the pattern matches anywhere in `[start, end)`. */
  test(buffer: Uint8Array, start: number, end: number): boolean {
    const { classes, classCount } = this.#pattern
    let state = 0
    let renewals = 0
    for (let at = start; ; at++) {
      const flags = this.#flags[state]!
      if ((flags & accepts) !== 0) return true
      if (at === end) return (flags & acceptsAtEnd) !== 0
      if ((flags & dead) !== 0) return false
      const class_ = classes[buffer[at]!]!
      const next = this.#next[state * classCount + class_]!
      if (next !== unknown) {
        state = next
        continue
      }
      // An input that needs ever new states is no faster with them.
      if (this.#states.length >= maxStates && renewals++ > 0) return this.#simulate(this.#states[state]!, buffer, at, end)
      state = this.#step(state, class_)
    }
  }

  /** The rest of an input, `[at, end)`, without an automaton: from instruction to instruction, all ways at once (Thompson). */
  #simulate(from: Int32Array, buffer: Uint8Array, start: number, end: number): boolean {
    const { ops, x, sets, classes } = this.#pattern
    const list = this.#list
    const now = new Int32Array(list.length)
    now.set(from)
    let count = from.length
    for (let at = start; at < end; at++) {
      const class_ = classes[buffer[at]!]!
      this.#round++
      this.#listLength = 0
      for (let i = 0; i < count; i++) {
        const pc = now[i]!
        if (ops[pc] === Op.set && sets[x[pc]!]![class_] === 1) this.#closure(pc + 1, false, false)
      }
      this.#closure(0, false, false)
      count = this.#listLength
      for (let i = 0; i < count; i++) {
        now[i] = list[i]!
        if (ops[list[i]!] === Op.match) return true
      }
    }
    this.#round++
    this.#listLength = 0
    for (let i = 0; i < count; i++) if (ops[now[i]!] === Op.end) this.#closure(now[i]! + 1, false, true)
    for (let i = 0; i < this.#listLength; i++) if (ops[list[i]!] === Op.match) return true
    return false
  }

  #start(): void {
    this.#states = []
    this.#byKey.clear()
    this.#next.fill(unknown)
    this.#round++
    this.#listLength = 0
    this.#closure(0, true, false)
    // Not by its key: only here `^` holds.
    this.#add(true)
  }

  /** The state behind a byte of that class. */
  #step(state: number, class_: number): number {
    const { ops, x, sets, classCount } = this.#pattern
    const from = this.#states[state]!
    this.#round++
    this.#listLength = 0
    for (let i = 0; i < from.length; i++) {
      const pc = from[i]!
      if (ops[pc] === Op.set && sets[x[pc]!]![class_] === 1) this.#closure(pc + 1, false, false)
    }
    // A match may begin at any byte.
    this.#closure(0, false, false)
    const key = this.#list.subarray(0, this.#listLength).sort().join(' ')
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      this.#next[state * classCount + class_] = known
      return known
    }
    if (this.#states.length >= maxStates) {
      const kept = this.#list.slice(0, this.#listLength)
      this.#start()
      this.#listLength = kept.length
      this.#list.set(kept)
      const again = this.#add(false)
      this.#byKey.set(key, again)
      return again
    }
    const added = this.#add(false)
    this.#byKey.set(key, added)
    this.#next[state * classCount + class_] = added
    return added
  }

  /** Makes the list a state. */
  #add(begin: boolean): number {
    const { ops, classCount } = this.#pattern
    const set = this.#list.slice(0, this.#listLength)
    const index = this.#states.length
    this.#states.push(set)
    if (this.#states.length > this.#flags.length) {
      const flags = new Uint8Array(2 * this.#flags.length)
      flags.set(this.#flags)
      this.#flags = flags
      const next = new Int16Array(2 * this.#next.length).fill(unknown)
      next.set(this.#next)
      this.#next = next
    }
    let flags = set.length === 0 && !begin ? dead : 0
    for (const pc of set) if (ops[pc] === Op.match) flags |= accepts
    if (flags === 0) {
      this.#round++
      this.#listLength = 0
      for (const pc of set) if (ops[pc] === Op.end) this.#closure(pc + 1, begin, true)
      for (let i = 0; i < this.#listLength; i++) if (ops[this.#list[i]!] === Op.match) flags |= acceptsAtEnd
      // Without a byte to come and none to begin with: nothing can match any more.
      if (begin && set.length === 0) flags |= this.#restarts() ? 0 : dead
    }
    this.#flags[index] = flags
    this.#next.fill(unknown, index * classCount, (index + 1) * classCount)
    return index
  }

  /** Whether a match can begin behind the first byte. */
  #restarts(): boolean {
    this.#round++
    this.#listLength = 0
    this.#closure(0, false, false)
    return this.#listLength > 0
  }

  /** Adds the instructions that are reached from `pc` without a byte. `end`: at the end of the input. */
  #closure(from: number, begin: boolean, end: boolean): void {
    const { ops, x, y } = this.#pattern
    const stack = this.#stack
    let depth = 0
    stack[depth++] = from
    while (depth > 0) {
      const pc = stack[--depth]!
      if (this.#mark[pc] === this.#round) continue
      this.#mark[pc] = this.#round
      switch (ops[pc]) {
        case Op.split:
          stack[depth++] = y[pc]!
          stack[depth++] = x[pc]!
          break
        case Op.jump:
          stack[depth++] = x[pc]!
          break
        case Op.save:
          stack[depth++] = pc + 1
          break
        case Op.begin:
          if (begin) stack[depth++] = pc + 1
          break
        case Op.end:
          if (end) stack[depth++] = pc + 1
          else this.#list[this.#listLength++] = pc
          break
        default:
          this.#list[this.#listLength++] = pc
      }
    }
  }

  /**
   * The first match, with its groups: of those that begin first the one that a backtracking matcher would take.
   * @param out start and end of the whole and of each group; -1: the group took no part
   */
  exec(buffer: Uint8Array, start: number, end: number, out: Int32Array): boolean {
    this.#threads ??= new Threads(this.#pattern)
    return this.#threads.exec(buffer, start, end, out)
  }
}

/** Pike's simulation: all ways through the program at once, in the order of preference, each with its positions. */
class Threads {
  readonly #pattern: Pattern
  readonly #slots: number
  #now: Int32Array
  #nowCount = 0
  #nowSlots: Int32Array
  #then: Int32Array
  #thenCount = 0
  #thenSlots: Int32Array
  readonly #mark: Uint32Array
  #round = 0
  /** Instructions to look at; below zero: a slot (-1 - slot) gets back the value in `#saved`. */
  readonly #stack: Int32Array
  readonly #saved: Int32Array
  readonly #current: Int32Array

  constructor(pattern: Pattern) {
    this.#pattern = pattern
    const size = pattern.ops.length
    this.#slots = 2 * (pattern.groups + 1)
    this.#now = new Int32Array(size)
    this.#then = new Int32Array(size)
    this.#nowSlots = new Int32Array(size * this.#slots)
    this.#thenSlots = new Int32Array(size * this.#slots)
    this.#mark = new Uint32Array(size)
    this.#stack = new Int32Array(3 * size + 3)
    this.#saved = new Int32Array(3 * size + 3)
    this.#current = new Int32Array(this.#slots)
  }

  exec(buffer: Uint8Array, start: number, end: number, out: Int32Array): boolean {
    const { ops, x, classes, sets } = this.#pattern
    const slots = this.#slots
    let matched = false
    this.#nowCount = 0
    for (let at = start; ; at++) {
      // A later begin is looked for only while there is no match.
      if (!matched) {
        if (at === start) this.#round++
        this.#current.fill(-1)
        this.#addNow(0, at, start, end)
      }
      if (this.#nowCount === 0 && matched) break
      this.#round++
      this.#thenCount = 0
      for (let i = 0; i < this.#nowCount; i++) {
        const pc = this.#now[i]!
        if (ops[pc] === Op.match) {
          matched = true
          out.set(this.#nowSlots.subarray(i * slots, (i + 1) * slots))
          // What comes behind is less preferred.
          break
        }
        if (at < end && sets[x[pc]!]![classes[buffer[at]!]!] === 1) {
          for (let slot = 0, from = i * slots; slot < slots; slot++, from++) this.#current[slot] = this.#nowSlots[from]!
          this.#add(pc + 1, at + 1, start, end)
        }
      }
      const swap = this.#now
      this.#now = this.#then
      this.#then = swap
      const swapSlots = this.#nowSlots
      this.#nowSlots = this.#thenSlots
      this.#thenSlots = swapSlots
      this.#nowCount = this.#thenCount
      if (at === end) break
    }
    return matched
  }

  #addNow(pc: number, at: number, start: number, end: number): void {
    // The begin here is the least preferred of the threads at this position, whose marks are those of this round.
    this.#thenCount = this.#nowCount
    const then = this.#then
    const thenSlots = this.#thenSlots
    this.#then = this.#now
    this.#thenSlots = this.#nowSlots
    this.#add(pc, at, start, end)
    this.#nowCount = this.#thenCount
    this.#then = then
    this.#thenSlots = thenSlots
  }

  #add(from: number, at: number, start: number, end: number): void {
    const { ops, x, y } = this.#pattern
    const stack = this.#stack
    let depth = 0
    stack[depth++] = from
    while (depth > 0) {
      const pc = stack[--depth]!
      if (pc < 0) {
        this.#current[-1 - pc] = this.#saved[depth]!
        continue
      }
      if (this.#mark[pc] === this.#round) continue
      this.#mark[pc] = this.#round
      switch (ops[pc]) {
        case Op.split:
          stack[depth++] = y[pc]!
          stack[depth++] = x[pc]!
          break
        case Op.jump:
          stack[depth++] = x[pc]!
          break
        case Op.save: {
          const slot = x[pc]!
          this.#saved[depth] = this.#current[slot]!
          stack[depth++] = -1 - slot
          this.#current[slot] = at
          stack[depth++] = pc + 1
          break
        }
        case Op.begin:
          if (at === start) stack[depth++] = pc + 1
          break
        case Op.end:
          if (at === end) stack[depth++] = pc + 1
          break
        default:
          this.#then[this.#thenCount] = pc
          for (let slot = 0, to = this.#thenCount * this.#slots; slot < this.#slots; slot++, to++) this.#thenSlots[to] = this.#current[slot]!
          this.#thenCount++
      }
    }
  }
}
