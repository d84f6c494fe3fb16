/** Founding and joining, over real TLS on loopback. */
import { createHash, X509Certificate } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import type { ConsensusHooks, JoinRequest, JoinResponse } from './consensus.ts'
import { createRequest } from './certificates.ts'
import { caFingerprint, decodeJoinToken, encodeJoinToken, initCluster, joinCluster, loadCredentials, loadIdentity, signCsr } from './identity.ts'
import { openLog } from './storage/level.ts'
import { JoinServer } from './transport/join.ts'

const secret = 'a-secret-of-enough-length'
const founderPeer = { id: 'a', role: 'node', address: '127.0.0.1:7000', apiAddress: 'console.example.org:8443' } as const

async function place(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'haechi-identity-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

async function founded(t: ExecutionContext): Promise<string> {
  const directory = join(await place(t), 'a')
  await initCluster({ directory, ...founderPeer, firstEntries: [Buffer.from('one'), Buffer.from('two')] })
  return directory
}

/** The consensus port of a node, as far as joining goes. */
async function joinServer(t: ExecutionContext, directory: string, join: ConsensusHooks['join']): Promise<string> {
  const read = (name: string) => readFile(`${directory}/${name}`, 'utf8')
  const [certificate, key, ca] = [await read('node.pem'), await read('node.key'), await read('ca.pem')]
  const joins = new JoinServer(join, () => undefined)
  const server: Server = createServer(
    { cert: `${certificate}${ca}`, key, ca, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' },
    (request, response) => joins.handle(request, response),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

function admitting(directory: string, change: (response: JoinResponse) => JoinResponse = (response) => response): NonNullable<ConsensusHooks['join']> {
  return async (request: JoinRequest) => {
    if (request.secret !== secret) return { ok: false, error: 'the token is not valid any more' }
    return {
      ok: true,
      response: change({
        clusterId: loadIdentity(directory).clusterId, caCertificate: await readFile(`${directory}/ca.pem`, 'utf8'),
        certificate: (await signCsr(directory, request.csr, request.peer)).certificate,
        caKey: request.peer.role === 'node' ? await readFile(`${directory}/ca.key`, 'utf8') : '',
        membership: { voters: [founderPeer], learners: [request.peer] },
      }),
    }
  }
}

const tokenFor = (directory: string, addresses: string[], over: object = {}) =>
  encodeJoinToken({ clusterId: loadIdentity(directory).clusterId, caFingerprint: caFingerprint(directory), secret, addresses, ...over })

test('a founded cluster has a CA, a certificate for every name, and a log that starts with the membership', async (t) => {
  const directory = await founded(t)
  t.deepEqual((await readdir(directory)).sort(), ['ca.key', 'ca.pem', 'identity.json', 'log', 'members.json', 'node.key', 'node.pem'])
  for (const name of ['ca.key', 'node.key']) t.is((await stat(join(directory, name))).mode & 0o777, 0o600, name)
  t.is((await stat(directory)).mode & 0o777, 0o700)
  const identity = loadIdentity(directory)
  t.like(identity, founderPeer)
  const ca = new X509Certificate(await readFile(join(directory, 'ca.pem')))
  const certificate = new X509Certificate(await readFile(join(directory, 'node.pem')))
  t.true(ca.ca)
  t.false(certificate.ca)
  t.true(certificate.verify(ca.publicKey))
  t.is(caFingerprint(directory), createHash('sha256').update(ca.raw).digest('hex'))
  for (const name of ['a', 'console.example.org', 'localhost']) t.truthy(certificate.checkHost(name), name)
  for (const address of ['127.0.0.1', '::1']) t.truthy(certificate.checkIP(address), address)
  t.true(certificate.validToDate.getTime() > Date.now() + 9 * 365 * 86_400_000)

  const log = await openLog(join(directory, 'log'), { clusterId: identity.clusterId, nodeId: 'a' })
  t.teardown(() => log.close())
  const entries = await log.read(1, 10, Infinity)
  t.deepEqual(entries.map(({ index, term, type }) => ({ index, term, type })), [
    { index: 1, term: 1, type: 'membership' }, { index: 2, term: 1, type: 'command' }, { index: 3, term: 1, type: 'command' },
  ])
  const fingerprint = createHash('sha256').update(certificate.raw).digest('hex')
  t.deepEqual(log.membershipAt(3), { voters: [{ ...founderPeer, fingerprint }], learners: [] })
  t.is(Buffer.from(entries[2]!.data).toString(), 'two')
  await t.throwsAsync(initCluster({ directory, ...founderPeer, firstEntries: [] }), { message: /already belongs to node a/ })
})

test('joining: a certificate, the CA, the members, an empty log; only a node gets the CA key', async (t) => {
  const directory = await founded(t)
  const address = await joinServer(t, directory, admitting(directory))
  for (const role of ['node', 'witness'] as const) {
    const joined = join(await place(t), 'there', 'already')
    await mkdir(joined, { recursive: true })
    await writeFile(join(joined, 'lost+found'), '')
    const apiAddress = role === 'node' ? '10.0.0.2:8443' : ''
    // The first address of the token does not answer: the next one is asked.
    const identity = await joinCluster({
      directory: joined, token: tokenFor(directory, ['127.0.0.1:1', address]), id: `new-${role}`, role, address: '127.0.0.1:7001', apiAddress,
    })
    t.deepEqual(loadIdentity(joined), identity)
    t.is(identity.clusterId, loadIdentity(directory).clusterId)
    t.deepEqual(identity.membership.voters, [founderPeer])
    const files = await readdir(joined)
    t.is(files.includes('ca.key'), role === 'node')
    t.is(files.filter((name) => name.startsWith('.')).length, 0)
    const certificate = new X509Certificate(await readFile(join(joined, 'node.pem')))
    t.regex(certificate.subject, new RegExp(`CN=new-${role}`))
    t.true(certificate.verify(new X509Certificate(await readFile(join(directory, 'ca.pem'))).publicKey))
    t.is(caFingerprint(joined), caFingerprint(directory))
    const log = await openLog(join(joined, 'log'), { clusterId: identity.clusterId, nodeId: `new-${role}` })
    t.is(log.lastIndex, 0)
    await log.close()
  }
})

const otherFingerprint = 'ab'.repeat(32)
const refusals: readonly [string, RegExp, (directory: string, address: string) => { token: string; join?: ConsensusHooks['join'] }][] = [
  ['a cluster with another CA', /not the cluster of the token/, (directory, address) => ({ token: tokenFor(directory, [address], { caFingerprint: otherFingerprint }) })],
  ['a spent secret', /the token is not valid any more/, (directory, address) => ({ token: tokenFor(directory, [address], { secret: 'another-secret-of-length' }) })],
  ['nobody there', /could not join: 127\.0\.0\.1:1/, (directory) => ({ token: tokenFor(directory, ['127.0.0.1:1']) })],
  ['a damaged token', /damaged/, (directory, address) => ({ token: tokenFor(directory, [address]).slice(0, -20) })],
  ['something else', /starts with "haechi1\."/, () => ({ token: 'hello' })],
]
for (const [what, message, make] of refusals) {
  test(`joining fails and leaves nothing usable: ${what}`, async (t) => {
    const directory = await founded(t)
    let asked = 0
    const admit = admitting(directory)
    const address = await joinServer(t, directory, (request) => {
      asked += 1
      return admit(request)
    })
    const joined = await place(t)
    await t.throwsAsync(joinCluster({ directory: joined, token: make(directory, address).token, id: 'b', role: 'node', address: '127.0.0.1:7001', apiAddress: '127.0.0.1:1' }), { message })
    t.deepEqual(await readdir(joined), [])
    if (what !== 'a spent secret') t.is(asked, 0, 'no secret was sent')
  })
}

const wrongAnswers: readonly [string, (response: JoinResponse, other: string) => Promise<JoinResponse>][] = [
  ['another cluster', async (response) => ({ ...response, clusterId: '00000000-0000-0000-0000-000000000000' })],
  ['another CA', async (response, other) => ({ ...response, caCertificate: await readFile(`${other}/ca.pem`, 'utf8') })],
  ['another CA\'s key', async (response, other) => ({ ...response, caKey: await readFile(`${other}/ca.key`, 'utf8') })],
  ['another node\'s certificate', async (response, other) => ({ ...response, certificate: await readFile(`${other}/node.pem`, 'utf8') })],
  ['no certificate', async (response) => ({ ...response, certificate: 'x' })],
]
for (const [what, change] of wrongAnswers) {
  test(`an answer with ${what} is refused`, async (t) => {
    const [directory, other] = [await founded(t), await founded(t)]
    const admit = admitting(directory)
    const address = await joinServer(t, directory, async (request) => {
      const answer = await admit(request)
      return answer.ok ? { ok: true, response: await change(answer.response, other) } : answer
    })
    const joined = await place(t)
    await t.throwsAsync(joinCluster({ directory: joined, token: tokenFor(directory, [address]), id: 'b', role: 'node', address: '127.0.0.1:7001', apiAddress: '127.0.0.1:1' }), { message: /cannot be used/ })
    t.deepEqual(await readdir(joined), [])
  })
}

test('only POST /join is served, in bounds', async (t) => {
  const directory = await founded(t)
  const address = await joinServer(t, directory, admitting(directory))
  const ask = (text: string) => new Promise<string>((resolve) => {
    const socket = tlsConnect({ host: '127.0.0.1', port: Number(address.split(':')[1]), rejectUnauthorized: false })
    let answer = ''
    socket.on('data', (data) => (answer += data.toString()))
    socket.on('close', () => resolve(answer))
    socket.on('error', () => undefined)
    socket.write(text)
  })
  const post = (body: string) => ask(`POST /join HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`)
  t.regex(await ask('GET /join HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), / 404 /)
  t.regex(await ask('POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'), / 404 /)
  t.regex(await post('{}'), / 400 /)
  t.regex(await post('x'.repeat(40_000)), / 400 /)
  const peer = { id: 'b', role: 'node', address: '127.0.0.1:7001', apiAddress: '127.0.0.1:1' }
  for (const bad of [{ ...peer, id: '../b' }, { ...peer, address: 'nowhere' }, { ...peer, role: 'king' }, { ...peer, role: 'witness' }]) {
    t.regex(await post(JSON.stringify({ secret, csr: 'x', peer: bad })), / 400 /, JSON.stringify(bad))
  }
  t.regex(await post(JSON.stringify({ secret, csr: 'x', peer })), / 500 /)
})

test('a request must be signed by its own key, and its names do not count', async (t) => {
  const directory = await founded(t)
  const peer = { id: 'b', role: 'node', address: '10.1.2.3:7001', apiAddress: 'b.example.org:8443' } as const
  const { csrPem } = await createRequest('somebody-else')
  const signed = await signCsr(directory, csrPem, { ...peer, fingerprint: 'ab'.repeat(32) })
  const certificate = new X509Certificate(signed.certificate)
  t.deepEqual(signed.peer, { ...peer, fingerprint: createHash('sha256').update(certificate.raw).digest('hex') }, 'not what was asked for')
  t.regex(certificate.subject, /CN=b\b/)
  t.notRegex(certificate.subject, /somebody/)
  t.truthy(certificate.checkIP('10.1.2.3'))
  t.truthy(certificate.checkHost('b.example.org'))
  const der = Buffer.from(csrPem.split('\n').filter((line) => !line.startsWith('-')).join(''), 'base64')
  der[der.length - 5]! ^= 1
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  await t.throwsAsync(signCsr(directory, forged, peer), { message: /not signed by its own key/ })
  await t.throwsAsync(signCsr(directory, 'nonsense', peer), { message: /malformed/ })
})

test('tokens are decoded strictly', (t) => {
  const content = {
    clusterId: '01234567-89ab-cdef-0123-456789abcdef', caFingerprint: otherFingerprint, secret, addresses: ['10.0.0.1:7000', '[fd00::1]:7000'],
  }
  const token = encodeJoinToken(content)
  t.true(token.startsWith('haechi1.'))
  t.deepEqual(decodeJoinToken(`  ${token}\n`), { ok: true, content })
  const make = (value: unknown) => `haechi1.${Buffer.from(JSON.stringify(value)).toString('base64url')}`
  const good = { c: content.clusterId, f: content.caFingerprint, s: content.secret, a: content.addresses }
  t.true(decodeJoinToken(make(good)).ok)
  const bad: unknown[] = [
    { ...good, x: 1 }, { ...good, c: 'x' }, { ...good, f: 'AB'.repeat(32) }, { ...good, f: 'ab' }, { ...good, s: 'short' }, { ...good, s: 5 }, { ...good, a: [] },
    { ...good, a: ['nowhere'] }, { ...good, a: ['a:0'] }, { ...good, a: 'a:1' }, { ...good, a: Array.from({ length: 33 }, () => 'a:1') }, [], null, 1, { c: good.c },
  ]
  for (const value of bad) t.false(decodeJoinToken(make(value)).ok, JSON.stringify(value))
  for (const text of ['', 'haechi1.', 'haechi2.abc', `${token}=`, `${token} ${token}`, `haechi1.${'A'.repeat(5000)}`]) t.false(decodeJoinToken(text).ok, text.slice(0, 30))
  t.throws(() => encodeJoinToken({ ...content, addresses: [] }))
})

for (const name of ['node.pem', 'node.key', 'ca.pem']) {
  test(`${name} missing, cut off, or of another node: a clear error that names it`, async (t) => {
    const directory = await founded(t)
    const other = await founded(t)
    const file = `${directory}/${name}`
    const whole = await readFile(file, 'utf8')
    t.truthy(loadCredentials(directory).key)
    await writeFile(file, whole.slice(0, 60))
    t.throws(() => loadCredentials(directory), { message: `${file} is damaged` })
    await writeFile(file, await readFile(`${other}/${name}`, 'utf8'))
    t.throws(() => loadCredentials(directory), { message: /belong together|not signed by the CA/ })
    await rm(file)
    t.throws(() => loadCredentials(directory), { message: `${file} is missing` })
  })
}

test('the log is for its owner alone, also in a directory that others may look into', async (t) => {
  const directory = await place(t)
  await chmod(directory, 0o755)
  await initCluster({ directory, ...founderPeer, firstEntries: [Buffer.from('secret')] })
  t.is((await stat(`${directory}/log`)).mode & 0o777, 0o700)
  await chmod(`${directory}/log`, 0o755)
  const { clusterId } = loadIdentity(directory)
  const storage = await openLog(`${directory}/log`, { clusterId, nodeId: founderPeer.id })
  await storage.close()
  t.is((await stat(`${directory}/log`)).mode & 0o777, 0o700)
})
