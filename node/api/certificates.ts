/**
 * The certificate store: what listeners and pools name in the configuration. Private keys go in and never come out: the node
 * that takes one encrypts it before it is proposed (`../certificates/seal.ts`).
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { describe } from '../certificates/describe.ts'
import { expiryOf } from '../certificates/expiry.ts'
import { certificatesOf } from '../certificates/facts.ts'
import { importCertificate } from '../certificates/import.ts'
import { checkOcspResponse } from '../certificates/ocsp.ts'
import type { Fault, ReadInput, ReadResult } from '../certificates/read.ts'
import { type Sealer, sealerOf } from '../certificates/seal.ts'
import { certificateNamesOf } from '../config/certificate-names.ts'
import type { ConfigurationDocument, Problem } from '../config/schema.ts'
import { certificateLevel, misfitOf } from '../state/certificates.ts'
import type { ClusterState } from '../state/state.ts'
import type { CertificateContent, StoredCertificate } from '../state/types.ts'
import { submit } from './change.ts'
import { actorOf } from './guard.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { CertificateBody, CertificateDetail, CertificateResult, CertificateView, NameParameter } from './schemas.ts'
import type { CertificateDetail as CertificateDetailType, CertificateResult as CertificateResultType, CertificateView as CertificateViewType } from './types.ts'

type Body = Static<typeof CertificateBody>

const maxBodyBytes = 1024 * 1024
const tags = ['certificates']

export function certificateRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { context } = options

  app.get(
    '/certificates',
    {
      config: { access: 'viewer' },
      schema: { tags, summary: 'All certificates, without their keys', response: { 200: Type.Array(CertificateView) } },
    },
    () => {
      const users = usersOf(context.state().document)
      return context.state().certificates.map((stored) => viewOf(stored, users))
    },
  )

  app.get<{ Params: Static<typeof NameParameter> }>(
    '/certificates/:name',
    {
      config: { access: 'viewer' },
      schema: {
        tags,
        summary: 'One certificate with its chain as PEM, without its key',
        description: 'The ETag is its version.',
        params: NameParameter,
        response: { 200: CertificateDetail },
      },
    },
    (request, reply) => {
      const stored = context.state().certificate(request.params.name)
      if (stored === undefined) return missing(reply, request.params.name)
      const detail: CertificateDetailType = {
        ...viewOf(stored, usersOf(context.state().document)),
        pem: stored.kind === 'key-pair' ? stored.chain : stored.certificates,
        revocations: stored.kind === 'authority' ? stored.revocations : '',
      }
      return reply.header('etag', `"${stored.index}"`).send(detail)
    },
  )

  app.put<{ Params: Static<typeof NameParameter>; Body: Body }>(
    '/certificates/:name',
    {
      config: { access: 'operator' },
      bodyLimit: maxBodyBytes,
      schema: {
        tags,
        summary: 'Add or replace a certificate',
        description:
          'Checked before it is taken: the key belongs to the certificate, nothing has expired; the chain is put in order. New handshakes use it at once, on every node; no connection is cut. With If-Match it replaces only the version that was read, with If-None-Match: * nothing at all.',
        params: NameParameter,
        headers: versionHeaders,
        body: CertificateBody,
        response: { 200: CertificateResult, 201: CertificateResult },
      },
    },
    (request, reply) => put(request, reply, options),
  )

  app.delete<{ Params: Static<typeof NameParameter> }>(
    '/certificates/:name',
    {
      config: { access: 'operator' },
      schema: {
        tags,
        summary: 'Remove a certificate',
        description: 'Refused while the configuration names it.',
        params: NameParameter,
        headers: versionHeaders,
        response: { 204: { type: 'null' } },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const known = context.state().certificate(name)
      const expected = expectation(request, reply, known)
      if (!expected.ok) return reply
      if (known === undefined) return missing(reply, name)
      const fields = usersOf(context.state().document).get(name) ?? []
      if (fields.length > 0) {
        return problem(reply, 'in-use', `The certificate ${name} is still in use: ${fields[0]} refers to it. Nothing was changed.`, {
          problems: fields.slice(0, 100).map((field) => ({ field, message: `refers to ${name}` })),
        })
      }
      const outcome = await submit(
        context,
        { kind: 'certificate-remove', level: certificateLevel, actor: actorOf(request, context), name, ...expected.expect },
        reply,
      )
      return outcome === undefined ? reply : reply.code(204).send()
    },
  )
}

async function put(
  request: FastifyRequest<{ Params: Static<typeof NameParameter>; Body: Body }>,
  reply: FastifyReply,
  { context }: RouteOptions,
): Promise<FastifyReply> {
  const { name } = request.params
  const known = context.state().certificate(name)
  const expected = expectation(request, reply, known)
  if (!expected.ok) return reply
  const sealer = sealerOf(context.directory)
  if (sealer === undefined) return problem(reply, 'not-ready', 'This node has no key of the cluster to encrypt with.')
  const read = await contentOf(name, request.body, known, sealer)
  if (!read.ok) return faulty(reply, read.faults)
  const { content, warnings } = read
  const misfit = misfitOf(content)
  if (misfit !== undefined) return faulty(reply, [{ field: '', message: `cannot be stored: ${misfit}` }])
  const outcome = await submit(
    context,
    {
      kind: 'certificate-put',
      level: certificateLevel,
      actor: actorOf(request, context),
      certificate: content,
      summary: summaryOf(content),
      // What was taken from the stored one is true of that one only.
      ...(read.ofStored && known !== undefined ? { expect: known.index } : expected.expect),
    },
    reply,
  )
  if (outcome === undefined) return reply
  const stored = context.state().certificate(name) ?? { ...content, index: outcome.index, atEpochMs: Date.now() }
  const result: CertificateResultType = { certificate: viewOf(stored, usersOf(context.state().document)), warnings }
  return reply
    .code(known === undefined ? 201 : 200)
    .header('etag', `"${stored.index}"`)
    .send(result)
}

type Content =
  /** `ofStored`: certificate or key were taken from the stored one. */
  | { readonly ok: true; readonly content: CertificateContent; readonly warnings: readonly string[]; readonly ofStored: boolean }
  | { readonly ok: false; readonly faults: readonly Fault[] }

