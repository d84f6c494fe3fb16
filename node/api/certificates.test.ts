/** Certificates through the API: what goes in, what never comes out, and what is refused. */
import 'reflect-metadata'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { ocspFactsOf, ocspRequest } from '../certificates/ocsp.ts'
import { Sealer } from '../certificates/seal.ts'
import { dayMs, makeCertificate, makeRevocations, type MadeCertificate } from '../certificates/test-chain.ts'
import { hasOpenssl, respond } from '../certificates/test-responder.ts'
import { commandLevel } from '../state/level.ts'
import { call, document, pool, problemOf, putConfig, test, type World } from './test-api.ts'
import type { AuditView, CertificateDetail, CertificateResult, CertificateView } from './types.ts'

let root: MadeCertificate
let web: MadeCertificate
test.before(async () => {
  root = await makeCertificate('Root', { ca: true })
  web = await makeCertificate('web', { issuer: root, names: ['www.example.org'] })
})

/** As after `haechi init`: the level of this version, and the CA's key in the directory. */
async function ready(world: World): Promise<Sealer> {
  const caKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  writeFileSync(join(world.directory, 'ca.key'), caKey)
  await world.node.submit({
    kind: 'raise-level', actor: { name: 'system', from: '', node: 'n1' }, to: commandLevel,
    support: ['n1', 'n2', 'w'].map((id) => ({ id, commandLevel, version: '' })),
  })
  return new Sealer(caKey)
}

const put = async (world: World, name: string, body: object, headers: Record<string, string> = {}) =>
  call(world.api, 'PUT', `/certificates/${name}`, { body, headers, token: await world.token('operator') })
const pairOf = (made: MadeCertificate) => ({ certificate: made.pem, key: made.keyPem })

test('a key pair is put, listed and read; its key never comes out and is stored encrypted', async (t) => {
  const world = t.context
  const sealer = await ready(world)
  const answer = await put(world, 'web', pairOf(web))
  t.is(answer.status, 201, answer.text)
  const { certificate, warnings } = answer.body as CertificateResult
  t.like(certificate, { name: 'web', kind: 'key-pair', state: 'ok', usedBy: [], ocsp: null, certificates: [{ subject: 'CN=web', issuer: 'CN=Root', names: ['www.example.org'], keyType: 'EC P-256' }] })
  t.regex(warnings[0]!, /no certificate of the issuer/)
  t.is(answer.headers.get('etag'), `"${certificate.version}"`)
  const token = await world.token('viewer')
  const list = await call(world.api, 'GET', '/certificates', { token })
  t.deepEqual(list.body, [certificate])
  const one = await call(world.api, 'GET', '/certificates/web', { token })
  t.like(one.body as CertificateDetail, { name: 'web', pem: web.pem, revocations: '' })
  t.is(one.headers.get('etag'), `"${certificate.version}"`)
  const stored = world.node.state().certificate('web')!
  t.is(stored.kind === 'key-pair' && Buffer.from(sealer.open({ keyPair: 'web' }, stored.sealedKey)!).toString(), web.keyPem)
  // Nowhere: not in answers, log, audit, nor in what is replicated.
  const secret = web.keyPem.split('\n')[1]!
  const audit = await call(world.api, 'GET', '/audit', { token })
  for (const text of [answer.text, list.text, one.text, audit.text, world.log.join(), Buffer.concat([...world.node.state().snapshot()]).toString('latin1'), JSON.stringify(world.node.commands)]) t.false(text.includes(secret))
  t.false(JSON.stringify(world.node.commands).includes(JSON.stringify([...Buffer.from(secret)]).slice(1, 60)))
  const entry = (audit.body as AuditView[]).find(({ action }) => action === 'certificate.put')!
  t.is(entry.actor.name, 'olga')
  t.regex(entry.detail, /^key pair web added\nCN=web, SHA-256 [0-9a-f]{64}\nuntil \d{4}-\d\d-\d\d$/)
})

