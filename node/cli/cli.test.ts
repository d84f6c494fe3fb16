import { mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import anyTest, { type TestFn } from 'ava'
import { createApi, type Api } from '../api/server.ts'
import { passwords, storedUser, TestNode } from '../api/test-node.ts'
import { caFingerprint, initCluster } from '../../consensus/identity.ts'
import { commandLevel } from '../state/level.ts'
import { request } from './client.ts'
import { wantsColour } from './process-terminal.ts'
import { runCli } from './program.ts'
import type { Terminal } from './terminal.ts'

interface World {
  directory: string
  node: TestNode
  api: Api
  /** Runs a command line against the node's socket. */
  haechi(line: string | readonly string[], more?: Partial<Terminal>): Promise<Result>
  file(name: string, text: string): string
  stop(): Promise<void>
}
interface Result {
  readonly code: number
  readonly out: string
  readonly err: string
}
const each = anyTest as TestFn<World>
const test = each.serial

each.beforeEach(async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-cli-'))
  const node = await TestNode.create(directory)
  const api = await createApi(
    node,
    { host: '127.0.0.1', port: 0, socketPath: join(directory, 'api.sock'), consoleDirectory: directory },
    () => undefined,
  )
  const haechi = async (line: string | readonly string[], more: Partial<Terminal> = {}): Promise<Result> => {
    let out = ''
    let err = ''
    const unasked = async () => {
      throw new Error('nobody should be asked')
    }
    const terminal: Terminal = {
      out: (text) => (out += text),
      err: (text) => (err += text),
      env: { HOME: directory, HAECHI_DIR: directory },
      interactive: false,
      colour: false,
      cwd: directory,
      readInput: unasked,
      askPassword: unasked,
      askText: unasked,
      askConfirm: unasked,
      ...more,
    }
    const code = await runCli(typeof line === 'string' ? line.split(' ') : line, terminal)
    return { code, out, err }
  }
  const file = (name: string, text: string) => {
    const path = join(directory, name)
    writeFileSync(path, text)
    return path
  }
  const stop = async () => {
    await api.close()
    rmSync(directory, { recursive: true, force: true })
  }
  t.context = { directory, node, api, haechi, file, stop }
})
each.afterEach.always((t) => t.context.stop())

const good = `haechi: 1
vips:
  - {name: main, address: 192.0.2.100}
pools:
  - name: web
    members:
      - {name: a, address: 192.0.2.10, port: 8080}
      - {name: b, address: 192.0.2.11, port: 8080}
listeners:
  - {name: front, vip: main, port: 80, pool: web}
`

test('config check: names file, line, column and field; works without a cluster', async (t) => {
  const { haechi, file } = t.context
  file('good.yaml', good)
  file('bad.yaml', good.replace('port: 8080}\n      - {name: b', 'port: 99999}\n      - {name: b'))
  t.like(await haechi('config check good.yaml', { env: {} }), { code: 0, out: 'good.yaml: valid\n' })
  const bad = await haechi('config check bad.yaml', { env: {} })
  t.is(bad.code, 1)
  t.regex(bad.err, /bad\.yaml:7:\d+: \/pools\/0\/members\/0\/port: /)
  const json = await haechi('config check bad.yaml --json', { env: {} })
  t.is(json.code, 1)
  t.like(JSON.parse(json.out), { valid: false, problems: [{ field: '/pools/0/members/0/port', line: 7 }] })
  t.regex((await haechi('config check nosuch.yaml')).err, /nosuch\.yaml cannot be read/)
  t.like(await haechi('config check -', { readInput: async () => JSON.stringify({ haechi: 1 }) }), { code: 0 })
})