/** What is to be stored: what the body brings, checked, and what it leaves out taken from the stored one. */
async function contentOf(name: string, body: Body, known: StoredCertificate | undefined, sealer: Sealer): Promise<Content> {
  const { kind = 'key-pair' } = body
  const fields = kind === 'authority' ? (['certificates', 'revocations'] as const) : (['certificate', 'key', 'passphrase', 'pkcs12', 'ocspResponse', 'ocspFetch'] as const)
  const odd = Object.keys(body).find((field) => field !== 'kind' && !fields.some((one) => one === field))
  if (odd !== undefined) return fault(`/${odd}`, `is not a field of the kind ${kind}`)
  if (known !== undefined && known.kind !== kind) return fault('/kind', `must be ${known.kind} as before: remove ${name} first to change its kind`)
  if (kind === 'authority') {
    if (body.certificates === undefined) return fault('/certificates', 'is required')
    const { certificates, revocations = '' } = body
    const read = await importCertificate({ kind, certificates, revocations, nowEpochMs: Date.now() })
    if (!read.ok) return read
    if (read.value.kind !== 'authority') throw new Error('an authority was read as something else')
    return { ok: true, content: { name, ...read.value }, warnings: read.warnings, ofStored: false }
  }
  const before = known?.kind === 'key-pair' ? known : undefined
  const pair = await readPair(body, before, sealer)
  if (!pair.ok) return pair
  if (pair.value.kind !== 'key-pair') throw new Error('a key pair was read as something else')
  const { chain, key } = pair.value
  const ocsp = ocspOf(body, chain, before)
  if (!ocsp.ok) return ocsp
  const sealedKey = key === undefined ? before!.sealedKey : sealer.seal({ keyPair: name }, Buffer.from(key))
  const ocspFetch = body.ocspFetch ?? before?.ocspFetch ?? true
  return { ok: true, content: { kind: 'key-pair', name, chain, sealedKey, ocspResponse: ocsp.response, ocspFetch }, warnings: pair.warnings, ofStored: body.pkcs12 === undefined && (body.certificate === undefined || (body.key === undefined && !body.certificate.includes('PRIVATE KEY-----'))) }
}

