/**
 * Processes of a lab: who was started, whether it is still the same one, and signals to whole process trees. A pid alone
 * proves nothing (the kernel reuses it), so a process is known by pid and start time; a lab never signals anything else.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** One process as it is written down in the lab's directory. */
export interface ProcessRecord {
  /** What it is, unique in the lab: `node1`, `backend2`, `client.4711`. */
  readonly name: string
  readonly pid: number
  /** Clock ticks since boot at its start: field 22 of /proc/PID/stat, proc(5). */
  readonly startTime: string
}

interface Stat {
  readonly state: string
  readonly parent: number
  readonly startTime: string
}

/** What /proc says of a process, or undefined when there is none. Zombies count as none: they do nothing any more. */
export function processStat(pid: number): Stat | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The command stands in parentheses and may itself hold spaces and parentheses: count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parent] = fields
  const startTime = fields[19]
  if (state === undefined || parent === undefined || startTime === undefined || state === 'Z' || state === 'X') return undefined
  return { state, parent: Number(parent), startTime }
}

/** True while the process of the record itself (not a later one with its pid) runs, or is stopped. */
export function isAlive(record: ProcessRecord): boolean {
  return processStat(record.pid)?.startTime === record.startTime
}

/** All living descendants of `root` and itself (when it lives), parents before children. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const stat = processStat(pid)
    if (stat === undefined) continue
    const list = children.get(stat.parent)
    if (list === undefined) children.set(stat.parent, [pid])
    else list.push(pid)
  }
  const found = processStat(root) === undefined ? [] : [root]
  for (let i = 0; i < found.length; i++) found.push(...(children.get(found[i]!) ?? []))
  return found
}

/** The command line of a process, arguments joined by spaces; empty when it is gone. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

/** Sends a signal; false when the process was gone already. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name)
    return true
  } catch {
    return false
  }
}

/**
 * Sends a signal to a whole process tree. The root comes first, so that a stopped or dead parent cannot start another
 * child in between; the tree is then read again until nothing new shows up.
 */
export function signalTree(root: number, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): number[] {
  const done = new Set<number>()
  let tree = processTree(root)
  for (let round = 0; round < 8; round++) {
    const fresh = tree.filter((pid) => !done.has(pid))
    if (fresh.length === 0) break
    for (const pid of fresh) {
      signal(pid, name)
      done.add(pid)
    }
    // Children of a killed root belong to another parent now: look below every one that was seen.
    tree = [...done].flatMap(processTree)
  }
  return [...done]
}

/** The records of one lab: a file for each process, so that several tools can write at the same time. */
export class ProcessRegistry {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Writes down a process that was just started. Undefined when it has ended already. */
  add(name: string, pid: number): ProcessRecord | undefined {
    const stat = processStat(pid)
    if (stat === undefined) return undefined
    const record: ProcessRecord = { name, pid, startTime: stat.startTime }
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    const file = this.#file(name)
    writeFileSync(`${file}.new`, JSON.stringify(record))
    renameSync(`${file}.new`, file)
    return record
  }

  /** The process of that name if it was written down and still lives. */
  get(name: string): ProcessRecord | undefined {
    const record = this.#read(this.#file(name))
    return record !== undefined && isAlive(record) ? record : undefined
  }

  remove(name: string): void {
    rmSync(this.#file(name), { force: true })
  }

  /** All that live. Records of the dead are dropped on the way. */
  living(): ProcessRecord[] {
    let files: string[]
    try {
      files = readdirSync(this.#directory)
    } catch {
      return []
    }
    const found: ProcessRecord[] = []
    for (const file of files) {
      if (!file.endsWith('.json')) continue
      const path = join(this.#directory, file)
      const record = this.#read(path)
      if (record !== undefined && isAlive(record)) found.push(record)
      else rmSync(path, { force: true })
    }
    return found
  }

  #file(name: string): string {
    return join(this.#directory, `${name}.json`)
  }

  #read(path: string): ProcessRecord | undefined {
    try {
      const value = JSON.parse(readFileSync(path, 'utf8')) as Partial<ProcessRecord>
      const { name, pid, startTime } = value
      if (typeof name !== 'string' || typeof startTime !== 'string' || !Number.isInteger(pid)) return undefined
      return { name, pid: pid as number, startTime }
    } catch {
      return undefined
    }
  }
}
