/** The one clock of drills: CLOCK_MONOTONIC, the same for all processes of a machine (network namespaces share it). */

/** Milliseconds, with fractions. `performance.now()` will not do: every process counts it from its own start. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