test('config apply: shows the plan, asks or wants --yes, applies, and is done when there is nothing to change', async (t) => {
  const { haechi, file, node } = t.context
  file('c.yaml', good)
  const dry = await haechi('config apply -f c.yaml --dry-run')
  t.is(dry.code, 0, dry.err)
  t.regex(dry.out, /^\+.*name: web/m)
  t.regex(dry.out, /^ {2}\+ pool web/m)
  t.is(node.state().revision, 1)
  const unasked = await haechi('config apply -f c.yaml')
  t.is(unasked.code, 2)
  t.regex(unasked.err, /--yes/)
  const refused = await haechi('config apply -f c.yaml', { interactive: true, askConfirm: async () => false })
  t.is(refused.code, 1)
  t.is(node.state().revision, 1)
  const applied = await haechi(['config', 'apply', '-f', 'c.yaml', '-m', '점검 & 50%'], {
    interactive: true,
    askConfirm: async () => true,
  })
  t.is(applied.code, 0, applied.err)
  t.regex(applied.out, /Revision 2 is committed/)
  t.is(node.state().current?.comment, '점검 & 50%')
  t.like(await haechi('config apply -f c.yaml'), { code: 0, out: 'Nothing to change: revision 2 is the same.\n' })
})

test('config apply: a revision that somebody else has made in between is a conflict', async (t) => {
  const { haechi, file, node } = t.context
  file('c.yaml', good)
  t.is((await haechi('config apply -f c.yaml --yes --expect-revision 7')).code, 3)
  const between = async () => {
    await node.submit({
      kind: 'config-apply',
      actor: { name: 'other', from: '', node: 'n2' },
      expectRevision: 1,
      comment: '',
      document: {
        ...node.state().document,
        vips: [{ name: 'x', address: '192.0.2.1', mode: 'active-passive', interface: '' }],
      },
    })
    return true
  }
  const conflict = await haechi('config apply -f c.yaml', { interactive: true, askConfirm: between })
  t.is(conflict.code, 3, conflict.out)
  t.regex(conflict.err, /somebody else/)
  t.regex(conflict.err, /haechi config history/)
  t.is(node.state().current?.author, 'other')
})

test('config apply: an invalid file changes nothing', async (t) => {
  t.context.file('bad.yaml', `${good}nonsense: 1\n`)
  const result = await t.context.haechi('config apply -f bad.yaml --yes')
  t.is(result.code, 1)
  t.regex(result.err, /bad\.yaml:11:1: \/nonsense: .*\n.*Nothing was changed/)
  t.is(t.context.node.state().revision, 1)
})

