/** What operators bring: PEM in all its forms, PKCS#12, chains in disorder, and what is refused with which field. */
import { execFileSync } from 'node:child_process'
import { createHash, createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { certificatesOf, factsOf, nextUpdateOf } from './facts.ts'
import { importCertificate } from './import.ts'
import { readCertificate, type KeyPairInput, type ReadResult } from './read.ts'
import { dayMs, makeCertificate, makeRevocations, type KeyType } from './test-chain.ts'

const root = await makeCertificate('Root', { ca: true })
const middle = await makeCertificate('Middle', { ca: true, issuer: root })
const leaf = await makeCertificate('www.example.org', { issuer: middle, names: ['www.example.org', '*.example.net', '192.0.2.1'] })

const read = (input: Omit<KeyPairInput, 'kind'>, nowEpochMs = Date.now()): Promise<ReadResult> => readCertificate({ kind: 'key-pair', ...input, nowEpochMs })
const subjects = (result: ReadResult): string[] => (result.ok && result.value.kind === 'key-pair' ? certificatesOf(result.value.chain).map((certificate) => factsOf(certificate).subject) : [])

function refused(t: ExecutionContext, result: ReadResult, field: string, message: RegExp): void {
  t.false(result.ok)
  if (result.ok) return
  t.is(result.faults[0]!.field, field, result.faults[0]!.message)
  t.regex(result.faults[0]!.message, message)
}

test('a chain in order is taken as it is, without warnings', async (t) => {
  const result = await read({ certificate: leaf.pem + middle.pem, key: leaf.keyPem })
  t.deepEqual(result, { ok: true, value: { kind: 'key-pair', chain: leaf.pem + middle.pem, key: leaf.keyPem }, warnings: [] })
  t.like(factsOf(certificatesOf(leaf.pem)[0]!), {
    subject: 'CN=www.example.org', issuer: 'CN=Middle', names: ['www.example.org', '*.example.net', '192.0.2.1'], keyType: 'EC P-256',
    fingerprint: createHash('sha256').update(Buffer.from(leaf.certificate.rawData)).digest('hex'), serialNumber: leaf.certificate.serialNumber,
  })
})

test('a chain in disorder is put in order, without what does not belong to it and without the root', async (t) => {
  const other = await makeCertificate('Other', { ca: true })
  const result = await read({ certificate: root.pem + other.pem + middle.pem + leaf.pem, key: leaf.keyPem })
  t.deepEqual(subjects(result), ['CN=www.example.org', 'CN=Middle'])
  t.deepEqual(result.ok && result.warnings, ['The certificates were put in order, the one of the key first.', 'CN=Other was left out: it is no part of the chain.'])
})

test('everything may be in one text, with windows line ends and words in between', async (t) => {
  const text = `Bag Attributes\n  friendlyName: x\n${leaf.keyPem}subject=CN = x\n${leaf.pem}${middle.pem}`.replaceAll('\n', '\r\n')
  const result = await read({ certificate: text })
  t.deepEqual(subjects(result), ['CN=www.example.org', 'CN=Middle'])
  t.is(result.ok && result.value.kind === 'key-pair' && result.value.key, leaf.keyPem)
})

for (const type of ['rsa', 'ec', 'ed25519'] as const satisfies readonly KeyType[]) {
  test(`keys of the type ${type}, plain and encrypted`, async (t) => {
    const made = await makeCertificate('k', { type, names: ['k'] })
    const passphrase = 'geheim'
    const encrypted = made.key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }) as string
    for (const input of [{ key: made.keyPem }, { key: encrypted, passphrase }]) {
      const result = await read({ certificate: made.pem, ...input })
      t.true(result.ok, JSON.stringify(result))
      t.is(result.ok && result.value.kind === 'key-pair' && result.value.key, made.keyPem)
    }
    refused(t, await read({ certificate: made.pem, key: encrypted, passphrase: 'wrong' }), '/passphrase', /does not open/)
    refused(t, await read({ certificate: made.pem, key: encrypted }), '/passphrase', /is required/)
    if (type === 'ed25519') return
    const traditional = made.key.export({ type: type === 'rsa' ? 'pkcs1' : 'sec1', format: 'pem', cipher: 'aes-128-cbc', passphrase }) as string
    t.true((await read({ certificate: made.pem, key: traditional, passphrase })).ok)
    refused(t, await read({ certificate: made.pem, key: traditional, passphrase: 'wrong' }), '/passphrase', /does not open/)
  })
}

