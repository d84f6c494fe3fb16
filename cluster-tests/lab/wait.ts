/** Waiting for a condition of a lab with a limit, instead of sleeping for a fixed time. */
import { setTimeout as delay } from 'node:timers/promises'

/** Thrown by a `look`: waiting longer cannot mend it. */
export class Hopeless extends Error {}

export interface WaitOptions {
  readonly timeoutMs: number
  /** Pause between two looks, milliseconds. */
  readonly everyMs?: number
}

/**
 * Calls `look` until it returns something else than undefined or a string; a string says what is still missing and is
 * part of the error when the time is over. A `look` that throws counts as missing too: what it asks is often not up yet.
 *
 * @throws Error naming `what` and what was missing last.
 */
export async function waitFor<T extends object | number | boolean>(
  what: string,
  look: () => Promise<T | string | undefined> | T | string | undefined,
  options: WaitOptions,
): Promise<T> {
  const started = performance.now()
  let missing = ''
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined && typeof found !== 'string') return found
      missing = found ?? ''
    } catch (error) {
      if (error instanceof Hopeless) throw error
      missing = error instanceof Error ? error.message : String(error)
    }
    if (performance.now() - started > options.timeoutMs) {
      throw new Error(`${what}: not after ${options.timeoutMs} ms${missing === '' ? '' : ` (${missing})`}`)
    }
    await delay(options.everyMs ?? 50)
  }
}