type Pair =
  /** Without `key`: the stored one stays. */
  | { readonly ok: true; readonly value: { readonly kind: 'key-pair'; readonly chain: string; readonly key?: string } | { readonly kind: 'authority' }; readonly warnings: readonly string[] }
  | Extract<ReadResult, { ok: false }>

async function readPair(body: Body, before: Extract<StoredCertificate, { kind: 'key-pair' }> | undefined, sealer: Sealer): Promise<Pair> {
  const { certificate, key, passphrase, pkcs12, ocspResponse, ocspFetch } = body
  if (before !== undefined && certificate === undefined && key === undefined && pkcs12 === undefined) {
    if (ocspResponse === undefined && ocspFetch === undefined) return fault('', 'says nothing: send certificate, key, pkcs12, ocspResponse or ocspFetch')
    return { ok: true, value: { kind: 'key-pair', chain: before.chain }, warnings: [] }
  }
  const given = { ...(certificate === undefined ? {} : { certificate }), ...(key === undefined ? {} : { key }), ...(pkcs12 === undefined ? {} : { pkcs12 }) }
  const stored: { certificate?: string; key?: string } = {}
  if (before !== undefined && pkcs12 === undefined) {
    if (certificate === undefined) stored.certificate = before.chain
    // A certificate that was renewed for the same key.
    else if (key === undefined && !certificate.includes('PRIVATE KEY-----')) {
      const opened = sealer.open({ keyPair: before.name }, before.sealedKey)
      if (opened !== undefined) stored.key = Buffer.from(opened).toString()
    }
  }
  const input: ReadInput = { kind: 'key-pair', ...stored, ...given, ...(passphrase === undefined ? {} : { passphrase }), nowEpochMs: Date.now() }
  return importCertificate(input)
}

type Ocsp = { readonly ok: true; readonly response: Uint8Array } | { readonly ok: false; readonly faults: readonly Fault[] }

/** The response to staple: a new one must be about this certificate; the stored one stays with the certificate that it is about. */
function ocspOf({ ocspResponse }: Body, chain: string, before: Extract<StoredCertificate, { kind: 'key-pair' }> | undefined): Ocsp {
  if (ocspResponse === undefined) return { ok: true, response: before?.chain === chain ? before.ocspResponse : new Uint8Array() }
  if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(ocspResponse)) return fault('/ocspResponse', 'is not base64')
  const response = new Uint8Array(Buffer.from(ocspResponse, 'base64'))
  if (response.length === 0) return { ok: true, response }
  const check = checkOcspResponse(response, certificatesOf(chain), Date.now())
  return check.ok ? { ok: true, response } : fault('/ocspResponse', check.message)
}

function fault(field: string, message: string): { readonly ok: false; readonly faults: readonly Fault[] } {
  return { ok: false, faults: [{ field, message }] }
}

function faulty(reply: FastifyReply, faults: readonly Fault[]): FastifyReply {
  const [first] = faults
  return problem(reply, 'invalid-certificate', `Nothing was changed: ${first?.field || 'the body'} ${first?.message ?? ''}.`, { problems: [...faults] })
}

function missing(reply: FastifyReply, name: string): FastifyReply {
  return problem(reply, 'not-found', `There is no certificate named ${name}.`)
}

const versionHeaders = {
  type: 'object',
  properties: {
    'if-match': { type: 'string', description: 'The ETag of the certificate that you have read, such as "12". Optional.' },
    'if-none-match': { type: 'string', description: '`*`: only if there is no certificate of this name yet. Optional.' },
  },
}

