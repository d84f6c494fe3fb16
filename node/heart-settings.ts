/** What V8 and the allocator of a heart are told before it starts, so that it stays small. Choices and figures: README.md. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

/** For V8. Its defaults suit large heaps: they let garbage grow to a multiple of what is in use before they collect it. */
export const heartFlags: readonly string[] = [
  '--disable-warning=ExperimentalWarning',
  // MiB of one semi-space: the young generation does not grow to tens of MiB under load.
  '--max-semi-space-size=2',
  // The next full collection (mostly concurrent) is due when the heap has grown by a third, what buffers hold included.
  '--heap-growing-percent=30',
  '--external-memory-accounted-in-global-limit',
]

/**
 * For glibc: few arenas, and blocks of the size of a session batch or a snapshot chunk go back to the kernel when they are
 * freed; by itself it raises the threshold for that at the first large block, up to 32 MiB, and keeps them. The threshold is
 * just above the 64 KiB of a socket's read buffer, which is taken and freed too often for that.
 */
const memory: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '73728',
  MALLOC_TRIM_THRESHOLD_: '1048576',
}

/** What the heart of `directory` runs in; what the operator has set counts. Makes the folder of the compile cache. */
export function heartEnvironment(directory: string): NodeJS.ProcessEnv {
  // In the data directory, which is the node's own: what lies in the cache is run. Without one (a full disk) it only costs
  // memory.
  const cache = join(directory, 'compile-cache')
  try {
    mkdirSync(cache, { mode: 0o700 })
  } catch {
    // It is there already, or cannot be made.
  }
  return { ...memory, NODE_COMPILE_CACHE: cache, ...process.env }
}

/** The environment without what `becomeHeart` put there: the child process is large and has other needs. */
export function environmentOfChild(): NodeJS.ProcessEnv {
  const environment = { ...process.env }
  for (const [name, value] of Object.entries(memory)) if (environment[name] === value) delete environment[name]
  return environment
}