test('replacing: with the same key, with a new one, only what was read, and never the kind', async (t) => {
  const world = t.context
  await ready(world)
  const first = (await put(world, 'web', pairOf(web))).headers.get('etag')!
  problemOf(t, await put(world, 'web', pairOf(web), { 'if-none-match': '*' }), 412, 'certificate-changed')
  problemOf(t, await put(world, 'other', pairOf(web), { 'if-match': '"7"' }), 412, 'certificate-changed')
  problemOf(t, await put(world, 'web', pairOf(web), { 'if-match': 'W/"1"' }), 400, 'invalid-if-match')
  // The certificate alone: the stored key has to fit.
  const same = await put(world, 'web', { certificate: web.pem + root.pem }, { 'if-match': first })
  t.is(same.status, 200, same.text)
  problemOf(t, await put(world, 'web', pairOf(web), { 'if-match': first }), 412, 'certificate-changed')
  const next = await makeCertificate('web', { issuer: root, names: ['www.example.org'] })
  t.like(problemOf(t, await put(world, 'web', { certificate: next.pem }), 422, 'invalid-certificate').problems, [{ field: '/key' }])
  t.is((await put(world, 'web', pairOf(next))).status, 200)
  t.like(problemOf(t, await put(world, 'web', { kind: 'authority', certificates: root.pem }), 422, 'invalid-certificate').problems, [{ field: '/kind' }])
  t.is((await put(world, 'young', pairOf(web), { 'if-none-match': '*' })).status, 201)
})

test('authorities with revocation lists', async (t) => {
  const world = t.context
  await ready(world)
  const revocations = await makeRevocations(root, [web])
  const answer = await put(world, 'clients', { kind: 'authority', certificates: root.pem, revocations })
  t.is(answer.status, 201, answer.text)
  const { certificate } = answer.body as CertificateResult
  t.like(certificate, { kind: 'authority', revocationLists: 1, certificates: [{ subject: 'CN=Root' }] })
  t.true(Math.abs(certificate.revocationsNextUpdateEpochMs! - Date.now() - 7 * dayMs) < 60_000)
  const detail = (await call(world.api, 'GET', '/certificates/clients', { token: await world.token('viewer') })).body as CertificateDetail
  t.like(detail, { pem: root.pem, revocations })
})

test('what is wrong is told with the field', async (t) => {
  const world = t.context
  await ready(world)
  const cases: [object, string][] = [
    [{}, '/certificate'],
    [{ certificate: web.pem }, '/key'],
    [{ certificate: 'x', key: web.keyPem }, '/certificate'],
    [{ ...pairOf(web), key: root.keyPem }, '/key'],
    [{ ...pairOf(web), certificates: root.pem }, '/certificates'],
    [{ kind: 'authority', ...pairOf(web) }, '/certificate'],
    [{ kind: 'authority' }, '/certificates'],
    [{ kind: 'authority', certificates: web.pem }, '/certificates'],
    [{ pkcs12: 'AAAA' }, '/pkcs12'],
    [{ ...pairOf(web), ocspResponse: '***' }, '/ocspResponse'],
    [{ ...pairOf(web), certificate: web.pem + root.pem, ocspResponse: 'AAAA' }, '/ocspResponse'],
  ]
  for (const [body, field] of cases) {
    const problem = problemOf(t, await put(world, 'web', body), 422, 'invalid-certificate')
    t.is(problem.problems?.[0]?.field, field, JSON.stringify(body))
    t.false(JSON.stringify(problem).includes(web.keyPem.split('\n')[1]!))
  }
  problemOf(t, await put(world, 'web', { ...pairOf(web), unknown: 1 }), 400, 'invalid-request')
  problemOf(t, await put(world, 'Not-A-Name', pairOf(web)), 400, 'invalid-request')
  problemOf(t, await put(world, 'web', { certificate: 'x'.repeat(2 ** 21) }), 413, 'too-large')
  t.deepEqual(world.node.state().certificates, [])
  problemOf(t, await call(world.api, 'GET', '/certificates/web', { token: await world.token('viewer') }), 404, 'not-found')
})

test('roles: a viewer looks, an operator changes', async (t) => {
  const world = t.context
  await ready(world)
  const token = await world.token('viewer')
  problemOf(t, await call(world.api, 'GET', '/certificates'), 401, 'not-signed-in')
  problemOf(t, await call(world.api, 'PUT', '/certificates/web', { token, body: pairOf(web) }), 403, 'forbidden')
  problemOf(t, await call(world.api, 'DELETE', '/certificates/web', { token }), 403, 'forbidden')
})

