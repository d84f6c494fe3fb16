/**
 * The configuration: the whole document, its parts, its revisions and their differences. Every change is one command
 * with the revision that the client has seen; nothing here changes a part of it and then fails.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { diffDocuments, unifiedDiff } from '../config/diff.ts'
import type { ConfigurationDocument, Problem } from '../config/schema.ts'
import { toYaml } from '../config/yaml.ts'
import type { Revision } from '../state/types.ts'
import { unknownCertificates } from './certificates.ts'
import { precondition, submit } from './change.ts'
import type { ReadBarrier } from './context.ts'
import { readDocument, YamlText, yamlTypes } from './document.ts'
import { actorOf } from './guard.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import {
  ApplyResult,
  CommentQuery,
  ConsistencyQuery,
  ConfigView,
  DiffQuery,
  DiffView,
  documentReference,
  PageQuery,
  RevisionParameter,
  RevisionSummary,
  RollbackBody,
  ValidateResult,
} from './schemas.ts'
import type {
  ApplyResult as ApplyResultType,
  Change,
  ConfigView as ConfigViewType,
  DiffView as DiffViewType,
  RevisionSummary as RevisionSummaryType,
  ValidateResult as ValidateResultType,
} from './types.ts'

/** Largest document taken, bytes. */
export const maxDocumentBytes = 4 * 1024 * 1024
const maxSummaryLines = 20
const maxSummaries = 1000

