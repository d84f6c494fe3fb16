/**
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, “Consistent Hashing with Bounded Loads”, 2016): no member
 * gets more than c times its fair share of what is active now; what would be more goes to the next one in the table's order. So a
 * key that everybody asks for does not bring its member down. Pure.
 */

/**
 * The most that a member may have, with the request that is being placed.
 * @param weight of the member
 * @param totalWeight of all eligible members
 * @param total active on all of them, without the new one
 * @param factor c > 1
 */
export function capacity(weight: number, totalWeight: number, total: number, factor: number): number {
  return Math.ceil((factor * (total + 1) * weight) / totalWeight)
}

/** Whether a member with `active` requests takes one more. Once some have, the sum of the capacities is larger than what is active. */
export function hasCapacity(active: number, weight: number, totalWeight: number, total: number, factor: number): boolean {
  return active + 1 <= capacity(weight, totalWeight, total, factor)
}