test('what is wrong is told with its field', async (t) => {
  refused(t, await read({ certificate: '', key: leaf.keyPem }), '/certificate', /no PEM block of a certificate/)
  refused(t, await read({ certificate: 'x', key: leaf.keyPem }), '/certificate', /no PEM block of a certificate/)
  refused(t, await read({ certificate: leaf.pem.replace('\nMII', '\nAAA'), key: leaf.keyPem }), '/certificate', /certificate 1 cannot be read/)
  refused(t, await read({ certificate: leaf.pem }), '/key', /is required/)
  refused(t, await read({ certificate: leaf.pem, key: leaf.pem }), '/key', /no PEM block of a private key/)
  refused(t, await read({ certificate: leaf.pem, key: leaf.keyPem + root.keyPem }), '/key', /2 private keys/)
  refused(t, await read({ certificate: leaf.pem, key: root.keyPem }), '/key', /does not belong to the certificate CN=www\.example\.org/)
  refused(t, await read({ certificate: leaf.pem + middle.pem, key: root.keyPem }), '/key', /any of the 2 certificates/)
  refused(t, await read({ certificate: leaf.pem.repeat(11), key: leaf.keyPem }), '/certificate', /11 certificates; at most 10/)
  const weak = await makeCertificate('weak', { type: 'rsa1024' })
  refused(t, await read({ certificate: weak.pem, key: weak.keyPem }), '/key', /1024 bits; at least 2048/)
})

test('an expired certificate is refused, one that is not valid yet is told of', async (t) => {
  const result = await read({ certificate: leaf.pem + middle.pem, key: leaf.keyPem }, Date.now() + 91 * dayMs)
  refused(t, result, '/certificate', /the certificate CN=www\.example\.org has expired on \d{4}-\d\d-\d\d/)
  const old = await makeCertificate('Old', { ca: true, issuer: root, days: 0 })
  const young = await makeCertificate('young', { issuer: old, names: ['young'], fromDays: 2 })
  refused(t, await read({ certificate: young.pem + old.pem, key: young.keyPem }, Date.now() + 1000), '/certificate', /the intermediate certificate CN=Old has expired/)
  const alone = await read({ certificate: young.pem, key: young.keyPem })
  t.regex(alone.ok ? alone.warnings.join('\n') : '', /CN=young is not valid before .*|no certificate of the issuer \(CN=Old\)/)
})

test('a certificate that is signed by itself, or names nobody, is taken with a warning', async (t) => {
  const own = await makeCertificate('own', { days: 5 })
  const result = await read({ certificate: own.pem, key: own.keyPem })
  t.deepEqual(result.ok && result.warnings, ['The certificate is signed by itself: clients trust it only when they were told to.', 'The certificate names no host (subjectAltName): clients refuse it.'])
})

test('absurd rounds of a key derivation are refused before they are made', async (t) => {
  const { keyPem } = leaf
  const encrypted = leaf.key.export({ type: 'pkcs8', format: 'der', cipher: 'aes-256-cbc', passphrase: 'x' }) as Buffer
  // PBKDF2 has 2048 rounds (0x0800) by default; the INTEGER is made 0x7fff'ffff by a DER of another length elsewhere: here in place.
  const at = encrypted.indexOf(Buffer.from([0x02, 0x02, 0x08, 0x00]))
  t.true(at > 0 && keyPem !== '')
  const salt = encrypted.subarray(0, at)
  const many = Buffer.concat([salt, Buffer.from([0x02, 0x04, 0x7f, 0xff, 0xff, 0xff]), encrypted.subarray(at + 4)])
  // Lengths of the five SEQUENCEs around it grow by two.
  const grown = Buffer.from(many)
  for (let i = 0; i < at; i++) {
    if (grown[i] === 0x30 && grown[i + 1]! < 0x80 && i + 2 + grown[i + 1]! > at) grown[i + 1]! += 2
    else if (grown[i] === 0x30 && grown[i + 1] === 0x81 && i + 3 + grown[i + 2]! > at) grown[i + 2]! += 2
  }
  const pem = `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${grown.toString('base64')}\n-----END ENCRYPTED PRIVATE KEY-----\n`
  const started = performance.now()
  refused(t, await read({ certificate: leaf.pem, key: pem, passphrase: 'x' }), '/key', /more than 10000000 rounds/)
  t.true(performance.now() - started < 10_000)
})