export function configRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { context } = options
  const summaries = new Summaries()
  const state = () => context.state()

  app.addContentTypeParser([...yamlTypes], { parseAs: 'string' }, (_request, body, done) =>
    done(null, new YamlText(String(body))),
  )

  app.get<{ Querystring: Static<typeof ConsistencyQuery> }>(
    '/config',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configuration'],
        summary: 'The configuration in force, as JSON or (Accept: application/yaml) as YAML',
        description:
          'The ETag is the revision; send it back as If-Match with a change. The answer is what this node has applied: right after a change through another node it may be one revision behind, unless `consistency=linearizable` asks for the newest.',
        querystring: ConsistencyQuery,
        response: { 200: ConfigView },
      },
    },
    async (request, reply) => {
      if (request.query.consistency === 'linearizable') {
        const barrier = await context.readBarrier()
        if (!barrier.ok) return refusedRead(reply, barrier)
      }
      const revision = state().current
      if (revision === undefined) return notReady(reply)
      return sendRevision(request, reply, revision)
    },
  )

  app.put<{ Querystring: Static<typeof CommentQuery> }>(
    '/config',
    {
      config: { access: 'operator' },
      bodyLimit: maxDocumentBytes,
      schema: {
        tags: ['configuration'],
        summary: 'Replace the configuration (JSON or YAML)',
        description:
          'If-Match with the revision that you have read is required. An identical document makes no new revision.',
        querystring: CommentQuery,
        headers: ifMatchHeader,
        body: documentReference,
        response: { 200: ApplyResult },
      },
    },
    async (request, reply) => {
      const expected = await precondition(request, reply, context)
      if (expected === undefined) return reply
      const read = await readDocument(request.body)
      if (!read.ok) return invalid(reply, read.problems)
      return applyDocument(request, reply, options, expected, read.document, request.query.comment ?? '')
    },
  )

  app.post(
    '/config/validate',
    {
      config: { access: 'viewer' },
      bodyLimit: maxDocumentBytes,
      schema: {
        tags: ['configuration'],
        summary: 'Check a document (JSON or YAML) and show what it would change',
        body: documentReference,
        response: { 200: ValidateResult },
      },
    },
    async (request): Promise<ValidateResultType> => {
      const read = await readDocument(request.body)
      if (!read.ok) return { valid: false, problems: read.problems, changes: [] }
      const unknown = unknownCertificates(read.document, state())
      if (unknown.length > 0) return { valid: false, problems: unknown, changes: [] }
      return { valid: true, problems: [], changes: diffDocuments(state().document, read.document) }
    },
  )

  app.get<{ Querystring: Static<typeof PageQuery> }>(
    '/config/revisions',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configuration'],
        summary: 'Revisions, newest first',
        querystring: PageQuery,
        response: { 200: Type.Array(RevisionSummary) },
      },
    },
    (request): RevisionSummaryType[] => {
      const { before, limit } = request.query
      return state()
        .revisions(before, limit ?? 50)
        .map((revision) => summaries.of(revision, state().revision_(revision.revision - 1)))
    },
  )

  app.get<{ Params: Static<typeof RevisionParameter> }>(
    '/config/revisions/:revision',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configuration'],
        summary: 'One revision',
        params: RevisionParameter,
        response: { 200: ConfigView },
      },
    },
    (request, reply) => {
      const revision = state().revision_(request.params.revision)
      return revision === undefined
        ? noRevision(reply, request.params.revision)
        : sendRevision(request, reply, revision)
    },
  )

  app.get<{ Params: Static<typeof RevisionParameter>; Querystring: Static<typeof DiffQuery> }>(
    '/config/revisions/:revision/diff',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configuration'],
        summary: 'What a revision changed',
        description: '`against` is the older side; default: the revision before. 0 is the empty configuration.',
        params: RevisionParameter,
        querystring: DiffQuery,
        response: { 200: DiffView },
      },
    },
    (request, reply): DiffViewType | FastifyReply => {
      const to = request.params.revision
      const from = request.query.against ?? to - 1
      const newer = state().revision_(to)
      if (newer === undefined) return noRevision(reply, to)
      const older = from === 0 ? emptyDocument : state().revision_(from)?.document
      if (older === undefined) return noRevision(reply, from)
      return {
        from,
        to,
        changes: diffDocuments(older, newer.document),
        unified: unifiedDiff(older, newer.document, `revision ${from}`, `revision ${to}`),
      }
    },
  )

  app.post<{ Body: Static<typeof RollbackBody> }>(
    '/config/rollback',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['configuration'],
        summary: 'Make an earlier revision the newest one',
        headers: ifMatchHeader,
        body: RollbackBody,
        response: { 200: ApplyResult },
      },
    },
    async (request, reply) => {
      const expected = await precondition(request, reply, context)
      if (expected === undefined) return reply
      const { toRevision, comment } = request.body
      const target = state().revision_(toRevision)
      if (target === undefined) return noRevision(reply, toRevision)
      if (target.hash === state().current?.hash) return unchanged(reply, expected)
      const unknown = unknownCertificates(target.document, state())
      if (unknown.length > 0) return invalid(reply, unknown)
      const before = state().document
      const outcome = await submit(
        context,
        {
          kind: 'config-rollback',
          actor: actorOf(request, context),
          expectRevision: expected,
          toRevision,
          comment: comment ?? '',
        },
        reply,
      )
      if (outcome === undefined) return reply
      return applied(reply, outcome.revision, diffDocuments(before, target.document))
    },
  )
}

/** Documents If-Match; the check itself is `precondition`, which says more than a schema can. */
export const ifMatchHeader = {
  type: 'object',
  properties: {
    'if-match': {
      type: 'string',
      description: 'The ETag of the configuration that you have read, such as "12". Required.',
    },
  },
}

const emptyDocument: ConfigurationDocument = { haechi: 1, vips: [], pools: [], listeners: [] }

/** Submits a valid document as the successor of revision `expected` and answers. */
export async function applyDocument(
  request: FastifyRequest,
  reply: FastifyReply,
  options: RouteOptions,
  expected: number,
  document: ConfigurationDocument,
  comment: string,
): Promise<FastifyReply> {
  const { context } = options
  const changes = diffDocuments(context.state().document, document)
  if (changes.length === 0) return unchanged(reply, expected)
  const unknown = unknownCertificates(document, context.state())
  if (unknown.length > 0) return invalid(reply, unknown)
  const outcome = await submit(
    context,
    { kind: 'config-apply', actor: actorOf(request, context), expectRevision: expected, document, comment },
    reply,
  )
  return outcome === undefined ? reply : applied(reply, outcome.revision, changes)
}