/** If-Match and If-None-Match (RFC 9110 §13.1); both may be left out, so that a renewal by a script is one request. */
function expectation(
  request: FastifyRequest,
  reply: FastifyReply,
  known: StoredCertificate | undefined,
): { readonly ok: true; readonly expect: { readonly expect?: number } } | { readonly ok: false } {
  const { 'if-match': match, 'if-none-match': noneMatch } = request.headers
  const current = known?.index ?? 0
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*' || match !== undefined) {
      problem(reply, 'invalid-if-match', 'If-None-Match is taken here only as *, and not together with If-Match.')
      return { ok: false }
    }
    if (known === undefined) return { ok: true, expect: { expect: 0 } }
    problem(reply, 'certificate-changed', `Nothing was changed: there is a certificate ${known.name} already.`)
    return { ok: false }
  }
  if (match === undefined) return { ok: true, expect: {} }
  const version = /^\s*"(0|[1-9]\d{0,14})"\s*$/.exec(match)?.[1]
  if (version === undefined) {
    problem(reply, 'invalid-if-match', 'If-Match must be the one entity tag of the certificate that you have read; weak tags, lists and * are not taken.')
    return { ok: false }
  }
  if (Number(version) === current) return { ok: true, expect: { expect: current } }
  problem(reply, 'certificate-changed', `Nothing was changed: you have read version ${version}, and ${known === undefined ? 'there is no such certificate' : `the current one is ${current}`}.`)
  return { ok: false }
}

/** For the audit log. */
function summaryOf(content: CertificateContent): string {
  const { certificates, notAfterEpochMs } = describe({ ...content, index: 0, atEpochMs: 0 })
  const subjects = certificates.slice(0, content.kind === 'key-pair' ? 1 : 5).map(({ subject, fingerprint }) => `${subject}, SHA-256 ${fingerprint}`)
  return [...subjects, `until ${new Date(notAfterEpochMs).toISOString().slice(0, 10)}`].join('\n')
}

/** Which fields of the document name each certificate. */
function usersOf(document: ConfigurationDocument): ReadonlyMap<string, readonly string[]> {
  const users = new Map<string, string[]>()
  for (const { field, name } of certificateNamesOf(document)) users.set(name, [...(users.get(name) ?? []), field])
  return users
}

function viewOf(stored: StoredCertificate, users: ReadonlyMap<string, readonly string[]>): CertificateViewType {
  const { certificates, revocationLists, revocationsNextUpdateEpochMs, ocsp, ...validity } = describe(stored)
  return {
    name: stored.name,
    kind: stored.kind,
    version: stored.index,
    updatedEpochMs: stored.atEpochMs,
    state: expiryOf(validity, Date.now()),
    notAfterEpochMs: validity.notAfterEpochMs,
    certificates,
    revocationLists,
    revocationsNextUpdateEpochMs: revocationsNextUpdateEpochMs ?? null,
    ocspFetch: stored.kind === 'key-pair' && stored.ocspFetch,
    ocsp: ocsp === undefined ? null : { thisUpdateEpochMs: ocsp.thisUpdateEpochMs, nextUpdateEpochMs: ocsp.nextUpdateEpochMs ?? null },
    usedBy: users.get(stored.name) ?? [],
  }
}

/** What a document names and the store does not have, or has as something else. */
export function unknownCertificates(document: ConfigurationDocument, state: Pick<ClusterState, 'certificate'>): Problem[] {
  return certificateNamesOf(document).flatMap(({ field, name, kind }): Problem[] => {
    const stored = state.certificate(name)
    if (stored === undefined) return [{ field, message: `there is no certificate named ${name}: add it first (haechi certificate put ${name})` }]
    if (stored.kind === kind) return []
    return [{ field, message: kind === 'key-pair' ? `${name} is an authority; expected a certificate with its key` : `${name} is a certificate with its key; expected an authority` }]
  })
}
