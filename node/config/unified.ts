/**
 * A unified diff of two texts, by lines. Greedy algorithm of Myers, "An O(ND) Difference Algorithm and Its Variations"
 * (1986); its effort is bounded, and past the bound the differing middle is shown as removed and added whole.
 */

/** Insertions plus deletions up to which the shortest script is searched: time and memory grow with its square. */
const maxEdits = 1000

type Line = { readonly sign: ' ' | '-' | '+'; readonly text: string }

/**
 * Hunks in the format of `diff -u`, or the empty string when the texts are equal. `fromName` and `toName` stand in the
 * header; `context` is the number of unchanged lines around a change.
 */
export function unifiedText(from: string, to: string, fromName: string, toName: string, context = 3): string {
  if (from === to) return ''
  const lines = script(splitLines(from), splitLines(to))
  const out = [`--- ${fromName}`, `+++ ${toName}`]
  let fromLine = 1
  let toLine = 1
  let index = 0
  while (index < lines.length) {
    if (lines[index]!.sign === ' ') {
      index++
      fromLine++
      toLine++
      continue
    }
    const start = Math.max(0, index - context)
    const lead = index - start
    let end = index
    let quiet = 0
    for (; end < lines.length && quiet <= 2 * context; end++) quiet = lines[end]!.sign === ' ' ? quiet + 1 : 0
    end -= Math.max(0, quiet - context)
    const hunk = lines.slice(start, end)
    const removed = hunk.filter((line) => line.sign !== '+').length
    const added = hunk.filter((line) => line.sign !== '-').length
    out.push(`@@ -${range(fromLine - lead, removed)} +${range(toLine - lead, added)} @@`)
    for (const line of hunk) out.push(line.sign + line.text)
    fromLine += removed - lead
    toLine += added - lead
    index = end
  }
  return `${out.join('\n')}\n`
}

/** The start of an empty range is the line before it. */
function range(start: number, count: number): string {
  if (count === 0) return `${start - 1},0`
  return count === 1 ? String(start) : `${start},${count}`
}

function splitLines(text: string): string[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}

function script(from: readonly string[], to: readonly string[]): Line[] {
  let start = 0
  while (start < from.length && start < to.length && from[start] === to[start]) start++
  let fromEnd = from.length
  let toEnd = to.length
  while (fromEnd > start && toEnd > start && from[fromEnd - 1] === to[toEnd - 1]) {
    fromEnd--
    toEnd--
  }
  const keep = (text: string): Line => ({ sign: ' ', text })
  return [
    ...from.slice(0, start).map(keep),
    ...middle(from.slice(start, fromEnd), to.slice(start, toEnd)),
    ...from.slice(fromEnd).map(keep),
  ]
}

/** Myers' greedy search forward, keeping the furthest-reaching ends of each round for the way back. */
function middle(from: readonly string[], to: readonly string[]): Line[] {
  const numbers = new Map<string, number>()
  const number = (text: string): number => {
    const known = numbers.get(text)
    if (known !== undefined) return known
    numbers.set(text, numbers.size)
    return numbers.size - 1
  }
  const a = Int32Array.from(from, number)
  const b = Int32Array.from(to, number)
  const bound = Math.min(maxEdits, a.length + b.length)
  const offset = bound + 1
  let ends = new Int32Array(2 * bound + 3)
  const rounds: Int32Array[] = []
  for (let d = 0; d <= bound; d++) {
    rounds.push(ends.slice(offset - d, offset + d + 1))
    const next = ends.slice()
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && ends[offset + k - 1]! < ends[offset + k + 1]!)
      let x = down ? ends[offset + k + 1]! : ends[offset + k - 1]! + 1
      let y = x - k
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x++
        y++
      }
      next[offset + k] = x
      if (x >= a.length && y >= b.length) return walkBack(from, to, rounds, d)
    }
    ends = next
  }
  return [...from.map((text): Line => ({ sign: '-', text })), ...to.map((text): Line => ({ sign: '+', text }))]
}

/** `rounds[d]` holds the ends before round d, diagonals −d to d. */
function walkBack(from: readonly string[], to: readonly string[], rounds: readonly Int32Array[], edits: number): Line[] {
  const lines: Line[] = []
  let x = from.length
  let y = to.length
  for (let d = edits; d >= 0; d--) {
    const before = (k: number): number => rounds[d]![k + d] ?? 0
    const k = x - y
    const down = d > 0 && (k === -d || (k !== d && before(k - 1) < before(k + 1)))
    const previousK = down ? k + 1 : k - 1
    const previousX = d === 0 ? 0 : before(previousK)
    const previousY = d === 0 ? 0 : previousX - previousK
    while (x > previousX && y > previousY) {
      x--
      y--
      lines.push({ sign: ' ', text: from[x]! })
    }
    if (d === 0) break
    if (down) lines.push({ sign: '+', text: to[--y]! })
    else lines.push({ sign: '-', text: from[--x]! })
  }
  return lines.toReversed()
}
