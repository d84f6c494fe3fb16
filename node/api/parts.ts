/**
 * VIPs, pools and listeners one by one. A change of one is a change of the document: it needs the document's revision in
 * If-Match, is checked as a whole document, and makes a revision.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { type Static, Type } from 'typebox'
import { validateDocument } from '../config/validate.ts'
import { precondition } from './change.ts'
import { applyDocument, ifMatchHeader, invalid, maxDocumentBytes } from './config.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { ApplyResult, CommentQuery, NameParameter, partReference } from './schemas.ts'

type PartKind = 'vips' | 'pools' | 'listeners'
const kinds: readonly { readonly kind: PartKind; readonly one: string }[] = [
  { kind: 'vips', one: 'VIP' },
  { kind: 'pools', one: 'pool' },
  { kind: 'listeners', one: 'listener' },
]

export function partRoutes(app: FastifyInstance, options: RouteOptions): void {
  for (const { kind, one } of kinds) addPart(app, options, kind, one)
}

function addPart(app: FastifyInstance, options: RouteOptions, kind: PartKind, one: string): void {
  const { context } = options
  const tags = ['configuration']
  const state = () => context.state()
  const tagged = (reply: FastifyReply) => reply.header('etag', `"${state().revision}"`)
  const missing = (reply: FastifyReply, name: string) =>
    problem(reply, 'not-found', `There is no ${one} named ${name}.`)

  app.get(
    `/${kind}`,
    {
      config: { access: 'viewer' },
      schema: { tags, summary: `All ${kind}`, response: { 200: Type.Array(Type.Unsafe(partReference[kind])) } },
    },
    (_request, reply) => tagged(reply).send(state().document[kind]),
  )

  app.get<{ Params: Static<typeof NameParameter> }>(
    `/${kind}/:name`,
    {
      config: { access: 'viewer' },
      schema: { tags, summary: `One ${one}`, params: NameParameter, response: { 200: partReference[kind] } },
    },
    (request, reply) => {
      const found = state().document[kind].find((part) => part.name === request.params.name)
      return found === undefined ? missing(reply, request.params.name) : tagged(reply).send(found)
    },
  )

  app.put<{ Params: Static<typeof NameParameter>; Querystring: Static<typeof CommentQuery> }>(
    `/${kind}/:name`,
    {
      config: { access: 'operator' },
      bodyLimit: maxDocumentBytes,
      schema: {
        tags,
        summary: `Add or replace a ${one}`,
        description: 'Fields at fault are named from the root of the document. The name may be left out of the body.',
        params: NameParameter,
        querystring: CommentQuery,
        headers: ifMatchHeader,
        body: partReference[kind],
        response: { 200: ApplyResult },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const expected = await precondition(request, reply, context)
      if (expected === undefined) return reply
      const value = request.body
      const parts: readonly unknown[] = state().document[kind]
      const at = state().document[kind].findIndex((part) => part.name === name)
      const index = at < 0 ? parts.length : at
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        return invalid(reply, [{ field: `/${kind}/${index}`, message: 'must be an object' }])
      }
      const given = 'name' in value ? value.name : name
      if (given !== name) {
        return invalid(reply, [
          {
            field: `/${kind}/${index}/name`,
            message: `must be ${name}, as in the path: to rename, change the whole document`,
          },
        ])
      }
      const changed = validateDocument({ ...state().document, [kind]: parts.toSpliced(index, 1, { ...value, name }) })
      if (!changed.ok) return invalid(reply, changed.problems)
      return applyDocument(request, reply, options, expected, changed.document, request.query.comment ?? '')
    },
  )

  app.delete<{ Params: Static<typeof NameParameter>; Querystring: Static<typeof CommentQuery> }>(
    `/${kind}/:name`,
    {
      config: { access: 'operator' },
      schema: {
        tags,
        summary: `Remove a ${one}`,
        params: NameParameter,
        querystring: CommentQuery,
        headers: ifMatchHeader,
        response: { 200: ApplyResult },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const expected = await precondition(request, reply, context)
      if (expected === undefined) return reply
      const before = state().document
      if (!before[kind].some((part) => part.name === name)) return missing(reply, name)
      const changed = validateDocument({ ...before, [kind]: before[kind].filter((part) => part.name !== name) })
      if (!changed.ok) {
        // The document was valid before: what is wrong now is that something still refers to what is gone.
        return problem(
          reply,
          'in-use',
          `The ${one} ${name} is still in use: ${changed.problems[0]?.field ?? ''} refers to it. Nothing was changed.`,
          { problems: changed.problems.slice(0, 100) },
        )
      }
      return applyDocument(request, reply, options, expected, changed.document, request.query.comment ?? '')
    },
  )
}