function applied(reply: FastifyReply, revision: number, changes: readonly Change[]): FastifyReply {
  const result: ApplyResultType = { revision, changed: true, changes }
  return reply.header('etag', `"${revision}"`).send(result)
}

function unchanged(reply: FastifyReply, revision: number): FastifyReply {
  const result: ApplyResultType = { revision, changed: false, changes: [] }
  return reply.header('etag', `"${revision}"`).send(result)
}

export function invalid(reply: FastifyReply, problems: readonly Problem[]): FastifyReply {
  const first = problems[0]
  const where = first === undefined ? '' : `${first.field || 'the document'} ${first.message}`
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
  return problem(reply, 'invalid-document', `Nothing was changed: ${where}${more}.`, {
    problems: problems.slice(0, 100),
  })
}

export function notReady(reply: FastifyReply): FastifyReply {
  return problem(reply, 'not-ready', 'This node has not caught up with the cluster yet.', { retryAfterMs: 1000 })
}

function refusedRead(reply: FastifyReply, { code, detail }: Extract<ReadBarrier, { ok: false }>): FastifyReply {
  const instead = 'Without consistency=linearizable this node answers with what it has applied.'
  return problem(reply, code, `The newest configuration cannot be told: ${detail}. ${instead}`, { retryAfterMs: 1000 })
}

function noRevision(reply: FastifyReply, revision: number): FastifyReply {
  return problem(reply, 'not-found', `There is no revision ${revision}.`)
}

function sendRevision(request: FastifyRequest, reply: FastifyReply, revision: Revision): FastifyReply {
  const etag = `"${revision.revision}"`
  void reply.header('vary', 'accept').header('etag', etag)
  if (request.headers['if-none-match'] === etag) return reply.code(304).send()
  if (wantsYaml(request.headers.accept)) {
    return reply.type('application/yaml; charset=utf-8').serializer(String).send(toYaml(revision.document))
  }
  const { hash, document, author, atEpochMs, comment } = revision
  const view: ConfigViewType = { revision: revision.revision, hash, document, author, atEpochMs, comment }
  return reply.send(view)
}

/** YAML when it is named and JSON is not named before it. */
function wantsYaml(accept: string | undefined): boolean {
  for (const range of (accept ?? '').split(',')) {
    const type = range.split(';')[0]!.trim().toLowerCase()
    if (yamlTypes.includes(type)) return true
    if (type === 'application/json') return false
  }
  return false
}

/** Summaries of revisions never change: each is made once. */
class Summaries {
  readonly #made = new Map<string, RevisionSummaryType>()

  of(revision: Revision, before: Revision | undefined): RevisionSummaryType {
    const key = `${revision.revision} ${revision.hash}`
    const known = this.#made.get(key)
    if (known !== undefined) return known
    // The revision before the oldest one kept is gone, and with it what the oldest one changed.
    const older = revision.revision === 1 ? emptyDocument : before?.document
    const texts =
      older === undefined
        ? []
        : diffDocuments(older, revision.document, maxSummaryLines * 50).map((change) => change.text)
    const shown =
      texts.length > maxSummaryLines
        ? [...texts.slice(0, maxSummaryLines), `… and ${texts.length - maxSummaryLines} more`]
        : texts
    const { hash, author, from, atEpochMs, comment, rolledBackTo } = revision
    const summary = {
      revision: revision.revision,
      hash,
      author,
      from,
      atEpochMs,
      comment,
      rolledBackTo,
      summary: shown,
    }
    this.#made.set(key, summary)
    if (this.#made.size > maxSummaries) this.#made.delete(this.#made.keys().next().value!)
    return summary
  }
}
