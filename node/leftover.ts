/**
 * A child process that its heart has left behind. It ends by itself when its heart is gone, unless it is frozen: then it still
 * sits on the ports, and with SO_REUSEPORT the kernel gives it its share of the connections.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))

/** Ends (SIGKILL) the children of earlier hearts of this data directory; their process ids. Only those of the same user can be. */
export function endLeftoverChildren(directory: string): number[] {
  const ended: number[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isSafeInteger(pid) || pid === process.pid) continue
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      const at = words.indexOf('--dir')
      if (at < 0 || words[at + 1] === undefined || !words.includes(main)) continue
      if (resolve(readlinkSync(`/proc/${pid}/cwd`), words[at + 1]!) !== resolve(directory)) continue
      process.kill(pid, 'SIGKILL')
      ended.push(pid)
    } catch {
      // It has ended, or is somebody else's.
    }
  }
  return ended
}