/** A private key that is encrypted with scrypt (RFC 7914 §7) and opens with no passphrase. */
function scryptKey(n: number, r: number, p: number): string {
  const der = (tag: number, ...contents: readonly Uint8Array[]): Buffer => {
    const content = Buffer.concat(contents)
    return Buffer.concat([content.length < 128 ? Buffer.of(tag, content.length) : Buffer.of(tag, 0x81, content.length), content])
  }
  const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))
  const number = (value: number): Buffer => der(0x02, Buffer.from(value.toString(16).padStart(8, '0'), 'hex'))
  const derivation = der(0x30, oid('2b06010401da47040b'), der(0x30, der(0x04, Buffer.alloc(8)), number(n), number(r), number(p)))
  const cipher = der(0x30, oid('60864801650304012a'), der(0x04, Buffer.alloc(16)))
  const whole = der(0x30, der(0x30, oid('2a864886f70d01050d'), der(0x30, derivation, cipher)), der(0x04, Buffer.alloc(48)))
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${whole.toString('base64').replaceAll(/.{64}/g, '$&\n')}\n-----END ENCRYPTED PRIVATE KEY-----\n`
}

test('bug: the cost of scrypt is a product, and took minutes: it is refused before it is made', async (t) => {
  refused(t, await read({ certificate: leaf.pem, key: scryptKey(1024, 8, 8192), passphrase: 'x' }), '/key', /more than 10000000 rounds/)
  refused(t, await read({ certificate: leaf.pem, key: scryptKey(1024, 8, 1), passphrase: 'x' }), '/passphrase', /does not open the private key/)
})

test('bug: a key of any length was taken: an RSA key may have 16384 bits', async (t) => {
  const key = createPrivateKey({ format: 'jwk', key: { kty: 'RSA', ...Object.fromEntries(['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'].map((name) => [name, Buffer.alloc(2560, 0xff).toString('base64url')])) } })
  refused(t, await read({ certificate: leaf.pem, key: key.export({ type: 'pkcs8', format: 'pem' }) as string }), '/key', /of 20480 bits; at most 16384 are taken/)
})

test('authorities: several, with revocation lists of theirs', async (t) => {
  const list = await makeRevocations(root, [leaf], 7)
  const authority = (certificates: string, revocations = ''): Promise<ReadResult> => readCertificate({ kind: 'authority', certificates, revocations, nowEpochMs: Date.now() })
  const result = await authority(root.pem + middle.pem + root.pem, list)
  t.deepEqual(result, { ok: true, value: { kind: 'authority', certificates: root.pem + middle.pem, revocations: list }, warnings: [] })
  t.true(Math.abs(nextUpdateOf(list)! - (Date.now() + 7 * dayMs)) < 60_000)
  t.deepEqual(await authority(root.pem + middle.pem, list.replaceAll('X509 CRL', 'CRL')), result, 'another label that is in use')
  refused(t, await authority(leaf.pem), '/certificates', /not the certificate of an authority/)
  refused(t, await authority('nothing'), '/certificates', /no PEM block/)
  refused(t, await authority(middle.pem, list), '/revocations', /not signed by any/)
  refused(t, await authority(root.pem, 'nothing'), '/revocations', /no PEM block/)
  refused(t, await authority(root.pem, list.replace('\nMI', '\nAA')), '/revocations', /cannot be read/)
  const old = await authority(root.pem, await makeRevocations(root, [], -1))
  t.regex(old.ok ? old.warnings.join() : '', /was to be replaced by .* are refused until it is/)
})

const openssl = ((): boolean => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

for (const type of ['rsa', 'ec', 'ed25519'] as const) {
  test(`PKCS#12 as openssl writes it: ${type}`, async (t) => {
    if (!openssl) {
      t.log('# skipped: there is no openssl on this machine to write PKCS#12 with')
      return t.pass()
    }
    const directory = mkdtempSync(join(tmpdir(), 'haechi-p12-'))
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const made = await makeCertificate('p12', { type, issuer: middle, names: ['p12'] })
    writeFileSync(join(directory, 'cert.pem'), made.pem)
    writeFileSync(join(directory, 'key.pem'), made.keyPem)
    writeFileSync(join(directory, 'more.pem'), middle.pem + root.pem)
    const pack = (...more: string[]): string => {
      const out = join(directory, 'out.p12')
      execFileSync('openssl', ['pkcs12', '-export', '-in', join(directory, 'cert.pem'), '-inkey', join(directory, 'key.pem'), '-certfile', join(directory, 'more.pem'), '-out', out, ...more], { stdio: 'ignore' })
      return readFileSync(out).toString('base64')
    }
    const pkcs12 = pack('-passout', 'pass:geheim')
    const result = await read({ pkcs12, passphrase: 'geheim' })
    t.true(result.ok, JSON.stringify(result))
    t.deepEqual(subjects(result), ['CN=p12', 'CN=Middle'])
    t.true(result.ok && result.value.kind === 'key-pair' && result.value.key === made.keyPem && result.value.chain === made.pem + middle.pem)
    refused(t, await read({ pkcs12, passphrase: 'wrong' }), '/passphrase', /does not open/)
    refused(t, await read({ pkcs12 }), '/passphrase', /does not open/)
    t.true((await read({ pkcs12: pack('-passout', 'pass:') })).ok, 'an empty passphrase')
    t.true((await read({ pkcs12: pack('-passout', 'pass:x', '-certpbe', 'PBE-SHA1-3DES', '-keypbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'), passphrase: 'x' })).ok, 'as older programs write it')
  })
}

