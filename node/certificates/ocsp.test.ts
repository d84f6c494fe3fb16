/** OCSP: requests that responders understand, and responses that are believed only when they are right. The responder is openssl's. */
import 'reflect-metadata'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as x509 from '@peculiar/x509'
import test, { type ExecutionContext } from 'ava'
import type { StoredCertificate } from '../state/types.ts'
import { certificatesOf } from './facts.ts'
import { OcspAsker } from './ocsp-fetch.ts'
import { checkOcspResponse, ocspFactsOf, ocspRequest, responderOf } from './ocsp.ts'
import { dayMs, makeCertificate, type MadeCertificate } from './test-chain.ts'
import { hasOpenssl, respond } from './test-responder.ts'

/** Tests that need the responder. */
const withOpenssl = (title: string, run: (t: ExecutionContext) => Promise<void>): void =>
  test(title, async (t) => {
    if (hasOpenssl) return run(t)
    t.log('# skipped: there is no openssl on this machine to answer')
    t.pass()
  })

async function chainOf(type: 'ec' | 'rsa' = 'ec', ocsp?: string) {
  const issuer = await makeCertificate('Issuer', { ca: true, type })
  const leaf = await makeCertificate('web', { issuer, names: ['web'], ...(ocsp === undefined ? {} : { ocsp }) })
  const chain = certificatesOf(leaf.pem + issuer.pem)
  return { issuer, leaf, chain, request: ocspRequest(chain[0]!, chain[1]!), serial: leaf.certificate.serialNumber }
}
const no = (check: ReturnType<typeof checkOcspResponse>): string => (check.ok ? 'ok' : check.message)

for (const type of ['ec', 'rsa'] as const) {
  withOpenssl(`a good response is believed: ${type}`, async (t) => {
    const { issuer, chain, request, serial } = await chainOf(type)
    const response = respond(request, { issuer, serial })
    const check = checkOcspResponse(response, chain, Date.now())
    t.true(check.ok, no(check))
    const facts = ocspFactsOf(response)
    t.deepEqual(check.ok && check.facts, facts)
    t.true(Math.abs(facts!.nextUpdateEpochMs! - facts!.thisUpdateEpochMs - 2 * dayMs) < 1000)
  })
}

withOpenssl('one that is signed by whom the issuer has charged with it is believed, by others not', async (t) => {
  const { issuer, chain, request, serial } = await chainOf()
  const charged = await makeCertificate('Responder', { issuer, extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.ocspSigning])] })
  t.is(no(checkOcspResponse(respond(request, { issuer, signer: charged, serial }), chain, Date.now())), 'ok')
  const expired = await makeCertificate('Responder', { issuer, days: 1, extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.ocspSigning])] })
  t.regex(no(checkOcspResponse(respond(request, { issuer, signer: expired, serial, days: 9 }), chain, Date.now() + 2 * dayMs)), /is not signed by/)
  const uncharged = await makeCertificate('Someone', { issuer })
  t.regex(no(checkOcspResponse(respond(request, { issuer, signer: uncharged, serial }), chain, Date.now())), /is not signed by/)
})

withOpenssl('a response about another certificate, a revoked or an unknown one, or from another time, is refused', async (t) => {
  const { issuer, chain, request, serial } = await chainOf()
  const good = respond(request, { issuer, serial })
  t.regex(no(checkOcspResponse(respond(request, { issuer, serial, status: 'R' }), chain, Date.now())), /is revoked/)
  t.regex(no(checkOcspResponse(respond(request, { issuer, serial: '01' }), chain, Date.now())), /does not know/)
  const other = await chainOf()
  t.regex(no(checkOcspResponse(good, other.chain, Date.now())), /is not signed by/)
  const sibling = await makeCertificate('sibling', { issuer, names: ['x'] })
  t.regex(no(checkOcspResponse(good, certificatesOf(sibling.pem + issuer.pem), Date.now())), /is not about this certificate/)
  t.regex(no(checkOcspResponse(good, chain, Date.now() + 3 * dayMs)), /was to be replaced by/)
  t.regex(no(checkOcspResponse(good, chain, Date.now() - dayMs)), /is of the future/)
  t.regex(no(checkOcspResponse(good, chain.slice(0, 1), Date.now())), /no certificate of the issuer/)
  for (let at = 0; at < good.length; at += 3) {
    const changed = Uint8Array.from(good)
    changed[at]! ^= 0x55
    // The signature covers all that is believed; what it does not cover is the certificate of the signer, which is sent along.
    if (checkOcspResponse(changed, chain, Date.now()).ok) t.true(at > good.length / 4, `byte ${at}`)
    t.false(checkOcspResponse(good.subarray(0, at), chain, Date.now()).ok)
  }
})

test('what is no response is refused, not thrown at', async (t) => {
  const { chain } = await chainOf()
  for (const bytes of [[], [0], [0x30, 0], [0x30, 3, 0x0a, 1, 6], [0x30, 0x84, 0xff, 0xff, 0xff, 0xff], Array.from({ length: 200 }, () => 0x30)]) {
    t.false(checkOcspResponse(Uint8Array.from(bytes), chain, Date.now()).ok)
    t.is(ocspFactsOf(Uint8Array.from(bytes)), undefined)
  }
  t.is(no(checkOcspResponse(Uint8Array.of(0x30, 3, 0x0a, 1, 6), chain, Date.now())), 'is a refusal of the responder (status 6)')
})

