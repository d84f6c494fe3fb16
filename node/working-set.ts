/**
 * Gives back the pages that the heart has touched but does not use: code that only its start needed, and tables of the log
 * that LevelDB keeps mapped after it has read them. Both are copies of files that the kernel has in its cache anyway; what is
 * needed after all is mapped again within microseconds. Nothing else is touched: no page that holds data of the process.
 */
import { readFileSync } from 'node:fs'
import koffi from 'koffi'

/** From <asm-generic/mman-common.h>. */
const madvDontneed = 4
/** Linux ≥ 5.4. Unlike the other one it can do no harm to whatever lies at the address by then. */
const madvPageout = 21

const libc = koffi.load(null)
const madvise = libc.func('int madvise(uintptr_t address, size_t length, int advice)')

/** Resident memory above which that is worth while, and by how much it must have grown since the last time, bytes. */
const aboveBytes = 80 * 1024 * 1024
const grownBytes = 6 * 1024 * 1024
const everyMs = 5000

/** Looks every few seconds whether there is something to give back. */
export function keepWorkingSetSmall(): void {
  let leastBytes = 0
  setInterval(() => {
    const bytes = process.memoryUsage.rss()
    // After a trim what is in use comes back: that is the least there can be, for now.
    leastBytes = Math.min(leastBytes, bytes)
    if (bytes <= Math.max(aboveBytes, leastBytes + grownBytes)) return
    trimWorkingSet(0)
    leastBytes = Infinity
    setTimeout(() => {
      leastBytes = process.memoryUsage.rss()
    }, everyMs / 2).unref()
  }, everyMs).unref()
}

/** Trims if more than `aboveBytes` are resident. Returns whether it did. */
export function trimWorkingSet(aboveBytes: number): boolean {
  if (process.memoryUsage.rss() <= aboveBytes) return false
  const executable = process.execPath
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ +(.*)$/.exec(line)
    if (match === null) continue
    const [, from, to, permissions, path] = match
    const start = Number.parseInt(from!, 16)
    const length = Number.parseInt(to!, 16) - start
    // Code is never written to and stays mapped where it is as long as the process lives.
    if (permissions === 'r-xp' && path === executable) madvise(start, length, madvDontneed)
    // A table may be unmapped at any moment by LevelDB's own thread.
    else if (permissions === 'r--s' && path!.endsWith('.ldb')) madvise(start, length, madvPageout)
  }
  return true
}
