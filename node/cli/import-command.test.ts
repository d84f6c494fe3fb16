import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { parseYaml } from '../config/yaml.ts'
import { runCli } from './program.ts'
import type { Terminal } from './terminal.ts'

const haproxy = 'listen db\n  bind 127.0.0.1:5432\n  server a 127.0.0.1:5433 check\n  server-template x 1-3 y:80\n'

async function run(t: ExecutionContext, argv: readonly string[], files: Readonly<Record<string, string>> = {}, input = ''): Promise<{ code: number; out: string; err: string; cwd: string }> {
  const cwd = mkdtempSync(join(tmpdir(), 'haechi-import-'))
  t.teardown(() => rmSync(cwd, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text)
  let out = ''
  let err = ''
  const nobody = (): Promise<never> => Promise.reject(new Error('nobody is there'))
  const terminal: Terminal = {
    out: (text) => void (out += text), err: (text) => void (err += text), env: {}, interactive: false, colour: false, cwd,
    readInput: () => Promise.resolve(input), askPassword: nobody, askText: nobody, askConfirm: nobody,
  }
  return { code: await runCli(['import', ...argv], terminal), out, err, cwd }
}

test('the document goes to standard output, the notes to standard error', async (t) => {
  const { code, out, err } = await run(t, ['a.cfg'], { 'a.cfg': haproxy })
  t.is(code, 0)
  t.true(parseYaml(out).ok)
  t.regex(err, /^a\.cfg:4: not taken over: server-template x 1-3 y:80: members are written one by one\n/m)
  t.regex(err, /^1 not taken over, 0 different here, 0 not needed\.$/m)
})

test('a file is written, and not overwritten without being told', async (t) => {
  const first = await run(t, ['a.cfg', '--output', 'b.yaml'], { 'a.cfg': haproxy })
  t.is(first.code, 0)
  t.is(first.out, '')
  t.true(parseYaml(readFileSync(join(first.cwd, 'b.yaml'), 'utf8')).ok)
  const second = await run(t, ['a.cfg', '--output', 'b.yaml'], { 'a.cfg': haproxy, 'b.yaml': 'mine' })
  t.not(second.code, 0)
  t.is(readFileSync(join(second.cwd, 'b.yaml'), 'utf8'), 'mine')
  const third = await run(t, ['a.cfg', '--output', 'b.yaml', '--force'], { 'a.cfg': haproxy, 'b.yaml': 'mine' })
  t.is(third.code, 0)
  t.not(readFileSync(join(third.cwd, 'b.yaml'), 'utf8'), 'mine')
})

test('JSON has all of it; standard input is read', async (t) => {
  const { code, out, err } = await run(t, ['-', '--json'], {}, 'server { listen 443 ssl; ssl_certificate /x/site.pem; location / { proxy_pass http://127.0.0.1:81; } }')
  t.is(code, 0, err)
  t.like(JSON.parse(out), { format: 'nginx', valid: true, problems: [], certificates: [{ name: 'site', file: '/x/site.pem', authority: false }], document: { haechi: 1 } })
})

test('what is not valid ends with 1 and the problems', async (t) => {
  const { code, out, err } = await run(t, ['a.cfg'], { 'a.cfg': `${haproxy}${haproxy.replace('db', 'other')}` })
  t.is(code, 1)
  t.is(out, '')
  t.regex(err, /port 5432 of 127\.0\.0\.1 is taken already, by listener db/)
})

test('files that are none, are broken or are too large', async (t) => {
  t.regex((await run(t, ['none.cfg'])).err, /none\.cfg cannot be read/)
  t.regex((await run(t, ['a'], { a: 'hello' })).err, /neither a haproxy\.cfg nor an nginx\.conf/)
  t.regex((await run(t, ['a'], { a: 'http {' })).err, /the block http has no end|has no end/)
  t.regex((await run(t, ['a'], { a: '#'.repeat(4 * 1024 * 1024 + 1) })).err, /more than 4194304 bytes/)
  t.is((await run(t, ['a', '--format', 'apache'], { a: haproxy })).code, 2)
})
