/** Every example of docs/examples is run by a test of the same name. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'

const root = join(import.meta.dirname, '../..')

for (const file of readdirSync(join(root, 'docs/examples')).filter((name) => /\.(?:yaml|sh)$/.test(name))) {
  const name = file.slice(0, file.lastIndexOf('.'))
  test(`${file} has a test`, (t) => {
    t.true(existsSync(join(root, 'cluster-tests/examples', `${name}.test.ts`)))
  })
}