function serve(t: ExecutionContext, answer: (request: Uint8Array) => Uint8Array | number): Promise<{ url: string; asked: () => number }> {
  let asked = 0
  const server: Server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      asked++
      const said = answer(new Uint8Array(Buffer.concat(chunks)))
      if (typeof said === 'number') outgoing.writeHead(said).end()
      else outgoing.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(said)
    })
  })
  t.teardown(() => server.close())
  return new Promise((resolve) => server.listen(0, '127.14.0.3', () => resolve({ url: `http://127.14.0.3:${(server.address() as AddressInfo).port}/ocsp`, asked: () => asked })))
}

const stored = ({ leaf, issuer }: { leaf: MadeCertificate; issuer: MadeCertificate }, more: object = {}) =>
  ({ kind: 'key-pair', name: 'web', chain: leaf.pem + issuer.pem, sealedKey: new Uint8Array(1), ocspResponse: new Uint8Array(), ocspFetch: true, index: 7, atEpochMs: 1, ...more }) as Extract<StoredCertificate, { kind: 'key-pair' }>

async function until(what: string, done: () => boolean): Promise<void> {
  const started = performance.now()
  while (!done()) {
    if (performance.now() - started > 15_000) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

withOpenssl('the responder that the certificate names is asked, again when half of the time has passed', async (t) => {
  let made: Awaited<ReturnType<typeof chainOf>> | undefined
  const { url, asked } = await serve(t, (request) => respond(request, { issuer: made!.issuer, serial: made!.serial }))
  made = await chainOf('ec', url)
  t.is(responderOf(made.chain[0]!), url)
  let [nowMs, nowEpochMs] = [0, Date.now()]
  const taken: Uint8Array[] = []
  const lines: string[] = []
  const asker = new OcspAsker({ log: (_level, line) => void lines.push(line), store: async (_of, response) => taken.push(response) > 0, nowMs: () => nowMs, nowEpochMs: () => nowEpochMs })
  asker.look([stored(made)])
  asker.look([stored(made)])
  await until('the response is there', () => taken.length === 1)
  t.is(asked(), 1, 'once, however often one looks')
  t.is(no(checkOcspResponse(taken[0]!, made.chain, Date.now())), 'ok')
  const fresh = stored(made, { ocspResponse: taken[0]! })
  nowMs += dayMs
  asker.look([fresh])
  nowEpochMs += dayMs + 60_000
  t.is(asked(), 1, 'it is fresh enough')
  asker.look([fresh])
  await until('it is asked again', () => asked() === 2)
  t.deepEqual(lines, [])
})

test('a responder that fails is asked again after a while, longer each time, and logged once', async (t) => {
  let made: Awaited<ReturnType<typeof chainOf>> | undefined
  const { url, asked } = await serve(t, () => 503)
  made = await chainOf('ec', url)
  let nowMs = 0
  const lines: string[] = []
  const asker = new OcspAsker({ log: (level, line) => void lines.push(`${level}: ${line}`), store: async () => t.fail() === undefined, nowMs: () => nowMs, nowEpochMs: () => Date.now() })
  const pair = stored(made)
  asker.look([pair])
  await until('it is logged', () => lines.length === 1)
  t.is(lines[0], `warn: certificate web: the OCSP response of ${url} did not come: status 503`)
  for (const [after, times] of [[59_000, 1], [1000, 2], [60_000, 2], [60_000, 3]] as const) {
    nowMs += after
    asker.look([pair])
    await until('it was asked', () => asked() === times)
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.is(asked(), times)
  }
  t.is(lines.length, 1)
  // Without a responder or an issuer there is nobody to ask.
  asker.look([stored(await chainOf()), stored(made, { name: 'alone', chain: made.leaf.pem })])
  t.is(asked(), 3)
})

test('bug: a responder whose address is no URL ended the node: it is a responder that does not answer', async (t) => {
  const lines: string[] = []
  const asker = new OcspAsker({ log: (level, line) => void lines.push(`${level}: ${line}`), store: async () => t.fail() === undefined, nowMs: () => 0, nowEpochMs: () => Date.now() })
  for (const [at, url] of ['http://127.14.0.3:99999/', 'http://[::1', 'http://a:%zz@127.14.0.3/'].entries()) {
    asker.look([stored(await chainOf('ec', url))])
    await until('it is logged', () => lines.length === at + 1)
    t.true(lines[at]!.startsWith(`warn: certificate web: the OCSP response of ${url} did not come: `), lines[at])
    asker.look([])
  }
})

withOpenssl('bug: a response that could not be replicated ended the node: it is asked for again', async (t) => {
  let made: Awaited<ReturnType<typeof chainOf>> | undefined
  const { url, asked } = await serve(t, (request) => respond(request, { issuer: made!.issuer, serial: made!.serial }))
  made = await chainOf('ec', url)
  let nowMs = 0
  const asker = new OcspAsker({ log: () => undefined, store: () => Promise.reject(new Error('the link is gone')), nowMs: () => nowMs, nowEpochMs: () => Date.now() })
  const pair = stored(made)
  asker.look([pair])
  await until('it was asked', () => asked() === 1)
  await until('it is asked again', () => {
    nowMs += 3600_000
    asker.look([pair])
    return asked() === 2
  })
  t.pass()
})