test('config get, diff, history, rollback', async (t) => {
  const { haechi, file, node } = t.context
  file('c.yaml', good)
  await haechi('config apply -f c.yaml --yes')
  file('d.yaml', good.replace('8080', '9090'))
  await haechi('config apply -f d.yaml --yes -m faster')
  const got = await haechi('config get')
  t.regex(got.out, /^# revision 3\nhaechi: 1/)
  file('again.yaml', got.out)
  t.regex((await haechi('config apply -f again.yaml --yes')).out, /Nothing to change/, 'what is printed can be applied')
  file('full.yaml', (await haechi('config get --full')).out)
  t.regex((await haechi('config apply -f full.yaml --yes')).out, /Nothing to change/)
  t.is(JSON.parse((await haechi('config get -r 2 -o json')).out).pools[0].members[0].port, 8080)
  t.is(JSON.parse((await haechi('config get --json')).out).revision, 3)
  t.is((await haechi('config get -r 9')).code, 1)
  t.is((await haechi('config get -r x')).code, 2)
  t.regex((await haechi('config diff')).out, /9090/)
  t.like(await haechi('config diff --exit-code'), { code: 4 })
  t.like(JSON.parse((await haechi('config diff 1 2 --json')).out), { from: 1, to: 2 })
  t.like(await haechi('config diff -f d.yaml --exit-code'), { code: 0, out: 'No difference.\n' })
  t.is((await haechi('config diff -f c.yaml --exit-code')).code, 4)
  const history = await haechi('config history')
  t.regex(history.out, /REVISION +WHEN +AUTHOR/)
  t.regex(history.out, /3 +\d{4}-\d\d-\d\d .* local .*faster/)
  t.like(JSON.parse((await haechi('config history -n 1 --json')).out), [
    { revision: 3, author: 'local', comment: 'faster' },
  ])
  t.is((await haechi('config rollback 2')).code, 2)
  t.regex((await haechi('config rollback 2 --yes')).out, /Revision 4 is committed/)
  t.is(node.state().current?.rolledBackTo, 2)
  t.regex((await haechi('config history')).out, /back to 2/)
})

test('status, node list, vip, audit', async (t) => {
  const { haechi, file, node } = t.context
  file('c.yaml', good)
  await haechi('config apply -f c.yaml --yes')
  const status = await haechi('status')
  t.is(status.code, 0, status.err)
  t.regex(status.out, /revision 2 {2}leader n1 {2}term 3 {2}quorum/)
  t.regex(status.out, /^n1 \* +node, leader +192\.0\.2\.1:7400 +192\.0\.2\.1:8443 +ok +2 +60 min +4242$/m)
  t.regex(status.out, /^main +192\.0\.2\.100 +active-passive +n1 /m)
  t.regex(status.out, /^front +192\.0\.2\.100:80 +http +2 /m)
  t.regex(status.out, /^web +a +192\.0\.2\.10:8080 +up /m)
  t.false(status.out.includes('\u001b'), 'no colours when there is no terminal')
  t.true((await haechi('status', { colour: true })).out.includes('\u001b[32mup'))
  t.like(JSON.parse((await haechi('status --json')).out), { self: 'n1', revision: 2 })
  t.regex((await haechi('node list')).out, /^w +witness /m)
  t.regex((await haechi('vip')).out, /^main +192\.0\.2\.100/m)
  t.like(JSON.parse((await haechi('vip list --json')).out), [{ name: 'main', holder: 'n1' }])
  t.regex((await haechi('audit -n 1')).out, /local .*config\.apply/)
  node.refusal = { code: 'no-leader', retrySafe: true }
  t.regex((await haechi('status')).out, /NO QUORUM/)
})

test('hand-over, node token, node remove', async (t) => {
  const { haechi, node } = t.context
  t.regex((await haechi('vip hand-over --to n2')).out, /^Handed over in \d+ ms\. n2 leads/)
  t.deepEqual(node.handOvers, ['n2'])
  node.handOverDetail = 'n2 is not fit to serve'
  const refused = await haechi('vip hand-over --to n2')
  t.is(refused.code, 1)
  t.regex(refused.err, /n2 is not fit to serve/)
  const token = await haechi('node token --role witness --ttl 5')
  t.regex(token.out, /^haechi1\.[\w-]+\n$/, 'the token alone on standard output')
  t.regex(token.err, /haechi node join TOKEN/)
  t.is((await haechi('node token --role king')).code, 2)
  t.is((await haechi('node remove n2')).code, 2)
  t.is((await haechi('node remove n2 --yes')).code, 0)
  t.deepEqual(node.removed, ['n2'])
})

test('users', async (t) => {
  const { haechi, node } = t.context
  const added = await haechi('user add kim --role operator')
  t.regex(added.out, /First password: [a-z2-9]{5}(-[a-z2-9]{5}){3}/)
  t.like(node.state().user('kim'), { role: 'operator', mustChangePassword: true })
  t.is((await haechi('user add kim')).code, 1)
  t.regex((await haechi('user list')).out, /^kim +operator +has to change the password$/m)
  t.is((await haechi('user role kim viewer')).code, 0)
  t.like(node.state().user('kim'), { role: 'viewer' })
  t.is((await haechi('user role kim king')).code, 2)
  t.is((await haechi('user role nobody viewer')).code, 1)
  const before = node.state().user('kim')?.passwordHash
  t.is((await haechi('user passwd kim --password-stdin', { readInput: async () => 'another long one\n' })).code, 0)
  t.not(node.state().user('kim')?.passwordHash, before)
  t.is((await haechi('user passwd kim --password-stdin', { readInput: async () => 'short\n' })).code, 1)
  t.is((await haechi('user remove kim')).code, 0)
  t.is(node.state().user('kim'), undefined)
  t.is((await haechi('user remove anna')).code, 1)
})

test('login, a command with it, a role that does not suffice, logout', async (t) => {
  const { haechi, directory, api } = t.context
  const env = { HOME: directory }
  const credentials = join(directory, '.config', 'haechi', 'credentials.json')
  t.is((await haechi(`login --server ${api.url} --user vera`, { env })).code, 2)
  t.is(
    (
      await haechi(`login --server ${api.url} --user vera --password-stdin`, {
        env,
        readInput: async () => 'wrong wrong',
      })
    ).code,
    1,
  )
  const done = await haechi(`login --server ${api.url} --user vera --password-stdin`, {
    env,
    readInput: async () => `${passwords.viewer}\n`,
  })
  t.is(done.code, 0, done.err)
  t.is(statSync(credentials).mode & 0o777, 0o600)
  t.false(readFileSync(credentials, 'utf8').includes(passwords.viewer))
  t.is((await haechi('status', { env })).code, 0)
  const denied = await haechi('user list', { env })
  t.is(denied.code, 1)
  t.regex(denied.err, /administrator/)
  const { token } = JSON.parse(readFileSync(credentials, 'utf8')).servers[api.url]
  t.is((await haechi('logout', { env })).code, 0)
  t.false(readFileSync(credentials, 'utf8').includes(token))
  const ended = await haechi(`status --server ${api.url}`, { env: { ...env, HAECHI_TOKEN: token } })
  t.is(ended.code, 1)
  t.regex(ended.err, /haechi login --server/)
})

test('login with a first password asks for a new one', async (t) => {
  const { haechi, directory, api, node } = t.context
  const env = { HOME: directory }
  const user = await storedUser('admin', 'administrator', 'first password 1', { mustChangePassword: true })
  await node.submit({ kind: 'user-put', actor: { name: 'system', from: '', node: 'n1' }, user })
  const answers = ['first password 1', 'my own password 2', 'my own password 2']
  const result = await haechi(`login --server ${api.url} --user admin`, {
    env,
    interactive: true,
    askPassword: async () => answers.shift(),
  })
  t.is(result.code, 0, result.err)
  t.false(node.state().user('admin')!.mustChangePassword)
  t.is((await haechi('user list', { env })).code, 0, 'the stored session is the new one')
  const stdin = async () => 'my own password 2\nmy own password 3\n'
  t.is((await haechi('user passwd --password-stdin', { env, readInput: stdin })).code, 0)
  t.is((await haechi('user list', { env })).code, 0)
})

test('login over TLS pins the CA by its fingerprint, and refuses another', async (t) => {
  const { haechi, directory, node } = t.context
  const home = join(directory, 'n1')
  const address = '127.0.0.1:7411'
  await initCluster({ directory: home, id: 'n1', role: 'node', address, apiAddress: address, firstEntries: [] })
  const read = (name: string) => readFileSync(join(home, name), 'utf8')
  const tls = { certificate: read('node.pem') + read('ca.pem'), key: read('node.key') }
  const options = { host: '127.0.0.1', port: 0, tls, socketPath: join(home, 'api.sock'), consoleDirectory: home }
  const api = await createApi(node, options, () => undefined)
  t.teardown(() => api.close())
  t.regex(api.url, /^https:/)
  const env = { HOME: directory }
  const login = (more: string) =>
    haechi(`login --server ${api.url} --user vera --password-stdin${more}`, {
      env,
      readInput: async () => passwords.viewer,
    })
  const unknown = await login('')
  t.is(unknown.code, 1)
  t.true(unknown.err.includes(`--ca-fingerprint ${caFingerprint(home)}`), unknown.err)
  t.is((await login(` --ca-fingerprint ${'0'.repeat(64)}`)).code, 1)
  const signedIn = await login(` --ca-fingerprint ${caFingerprint(home)}`)
  t.is(signedIn.code, 0, signedIn.err)
  t.is((await haechi('status', { env })).code, 0, 'the pinned CA is used')
  t.is((await haechi(`status --server ${api.url}`, { env: { HOME: join(directory, 'nobody') } })).code, 1)
  const withFile = await haechi(`login --server ${api.url} --user vera --password-stdin --ca n1/ca.pem`, {
    env: { HOME: join(directory, 'other') },
    readInput: async () => passwords.viewer,
  })
  t.is(withFile.code, 0, withFile.err)
  const body = { name: 'vera', password: passwords.viewer }
  const answer = await request({ url: api.url, ca: read('ca.pem') }, { method: 'POST', path: '/api/v1/session', body })
  t.regex(String(answer.headers['set-cookie']), /; Secure/)
})

test('connection: a directory without a node, a server that does not answer, no node at all', async (t) => {
  const { haechi, directory } = t.context
  mkdirSync(join(directory, 'empty'))
  const none = await haechi('status --dir empty')
  t.is(none.code, 1)
  t.regex(none.err, /no node runs in .*empty.*\n.*haechi start --dir/)
  const dead = await haechi('status --server http://127.0.0.1:1')
  t.is(dead.code, 1)
  t.regex(dead.err, /does not answer/)
  t.is((await haechi('status --server nonsense')).code, 2)
})

test('usage: help, version, unknown commands and options', async (t) => {
  const { haechi } = t.context
  const help = await haechi('--help')
  t.is(help.code, 0)
  for (const command of ['status', 'config', 'node', 'vip', 'user', 'login', 'init', 'start', 'witness', 'run'])
    t.true(help.out.includes(`\n  ${command}`), command)
  t.regex((await haechi('--version')).out, /^\d+\.\d+\.\d+\n$/)
  const typo = await haechi('staus')
  t.is(typo.code, 2)
  t.regex(typo.err, /status/)
  t.is((await haechi('config apply')).code, 2)
  t.is((await haechi('init --name n1 --address 127.0.0.1:7 --api 127.0.0.1:8', { env: {} })).code, 2)
  t.is((await haechi('init --dir x --name N_1 --address 127.0.0.1:7 --api 127.0.0.1:8')).code, 2)
  t.is((await haechi('start --dir nosuch')).code, 1)
})

test('what comes from elsewhere cannot send control sequences to the terminal', async (t) => {
  const { haechi, file, node } = t.context
  file('c.yaml', good)
  await haechi(['config', 'apply', '-f', 'c.yaml', '--yes', '-m', 'x\u001b]0;owned\u0007\u001b[2J'])
  t.true(node.state().current!.comment.includes('\u001b'))
  const { out } = await haechi('config history')
  t.false(out.includes('\u001b') || out.includes('\u0007'))
})

test('init makes a cluster of one node, once', async (t) => {
  const { haechi, directory } = t.context
  const line = 'init --dir new --name n1 --address 127.0.0.1:7411 --api 127.0.0.1:7401'
  const made = await haechi(`${line} --json`)
  t.is(made.code, 0, made.err)
  const { user, password } = JSON.parse(made.out)
  t.is(user, 'admin')
  t.regex(password, /^[a-z2-9]{5}(-[a-z2-9]{5}){3}$/)
  t.like(JSON.parse(readFileSync(join(directory, 'new', 'identity.json'), 'utf8')), {
    id: 'n1',
    role: 'node',
    apiAddress: '127.0.0.1:7401',
  })
  const again = await haechi(line)
  t.is(again.code, 1)
  t.regex(again.err, /holds a node already/)
})

anyTest('FORCE_COLOR=0 means no colours, as it does for Node', (t) => {
  t.false(wantsColour({ FORCE_COLOR: '0' }, true))
  t.false(wantsColour({ FORCE_COLOR: 'false' }, true))
  t.true(wantsColour({ FORCE_COLOR: '1' }, false))
  t.true(wantsColour({ FORCE_COLOR: '' }, true))
  t.false(wantsColour({ FORCE_COLOR: '1', NO_COLOR: '1' }, true))
  t.false(wantsColour({ TERM: 'dumb' }, true))
})

test('config get --linearizable: asks for the newest in the cluster, or says why it cannot', async (t) => {
  const { haechi, node } = t.context
  let asked = 0
  node.barrier = () => {
    asked++
    return { ok: true }
  }
  t.like(await haechi('config get'), { code: 0 })
  t.is(asked, 0)
  t.like(await haechi('config get --linearizable'), { code: 0 })
  t.is(asked, 1)
  node.barrier = () => ({ ok: false, code: 'no-quorum', detail: 'no majority confirmed the leader' })
  const refused = await haechi('config get --linearizable')
  t.not(refused.code, 0)
  t.regex(refused.err, /no majority confirmed the leader/)
  t.is((await haechi('config get --linearizable --revision 1')).code, 2)
})

test('upgrade: status says who is behind, finish refuses until nobody is, and asks', async (t) => {
  const { haechi, node } = t.context
  const versions = (commandLevel: number, product: string) => ({ protocol: { min: 1, max: commandLevel }, commandLevel, product })
  t.regex((await haechi('upgrade')).out, /^Commands are of level 1\. There is nothing to finish\.\n\nNODE +ROLE +VERSION +LEVEL +PROTOCOLS +STATE/)
  t.like(await haechi('upgrade finish'), { code: 0, out: 'There is nothing to finish: the level of commands is 1, the highest that any member understands.\n' })
  node.versions = { n1: versions(2, '0.2.0'), n2: versions(2, '0.2.0'), w: versions(1, '0.1.0') }
  const { out } = await haechi('upgrade status')
  t.regex(out, /Level 2 has to wait; .*\n {2}w understands levels up to 1 \(version 0\.1\.0\)\n/)
  t.regex(out, /n1 +node +0\.2\.0 +2 +1-2 +this node/)
  t.regex(out, /w +witness +0\.1\.0 +1 +1 +connected, protocol 1/)
  const refused = await haechi('upgrade finish --yes')
  t.is(refused.code, 1)
  t.regex(refused.err, /w understands levels up to 1/)
  node.versions = { ...node.versions, w: versions(2, '0.2.0') }
  t.regex((await haechi('upgrade status')).out, /All members understand level 2: finish with haechi upgrade finish/)
  t.like(await haechi('upgrade finish'), { code: 2 }, 'nobody can be asked')
  t.is((await haechi('upgrade finish', { interactive: true, askConfirm: async () => false })).code, 1)
  t.is(node.state().level, 1)
  let asked = ''
  const done = await haechi('upgrade finish', { interactive: true, askConfirm: async (question) => { asked = question; return true } })
  t.like(done, { code: 0, out: 'The upgrade is finished: the level of commands is 2 now.\n' }, done.err)
  t.regex(asked, /from 1 to 2\? No member can go back/)
  t.is(JSON.parse((await haechi('upgrade status --json')).out).level, 2)
})

test('certificate: put, list, show and remove; the passphrase is asked for when one is needed', async (t) => {
  const { haechi, node, file } = t.context
  const { makeCertificate } = await import('../certificates/test-chain.ts')
  const [root, other] = await Promise.all([makeCertificate('Root', { ca: true }), makeCertificate('Other', { ca: true })])
  const web = await makeCertificate('web', { issuer: root, names: ['www.example.org', 'example.org'] })
  file('ca.key', other.keyPem)
  const support = ['n1', 'n2', 'w'].map((id) => ({ id, commandLevel, version: '' }))
  await node.submit({ kind: 'raise-level', actor: { name: 'system', from: '', node: 'n1' }, to: commandLevel, support })
  t.regex((await haechi('certificate list')).out, /There are no certificates/)
  file('web.pem', web.pem)
  file('web.key', web.key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'geheim' }) as string)
  const unasked = await haechi('certificate put web web.pem --key web.key')
  t.is(unasked.code, 1)
  t.regex(unasked.err, /\/passphrase is required: the private key is encrypted/)
  const asked = await haechi('certificate put web web.pem --key web.key', { interactive: true, askPassword: async () => 'geheim' })
  t.is(asked.code, 0, asked.err)
  t.regex(asked.out, /^web is in place: CN=web, until \d{4}-\d\d-\d\d \(version \d+\)\.\nnote: There is no certificate of the issuer/)
  const piped = await haechi('certificate put web web.pem --key web.key --passphrase-stdin', { readInput: async () => 'geheim\n' })
  t.is(piped.code, 0, piped.err)
  t.is((await haechi('certificate put web web.pem --key web.key --passphrase-stdin --new', { readInput: async () => 'geheim\n' })).code, 3)
  file('root.pem', root.pem)
  t.is((await haechi('certificate put clients root.pem --authority')).code, 0)
  const { out } = await haechi('certificate list')
  t.regex(out, /^NAME +KIND +FOR +ISSUER +EXPIRES +LEFT +USED BY\nclients +authority +CN=Root +CN=Root .*\nweb +key-pair +www\.example\.org \(\+1\) +CN=Root +\d{4}-\d\d-\d\d +89 days +-\n$/)
  t.regex((await haechi('certificate show web')).out, /names +www\.example\.org, example\.org\n/)
  t.is((await haechi('certificate show web --pem')).out, web.pem)
  t.regex((await haechi('certificate put web')).err, /name the file/)
  t.regex((await haechi('certificate put web no.pem')).err, /no\.pem cannot be read/)
  // Bug: bytes that are no text came out of standard input as others.
  t.like(await haechi('certificate put web --pkcs12 -'), { code: 2, err: 'error: standard input is read as text, and --pkcs12 is none: name a file\n' })
  t.regex((await haechi('certificate put web - --key -')).err, /standard input is there once/)
  t.is((await haechi('certificate remove web')).code, 2, 'nobody can be asked')
  t.is((await haechi('certificate remove web', { interactive: true, askConfirm: async () => false })).code, 1)
  t.like(await haechi('certificate remove web --yes'), { code: 0, out: 'web is removed.\n' })
  t.regex((await haechi('certificate remove web --yes')).err, /no certificate named web/)
})