test('before the upgrade is finished, and on a machine without the key of the CA, nothing is taken', async (t) => {
  const world = t.context
  problemOf(t, await put(world, 'web', pairOf(web)), 503, 'not-ready')
  writeFileSync(join(world.directory, 'ca.key'), root.keyPem)
  problemOf(t, await put(world, 'web', pairOf(web)), 409, 'not-supported')
})

test('a certificate that is near its end says so', async (t) => {
  const world = t.context
  await ready(world)
  await put(world, 'soon', pairOf(await makeCertificate('soon', { names: ['a'], fromDays: -300, days: 20 })))
  await put(world, 'urgent', pairOf(await makeCertificate('urgent', { names: ['a'], fromDays: -300, days: 3 })))
  const list = (await call(world.api, 'GET', '/certificates', { token: await world.token('viewer') })).body as CertificateView[]
  t.deepEqual(list.map(({ name, state }) => [name, state]), [['soon', 'soon'], ['urgent', 'urgent']])
})

test('a document may name only what there is, of the right kind; and what it names cannot be removed', async (t) => {
  const world = t.context
  await ready(world)
  const listener = { name: 'front', address: '127.0.0.1', port: 8443, protocol: 'https', pool: 'web', tls: { certificates: ['web'], clientAuth: { mode: 'required', authority: 'clients' } } }
  const secure = { ...document, listeners: [listener], pools: [{ ...pool, tls: { authority: 'clients', certificate: 'web' } }] }
  const none = problemOf(t, await putConfig(world, secure, '"1"'), 422, 'invalid-document')
  t.deepEqual(none.problems?.map(({ field }) => field), ['/listeners/0/tls/certificates/0', '/listeners/0/tls/clientAuth/authority', '/pools/0/tls/authority', '/pools/0/tls/certificate'])
  t.regex(none.problems![0]!.message, /there is no certificate named web/)
  const token = await world.token('operator')
  t.like((await call(world.api, 'POST', '/config/validate', { body: secure, token })).body, { valid: false, problems: none.problems })
  await put(world, 'web', pairOf(web))
  await put(world, 'clients', { kind: 'authority', certificates: root.pem })
  const swapped = { ...secure, listeners: [{ ...listener, tls: { certificates: ['clients'], clientAuth: { mode: 'required', authority: 'web' } } }] }
  const kinds = problemOf(t, await putConfig(world, swapped, '"1"'), 422, 'invalid-document')
  t.regex(kinds.problems![0]!.message, /clients is an authority/)
  t.regex(kinds.problems![1]!.message, /web is a certificate with its key/)
  t.is((await putConfig(world, secure, '"1"')).status, 200)
  const list = (await call(world.api, 'GET', '/certificates', { token })).body as CertificateView[]
  t.deepEqual(list.map(({ name, usedBy }) => [name, usedBy]), [['clients', ['/listeners/0/tls/clientAuth/authority', '/pools/0/tls/authority']], ['web', ['/listeners/0/tls/certificates/0', '/pools/0/tls/certificate']]])
  const used = problemOf(t, await call(world.api, 'DELETE', '/certificates/web', { token }), 409, 'in-use')
  t.is(used.problems?.[0]?.field, '/listeners/0/tls/certificates/0')
  t.is((await call(world.api, 'DELETE', '/pools/web?comment=x', { token, headers: { 'if-match': '"2"' } })).status, 409, 'the listener needs the pool')
  t.is((await putConfig(world, document, '"2"')).status, 200)
  const version = list[1]!.version
  problemOf(t, await call(world.api, 'DELETE', '/certificates/web', { token, headers: { 'if-match': `"${version + 1}"` } }), 412, 'certificate-changed')
  t.is((await call(world.api, 'DELETE', '/certificates/web', { token, headers: { 'if-match': `"${version}"` } })).status, 204)
  problemOf(t, await call(world.api, 'DELETE', '/certificates/web', { token }), 404, 'not-found')
  // A roll back must not bring the name back without the certificate.
  const back = problemOf(t, await call(world.api, 'POST', '/config/rollback', { token, body: { toRevision: 2 }, headers: { 'if-match': '"3"' } }), 422, 'invalid-document')
  t.is(back.problems?.[0]?.field, '/listeners/0/tls/certificates/0')
})