test('what is no PKCS#12 is refused', async (t) => {
  refused(t, await read({ pkcs12: '***' }), '/pkcs12', /not base64/)
  refused(t, await read({ pkcs12: Buffer.from('hello').toString('base64') }), '/pkcs12', /is not a PKCS#12 file/)
  refused(t, await read({ pkcs12: Buffer.from(leaf.certificate.rawData).toString('base64') }), '/pkcs12', /./)
  refused(t, await read({ pkcs12: 'AAAA', certificate: leaf.pem }), '/pkcs12', /cannot be given together/)
})

test('a thread of its own comes to the same', async (t) => {
  const input = { kind: 'key-pair', certificate: leaf.pem + middle.pem, key: leaf.keyPem, nowEpochMs: Date.now() } as const
  t.deepEqual(await importCertificate(input), await readCertificate(input))
  refused(t, await importCertificate({ ...input, key: root.keyPem }), '/key', /does not belong/)
  const many = await Promise.allSettled(Array.from({ length: 9 }, () => importCertificate(input)))
  t.true(many.some(({ status }) => status === 'fulfilled'))
  t.true(many.some((one) => one.status === 'rejected' && (one.reason as { statusCode: number }).statusCode === 429), 'a crowd is refused')
})

test.serial('bug: a reader whose time was over was not counted while it went on', async (t) => {
  // About a second of OpenSSL, which nobody can interrupt.
  const slow = { kind: 'key-pair', certificate: leaf.pem, key: scryptKey(1024, 8, 256), passphrase: 'x', nowEpochMs: Date.now() } as const
  const free = async (): Promise<ReadResult | undefined> => importCertificate({ ...slow, key: leaf.keyPem }).catch(() => undefined)
  while ((await free()) === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
  await new Promise((resolve) => setTimeout(resolve, 100))
  const late = await Promise.all(Array.from({ length: 4 }, () => importCertificate(slow, 50)))
  for (const one of late) refused(t, one, '/certificate', /within 0.05 s/)
  t.is(await free(), undefined, 'they are still at it')
  while ((await free()) === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
  t.pass()
})
