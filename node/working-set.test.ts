/** What a trim gives back, and that the process goes on. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { trimWorkingSet } from './working-set.ts'

/** Resident bytes that are copies of files. */
function fileBytes(): number {
  return Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024
}

test('code that is not used is given back; below the limit nothing is done', (t) => {
  t.false(trimWorkingSet(1e12))
  const before = fileBytes()
  t.true(trimWorkingSet(0))
  const after = fileBytes()
  t.true(after < before - 4 * 1024 * 1024, `${before} before, ${after} after`)
  // And everything still works: this code was among it.
  t.deepEqual(JSON.parse(JSON.stringify({ a: [1, 'ä'.normalize('NFD')] })), { a: [1, 'ä'.normalize('NFD')] })
})
