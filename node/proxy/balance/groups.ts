/** Which members are in force: those of the first priority groups that together have enough; backups when there is nobody else. Pure. */

interface GroupMember {
  /** Lower first. */
  readonly priority: number
  readonly backup: boolean
}

/**
 * Groups are taken in the order of their numbers until at least `minimum` of their members are eligible; backups only while no
 * other member is.
 * @param eligible per member
 * @returns per member, 1: in force
 */
export function inForce(members: readonly GroupMember[], eligible: ArrayLike<boolean>, minimum: number): Uint8Array {
  const result = new Uint8Array(members.length)
  let count = 0
  let group = -1
  while (count < minimum) {
    let next = Infinity
    members.forEach(({ priority, backup }, member) => {
      if (eligible[member] === true && !backup && priority > group && priority < next) next = priority
    })
    if (next === Infinity) break
    group = next
    members.forEach(({ priority, backup }, member) => {
      if (eligible[member] !== true || backup || priority !== group) return
      result[member] = 1
      count++
    })
  }
  if (count > 0) return result
  members.forEach(({ backup }, member) => {
    if (backup && eligible[member] === true) result[member] = 1
  })
  return result
}
