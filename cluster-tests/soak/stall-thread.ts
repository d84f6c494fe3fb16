/**
 * Stops single threads of a process for a time, with ptrace(2), and nothing else: signals can only stop whole processes.
 * Used to stall the main thread or the workers of a data plane one by one, without a hook in the product. Linux, root.
 *
 *   node stall-thread.ts MILLISECONDS TID…
 *
 * Standard output: the milliseconds for which all of them stood still. A thread is let go even when this process dies:
 * the kernel detaches a tracer that ends. (ptrace has to be used by one thread, which the main thread of this program is.)
 */
import koffi from 'koffi'

const PTRACE_DETACH = 17
const PTRACE_SEIZE = 0x4206
const PTRACE_INTERRUPT = 0x4207
const __WALL = 0x40000000

const libc = koffi.load('libc.so.6')
const ptrace = libc.func('long ptrace(long request, int pid, size_t addr, size_t data)') as (...args: number[]) => number
const waitpid = libc.func('int waitpid(int pid, _Out_ int *status, int options)') as (pid: number, status: number[], options: number) => number

const [milliseconds, ...tids] = process.argv.slice(2).map(Number)
if (milliseconds === undefined || tids.length === 0 || tids.some((tid) => !Number.isInteger(tid) || tid < 2)) {
  process.stderr.write('usage: node stall-thread.ts MILLISECONDS TID…\n')
  process.exit(2)
}

function check(what: string, result: number): void {
  if (result < 0) {
    process.stderr.write(`${what}: errno ${koffi.errno()}\n`)
    process.exit(1)
  }
}

for (const tid of tids) check(`seize ${tid}`, ptrace(PTRACE_SEIZE, tid, 0, 0))
for (const tid of tids) check(`interrupt ${tid}`, ptrace(PTRACE_INTERRUPT, tid, 0, 0))
for (const tid of tids) check(`wait for ${tid}`, waitpid(tid, [0], __WALL))
const startMs = performance.now()
await new Promise((resolve) => setTimeout(resolve, milliseconds))
const stoodMs = performance.now() - startMs
for (const tid of tids) check(`let go of ${tid}`, ptrace(PTRACE_DETACH, tid, 0, 0))
process.stdout.write(`${Math.round(stoodMs)}\n`)
