import test from 'ava'
import { readDocument, YamlText } from './document.ts'

const yaml = (pools: number): string =>
  `haechi: 1\npools:\n${Array.from({ length: pools }, (_, i) => `  - name: pool-${i}\n    members:\n      - { name: a, address: 192.0.2.1, port: 80 }\n`).join('')}`

test.serial('large YAML is read while the main thread goes on turning', async (t) => {
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  // Takes long enough to hold up everything, if it were read here.
  const result = await readDocument(new YamlText(`haechi: 1\npools: [${'[], '.repeat(50_000)}]\n`))
  clearInterval(timer)
  t.false(result.ok)
  t.true(turns > 5, `${turns} turns`)
})

test.serial('small and large YAML give the same', async (t) => {
  for (const pools of [2, 900]) {
    const result = await readDocument(new YamlText(yaml(pools)))
    t.true(result.ok, JSON.stringify(result).slice(0, 500))
    if (result.ok) t.is(result.document.pools.length, pools)
  }
})

test.serial('problems of a large document name line and column', async (t) => {
  const result = await readDocument(new YamlText(`${yaml(900)}listeners: 5\n`))
  t.false(result.ok)
  if (!result.ok) t.is(result.problems[0]?.line, 2 + 900 * 3 + 1)
})

test.serial('more large documents at once than may wait are refused, and later ones are read again', async (t) => {
  const text = new YamlText(yaml(700))
  const results = await Promise.allSettled(Array.from({ length: 12 }, () => readDocument(text)))
  t.is(results.filter((result) => result.status === 'fulfilled' && result.value.ok).length, 8)
  const refused = results.find((result) => result.status === 'rejected')
  t.is((refused?.reason as { statusCode?: number } | undefined)?.statusCode, 429)
  t.true((await readDocument(text)).ok)
})