test('sessions: list in pages, by pool and beginning; purge asks and says how many', async (t) => {
  const { node, haechi } = t.context
  const actor = { name: 'system', from: '', node: 'n1' }
  const entries = Array.from({ length: 2500 }, (_, i) => ({ key: `web/source/10.0.${i >> 8}.${i & 255}`, member: `web/m${i % 2}`, ttlMs: 60_000 }))
  await node.submit({ kind: 'sessions', actor, entries })
  const list = await haechi('sessions list --key 10.0.3.1')
  t.is(list.code, 0, list.err)
  t.regex(list.out, /web +source +10\.0\.3\.1 +m1/)
  t.regex(list.out, /111 shown|100 shown, there may be more/)
  t.is((JSON.parse((await haechi('--json sessions list --pool web --limit 2400')).out) as { entries: unknown[]; more: boolean }).entries.length, 2400)
  t.is((await haechi('sessions list --member m1')).code, 2)
  t.is((await haechi('sessions purge')).code, 2)
  t.is((await haechi('sessions purge --pool web')).code, 2)
  t.is((await haechi('sessions purge --all --pool web --yes')).code, 2)
  const purged = await haechi('sessions purge --pool web --member m1', { interactive: true, askConfirm: async () => true })
  t.is(purged.out, '1250 entries removed.\n', purged.err)
  t.is(node.state().sessionCount, 1250)
  t.is((await haechi('sessions purge --all --yes')).out, '1250 entries removed.\n')
})

