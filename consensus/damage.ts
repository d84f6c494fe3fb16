/**
 * A damaged log in a data directory: what is written down so that a repair (`repair.ts`) goes on after a crash, and the
 * steps that change files. Each of them may be interrupted and is then done again.
 *
 *     repair.json           the log must not be used; it is repaired from the leader. Gone: it may be used.
 *     log.damaged-<time>    what was there, for whoever wants to look into it; the newest two are kept
 *     members.json          the members as this node last knew them: whom to ask. Nothing else rests on it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isMembership } from './core/membership.ts'
import type { Membership } from './core/types.ts'
import { replaceFile, syncDirectory } from './durable-file.ts'
import { loadIdentity, rewriteIdentity } from './identity.ts'
import { createLog } from './storage/level.ts'
import type { OwnerRecord } from './storage/records.ts'

export interface RepairMarker {
  /** What is wrong, for the operator. */
  readonly reason: string
  /** ISO 8601. */
  readonly since: string
  /** Where the damaged log goes, below the data directory. */
  readonly aside: string
}

const markerFile = 'repair.json'
const membersFile = 'members.json'
const asidePrefix = 'log.damaged-'
const keptAside = 2

/** The marker of a repair that is due or under way. One that cannot be read is one all the same. */
export function readRepairMarker(directory: string): RepairMarker | undefined {
  const file = join(directory, markerFile)
  if (!existsSync(file)) return undefined
  let value: Partial<RepairMarker> = {}
  try {
    value = JSON.parse(readFileSync(file, 'utf8')) as Partial<RepairMarker>
  } catch {
    // Written by a process that was interrupted.
  }
  const { reason, since, aside } = value ?? {}
  const text = (field: unknown, otherwise: string) => (typeof field === 'string' ? field : otherwise)
  const name = text(aside, '')
  return {
    reason: text(reason, 'not known any more'), since: text(since, ''),
    aside: name.startsWith(asidePrefix) && !name.includes('/') ? name : `${asidePrefix}unknown`,
  }
}

/** From now on, durably, the log of this directory is not to be used: the next start repairs it. Rejects when the disk refuses. */
export async function demandRepair(directory: string, reason: string, nowEpochMs: number): Promise<RepairMarker> {
  const since = new Date(nowEpochMs).toISOString()
  const marker = { reason, since, aside: `${asidePrefix}${since.replaceAll(/[-:]|\.\d+/g, '')}` }
  await replaceFile(directory, markerFile, `${JSON.stringify(marker, undefined, 2)}\n`)
  return marker
}

/** Moves the damaged log aside, or removes what an interrupted repair has begun. */
export async function setAside(directory: string, marker: RepairMarker): Promise<void> {
  const log = join(directory, 'log')
  const aside = join(directory, marker.aside)
  if (existsSync(log)) {
    if (existsSync(aside)) await rm(log, { recursive: true, force: true })
    else await rename(log, aside)
  }
  await syncDirectory(directory)
  const old = (await readdir(directory)).filter((name) => name.startsWith(asidePrefix)).toSorted()
  for (const name of old.slice(0, -keptAside)) await rm(join(directory, name), { recursive: true, force: true })
}

/** Makes the empty log of a node that the cluster has made a learner, and ends the repair. */
export async function beginAnew(
  directory: string, owner: OwnerRecord, start: { readonly index: number; readonly term: number; readonly membership: Membership },
): Promise<void> {
  await rewriteIdentity(directory, { ...loadIdentity(directory), membership: start.membership, demotedAtIndex: start.index })
  const fresh = join(directory, 'log.new')
  await rm(fresh, { recursive: true, force: true })
  await createLog(fresh, owner, { term: start.term, vote: '' }, [])
  await rename(fresh, join(directory, 'log'))
  await syncDirectory(directory)
  await rm(join(directory, markerFile))
  await syncDirectory(directory)
}

/** The members as last remembered; undefined when nothing (readable) is. */
export function rememberedMembers(directory: string): Membership | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(directory, membersFile), 'utf8'))
    return isMembership(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Keeps the members for a time when the log cannot be read. A failure costs nothing now, and is tried again. */
export class MemberMemory {
  readonly #directory: string
  #written: string
  #writing = Promise.resolve()

  constructor(directory: string) {
    this.#directory = directory
    this.#written = JSON.stringify(rememberedMembers(directory))
  }

  remember(membership: Membership): void {
    const text = JSON.stringify(membership)
    if (text === this.#written || membership.voters.length === 0) return
    this.#written = text
    this.#writing = this.#writing.then(() => replaceFile(this.#directory, membersFile, `${text}\n`)).catch(() => {
      // A full disk, mostly, which is named elsewhere: the next change is the next attempt.
      this.#written = ''
    })
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#writing
  }
}
