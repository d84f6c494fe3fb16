/** Sealed keys open for whoever has the CA's key, and only as what they are. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Sealer, sealerOf } from './seal.ts'

const caKey = (): string => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const plain = Buffer.from('-----BEGIN PRIVATE KEY-----')

test('what is sealed on one node opens on another of the same cluster', (t) => {
  const pem = caKey()
  const sealed = new Sealer(pem).seal({ keyPair: 'web' }, plain)
  t.false(Buffer.from(sealed).includes('PRIVATE'))
  t.deepEqual(Buffer.from(new Sealer(pem.replaceAll('\n', '\r\n')).open({ keyPair: 'web' }, sealed)!), plain)
  t.notDeepEqual(new Sealer(pem).seal({ keyPair: 'web' }, plain), sealed, 'never the same twice')
})

test('it does not open for another cluster, under another name or kind, or when it was changed', (t) => {
  const sealer = new Sealer(caKey())
  const sealed = sealer.seal({ keyPair: '1' }, plain)
  t.is(new Sealer(caKey()).open({ keyPair: '1' }, sealed), undefined)
  t.is(sealer.open({ keyPair: '2' }, sealed), undefined)
  t.is(sealer.open({ ticketKeys: 1 }, sealed), undefined)
  for (let at = 0; at < sealed.length; at++) {
    const changed = Uint8Array.from(sealed)
    changed[at]! ^= 1
    t.is(sealer.open({ keyPair: '1' }, changed), undefined, `byte ${at}`)
    t.is(sealer.open({ keyPair: '1' }, sealed.subarray(0, at)), undefined, `${at} bytes`)
  }
})

test('a directory without the key of the CA has no sealer', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-seal-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  t.is(sealerOf(directory), undefined)
  writeFileSync(join(directory, 'ca.key'), caKey())
  t.true(sealerOf(directory) instanceof Sealer)
})