test('route-test: by the cluster, and by a file that is not applied', async (t) => {
  const { haechi, file } = t.context
  const routes = (path: string): string => good.replace('pool: web}\n', `pool: web, routes: [{name: api, paths: [${path}], pool: web, rewrite: {prefix: /}}]}\n`)
  file('c.yaml', routes('/api'))
  t.like(await haechi('config apply -f c.yaml --yes'), { code: 0 })
  const found = await haechi('route-test -l front http://a.example/api/x?y')
  t.is(found.code, 0, found.err)
  t.regex(found.out, /api +takes it\s+Route api sends it to pool web as \/x\?y of a\.example\n/)
  t.regex((await haechi('route-test -l front a.example/other')).out, /api +no: paths\s+The listener sends it to pool web as \/other of a\.example\n/)
  file('next.yaml', routes('/other'))
  t.regex((await haechi('route-test -f next.yaml a.example/other', { env: {} })).out, /Route api sends it/)
  t.regex((await haechi('route-test -f next.yaml a.example/other/../x', { env: {} })).out, /400: the path can be read in two ways/)
  t.like(JSON.parse((await haechi(['route-test', '--json', '-f', 'next.yaml', '-H', 'X: y', '-X', 'POST', 'a.example'], { env: {} })).out), { outcome: 'default', target: '/' })
  t.like(await haechi('route-test http://a.example/'), { code: 2 })
  t.like(await haechi('route-test -l front http://a.example/ -H nonsense'), { code: 2 })
  t.like(await haechi('route-test -l none http://a.example/'), { code: 1 })
})
