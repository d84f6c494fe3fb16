/** Directories of certificates: what is read by which name, and what is refused without a word of a key. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { TestAuthority } from '../proxy/tls/test-certificates.ts'
import { readCertificates } from './certificate-directory.ts'

const authority = await TestAuthority.create('one')
const pair = await authority.issue('www', ['www.test'])
const other = await authority.issue('other', ['other.test'])
authority.revoke(other.serial)
const { certificates, revocations } = await authority.material()

function directory(files: Readonly<Record<string, string | Buffer>>): { path: string; end: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'haechi-certificates-test-'))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content)
  return { path, end: () => rmSync(path, { recursive: true, force: true }) }
}

test('pairs, authorities, responses and ticket keys, by file name', (t) => {
  const ticketKeys = Buffer.alloc(48, 3)
  const { path, end } = directory({
    'www.pem': pair.key + pair.chain, 'staff.ca.pem': certificates + revocations, 'www.ocsp': Buffer.from('response'), 'ticket.key': ticketKeys, 'README.txt': 'not looked at',
  })
  const read = readCertificates(path)
  end()
  if ('error' in read) return t.fail(read.error)
  const { material } = read
  t.deepEqual(material.keyPairs.map(({ name }) => name), ['www'])
  t.is(material.keyPairs[0]!.chain.trim(), pair.chain.trim())
  t.is(material.keyPairs[0]!.key, pair.key)
  t.is(Buffer.from(material.keyPairs[0]!.ocspResponse!).toString(), 'response')
  t.deepEqual(material.authorities.map(({ name }) => name), ['staff'])
  t.regex(material.authorities[0]!.revocations, /^-----BEGIN X509 CRL-----/)
  t.deepEqual(Buffer.from(material.ticketKeys!), ticketKeys)
})

for (const [what, files, message] of [
  ['a certificate without its key', { 'www.pem': pair.chain }, /www\.pem: expected one private key without a passphrase, found 0/],
  ['a key of another certificate', { 'www.pem': pair.chain + other.key }, /www\.pem: the private key is not that of the first certificate/],
  ['two keys', { 'www.pem': pair.chain + pair.key + other.key }, /found 2/],
  ['a key alone', { 'www.pem': pair.key }, /www\.pem: has no certificate/],
  ['a name that no document can refer to', { 'WWW example.pem': pair.chain + pair.key }, /is not named after a certificate/],
  ['an authority without certificates', { 'staff.ca.pem': revocations }, /staff\.ca\.pem: has no certificate/],
  ['ticket keys of another length', { 'ticket.key': Buffer.alloc(80) }, /ticket\.key: has 80 bytes, expected 48/],
] as [string, Record<string, string | Buffer>, RegExp][]) {
  test(`refused: ${what}`, (t) => {
    const { path, end } = directory(files)
    const read = readCertificates(path)
    end()
    if (!('error' in read)) return t.fail('taken')
    t.regex(read.error, message)
    t.notRegex(read.error, /PRIVATE/)
  })
}

test('refused: a directory that is not there', (t) => {
  const read = readCertificates('/nowhere/at/all')
  t.true('error' in read && read.error.startsWith('/nowhere/at/all: '))
})
