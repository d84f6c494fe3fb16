/**
 * The level of commands: which ones may be in the log. Nodes of neighbouring versions work together because every node
 * writes only commands up to the level that the cluster has agreed on, and each can read those. The level is raised when all
 * members understand the next one, and never comes down. Pure.
 *
 * How a command of level n comes into being: raise `commandLevel`, give the new kind or field that level in what proposes it
 * (`Command.level`), and let `snapshot.ts` write what is new only when the state's level says so. What a
 * configuration document may hold, its defaults and what is valid are a part of the level, too: `apply` validates, so a release that
 * changes them must go by the old rules until the state's level says otherwise. The rules here, the `level`
 * field of commands and of snapshots, and `raise-level` itself are of level 1 and never change.
 */
import type { NodeId } from '../../consensus/core/types.ts'

/** Highest level that this build understands. 2: certificates and ticket keys (`certificates.ts`). */
export const commandLevel = 2

/** What a member has announced (in the hello of its streams). */
export interface Support {
  readonly id: NodeId
  readonly commandLevel: number
  /** Of the product, for people. */
  readonly version: string
}

/**
 * This node's version is too old for the cluster's log. Nothing of the entry or snapshot was taken: to pass it over would make
 * this node's state differ from the others' for good.
 */
export class LevelError extends Error {
  readonly level: number
  readonly supported: number

  /** `what`: where the level was met, such as `entry 17`. */
  constructor(what: string, level: number, supported: number) {
    super(`upgrade this node: ${what} needs command level ${level}, this version understands levels up to ${supported}`)
    this.level = level
    this.supported = supported
  }
}

/** Of a `Membership`, what matters here. */
interface Members {
  readonly voters: readonly { readonly id: NodeId }[]
  readonly learners: readonly { readonly id: NodeId }[]
}

/** Why the level cannot become `to` given what is known of the members, one line for each who stands in the way. */
export function lacking(membership: Members, support: readonly Support[], to: number): string[] {
  const announced = new Map(support.map((one) => [one.id, one]))
  const members = [...membership.voters, ...membership.learners]
  if (members.length === 0) return ['no member is known yet']
  return members.flatMap(({ id }) => {
    const one = announced.get(id)
    if (one === undefined) return [`${id} has not announced what it understands`]
    if (one.commandLevel >= to) return []
    return [`${id} understands levels up to ${one.commandLevel} (${versionText(one.version)})`]
  })
}

/** For the audit log: who said what. */
export function supportText(support: readonly Support[]): string {
  return support.map(({ id, commandLevel: level, version }) => `${id}: level ${level} (${versionText(version)})`).join('\n')
}

function versionText(version: string): string {
  return version === '' ? 'version not told' : `version ${version}`
}