test('an OCSP response is taken when it is about the certificate, alone, too, and goes with it', async (t) => {
  if (!hasOpenssl) {
    t.log('# skipped: there is no openssl on this machine to answer')
    return t.pass()
  }
  const world = t.context
  await ready(world)
  const chain = [web, root].map(({ pem }) => new X509Certificate(pem))
  const answer = { issuer: root, serial: web.certificate.serialNumber }
  const response = respond(ocspRequest(chain[0]!, chain[1]!), answer)
  const pair = { ...pairOf(web), certificate: web.pem + root.pem }
  const middle = await makeCertificate('Middle', { ca: true, issuer: root })
  const leaf = await makeCertificate('leaf', { issuer: middle, names: ['leaf'] })
  const ocspResponse = Buffer.from(response).toString('base64')
  t.is(problemOf(t, await put(world, 'web', { ...pairOf(web), ocspResponse }), 422, 'invalid-certificate').problems?.[0]?.field, '/ocspResponse', 'without the issuer it cannot be checked')
  t.like((await put(world, 'web', { ...pair, ocspResponse })).body, { certificate: { ocsp: { thisUpdateEpochMs: ocspFactsOf(response)!.thisUpdateEpochMs } } })
  t.is((await put(world, 'leaf', { ...pairOf(leaf), certificate: leaf.pem + middle.pem })).status, 201)
  const before = world.node.state().certificate('leaf')!
  const [one, two] = [leaf, middle].map(({ pem }) => new X509Certificate(pem))
  const fresh = Buffer.from(respond(ocspRequest(one!, two!), { issuer: middle, serial: leaf.certificate.serialNumber })).toString('base64')
  const taken = await put(world, 'leaf', { ocspResponse: fresh })
  t.is(taken.status, 200, taken.text)
  const { ocsp } = (taken.body as CertificateResult).certificate
  t.true(ocsp !== null && ocsp.nextUpdateEpochMs! > Date.now())
  const after = world.node.state().certificate('leaf')!
  t.true(before.kind === 'key-pair' && after.kind === 'key-pair' && Buffer.from(after.sealedKey).equals(before.sealedKey) && after.ocspFetch)
  t.like((await put(world, 'leaf', { ocspFetch: false })).body, { certificate: { ocspFetch: false, ocsp } }, 'the rest stays')
  t.like((await put(world, 'leaf', { ocspResponse: '' })).body, { certificate: { ocsp: null, ocspFetch: false } })
  problemOf(t, await put(world, 'leaf', {}), 422, 'invalid-certificate')
})

test('bug: a change that took certificate or key from the stored ones put them back when they had been replaced meanwhile', async (t) => {
  const world = t.context
  await ready(world)
  const { version } = ((await put(world, 'web', pairOf(web))).body as CertificateResult).certificate
  const expected = () => (world.node.commands.at(-1) as { expect?: number }).expect
  t.is(expected(), undefined, 'all of it is new')
  t.is((await put(world, 'web', { ocspFetch: false })).status, 200)
  t.is(expected(), version)
  const [before] = world.node.state().certificates
  t.is((await put(world, 'web', { certificate: web.pem + root.pem })).status, 200)
  t.is(expected(), before!.index)
  t.is((await put(world, 'web', { certificate: web.keyPem + web.pem })).status, 200)
  t.is(expected(), undefined, 'the key is among the certificates')
})

test('bug: what had become too large in the reading was proposed, and its fate was called unknown', async (t) => {
  const world = t.context
  await ready(world)
  const ca = await makeCertificate('Large', { ca: true, extensions: [new x509.Extension('1.2.3.4', false, new Uint8Array(194_400))] })
  const [begin, ...lines] = ca.pem.trim().split('\n')
  const end = lines.pop()!
  // Longer lines than those that it is stored with.
  const certificates = `${begin!}\n${lines.join('').replaceAll(/.{200}/g, '$&\n')}\n${end}\n`
  t.true(certificates.length < 262_144 && ca.pem.length > 262_144, `${certificates.length} ${ca.pem.length}`)
  t.regex(problemOf(t, await put(world, 'large', { kind: 'authority', certificates }), 422, 'invalid-certificate').detail, /it has \d+ bytes; at most 262144 are taken/)
  t.false(world.node.commands.some(({ kind }) => kind === 'certificate-put'))
})
