/**
 * Pure files take time and randomness as arguments: no `node:` imports, clocks, timers, randomness, environment or
 * mutable module state. That is what makes simulation possible, so it is checked on the text of each of them.
 */
import test from 'ava'
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { danglingOptionals } from './trim-lockfile.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const pure = [
  'consensus/core/*.ts',
  'consensus/scenarios/harness*.ts',
  'vip/machine.ts',
  'node/config/{schema,duration,validate,canonical,diff,unified}.ts',
  'node/state/*.ts',
  'node/health/{transitions,eligible,ejection,slow-start,circuit,answer,payload,status-line}.ts',
  'node/config/health-{schema,rules}.ts',
  'node/config/tls-{schema,rules}.ts',
  'node/config/layer4-{schema,rules}.ts',
  'node/proxy/tcp/proxy-protocol.ts',
  'node/config/certificate-names.ts',
  'node/certificates/{expiry,ticket-keys}.ts',
  'node/proxy/route/*.ts',
  'node/proxy/balance/*.ts',
  'node/observe/{rates,overview,counters,histogram,latency,traffic-metrics}.ts',
  'node/proxy/wait-queue.ts',
  'node/proxy/filters/{address-set,token-bucket,plan}.ts',
]

const forbidden: readonly [RegExp, string][] = [
  [/from 'node:/, 'imports from node:'],
  [/\bimport\('node:/, 'imports from node:'],
  [/\bDate\.now\b|\bnew Date\(\)|\bperformance\b/, 'reads a clock'],
  [/\bMath\.random\b|\brandomUUID\b|\bcrypto\.getRandomValues\b/, 'makes randomness'],
  [/\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, 'uses timers'],
  [/\bprocess\.\w/, 'reads the environment'],
  [/^(export )?let /m, 'has mutable module state'],
]

/** Comments may speak of anything. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
}

const files = globSync(pure, { cwd: root }).filter((file) => !file.endsWith('.test.ts'))

test('the pure files are found', (t) => {
  for (const pattern of pure) t.true(globSync(pattern, { cwd: root }).length > 0, `${pattern} matches nothing`)
})

for (const file of files) {
  test(`${file} is pure`, (t) => {
    const text = code(readFileSync(root + file, 'utf8'))
    const found = forbidden.filter(([pattern]) => pattern.test(text)).map(([, what]) => what)
    t.deepEqual(found, [])
  })
}

test('there are no folders for things without a home', (t) => {
  t.deepEqual(globSync('{consensus,vip,node,webui,cluster-tests}/**/{utils,common,helpers}/', { cwd: root }), [])
})

test('every source file says in its first lines what it is for', (t) => {
  const silent = globSync('{consensus,vip,node,cluster-tests}/**/*.{ts,cjs}', { cwd: root }).filter((file) => {
    if (file.endsWith('.test.ts')) return false
    const start = readFileSync(root + file, 'utf8').replace(/^#!.*\n/, '')
    return !start.startsWith('/*') && !start.startsWith('//')
  })
  t.deepEqual(silent, [])
})

test('the lockfile names no download address and no machine path', (t) => {
  const text = readFileSync(`${root}package-lock.json`, 'utf8')
  t.false(/"resolved":\s*"/.test(text))
  t.false(/https?:\/\/registry/.test(text))
})

test('the lockfile names no optional package without an entry (else: node cluster-tests/structure/trim-lockfile.ts)', (t) => {
  const lock = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')) as { packages: Parameters<typeof danglingOptionals>[0] }
  t.deepEqual(danglingOptionals(lock.packages), [])
})
