/** The cluster: its state, its nodes, who may join, planned hand-overs, the audit log, metrics. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { encodeJoinToken } from '../../consensus/token.ts'
import { metricsContentType } from '../observe/metrics.ts'
import type { Outcome } from '../state/types.ts'
import { refused, submit } from './change.ts'
import { actorOf } from './guard.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import {
  AuditView,
  ClusterOverview,
  HandOverBody,
  Health,
  JoinToken,
  NodeParameter,
  NodeView,
  PageQuery,
  TokenBody,
} from './schemas.ts'
import type { AuditView as AuditViewType, JoinToken as JoinTokenType } from './types.ts'

export function clusterRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { context, log } = options

  app.get(
    '/health',
    {
      config: { access: 'public' },
      schema: { tags: ['cluster'], summary: 'Whether this node answers', response: { 200: Health } },
    },
    () => ({ ok: true }),
  )

  app.get(
    '/status',
    {
      config: { access: 'viewer' },
      schema: { tags: ['cluster'], summary: 'Overview of the cluster', response: { 200: ClusterOverview } },
    },
    () => context.overview(true),
  )

  app.get(
    '/nodes',
    {
      config: { access: 'viewer' },
      schema: { tags: ['cluster'], summary: 'All nodes', response: { 200: Type.Array(NodeView) } },
    },
    () => context.overview(false).nodes,
  )

  app.post<{ Body: Static<typeof TokenBody> }>(
    '/nodes/tokens',
    {
      config: { access: 'administrator' },
      schema: {
        tags: ['cluster'],
        summary: 'A one-time token with which a machine joins the cluster',
        description: 'Shown once; the cluster keeps only a hash of it.',
        body: TokenBody,
        response: { 201: JoinToken },
      },
    },
    async (request, reply) => {
      const { role, ttlMinutes } = request.body
      const expiresEpochMs = Date.now() + (ttlMinutes ?? 60) * 60_000
      const secret = randomBytes(32).toString('base64url')
      const outcome = await submit(
        context,
        {
          kind: 'token-create',
          actor: actorOf(request, context),
          tokenId: randomUUID(),
          secretHash: createHash('sha256').update(secret).digest('hex'),
          role,
          expiresEpochMs,
        },
        reply,
      )
      if (outcome === undefined) return reply
      const { caFingerprint, addresses } = context.joinAnchor()
      const clusterId = context.heart()?.consensus.clusterId ?? context.overview(false).clusterId
      const result: JoinTokenType = {
        token: encodeJoinToken({ clusterId, caFingerprint, secret, addresses }),
        role,
        expiresEpochMs,
      }
      return reply.code(201).send(result)
    },
  )

  app.delete<{ Params: Static<typeof NodeParameter> }>(
    '/nodes/:id',
    {
      config: { access: 'administrator' },
      schema: {
        tags: ['cluster'],
        summary: 'Remove a node from the cluster',
        params: NodeParameter,
        response: { 204: { type: 'null' } },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const nodes = context.overview(false).nodes
      const node = nodes.find((candidate) => candidate.id === id)
      if (node === undefined) return problem(reply, 'not-found', `There is no node named ${id}.`)
      if (
        node.role === 'node' &&
        nodes.filter((candidate) => candidate.role === 'node' && candidate.voter).length <= 1 &&
        node.voter
      ) {
        return problem(reply, 'last-node', `${id} is the last node that serves; a cluster needs one.`)
      }
      if ((await record('node.remove', id, request, reply)) === undefined) return reply
      const result = await context.removeNode(id)
      if (!result.ok) return refused(reply, result)
      return reply.code(204).send()
    },
  )

  app.post<{ Body: Static<typeof HandOverBody> }>(
    '/hand-over',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['cluster'],
        summary: 'Planned switchover: another node takes the VIPs',
        body: HandOverBody,
        response: { 200: Type.Object({ ok: Type.Literal(true) }) },
      },
    },
    async (request, reply) => {
      const to = request.body?.to ?? ''
      const nodes = context.overview(false).nodes
      const target = nodes.find((node) => node.id === to)
      if (to !== '' && target === undefined) {
        return problem(reply, 'invalid-request', `There is no node named ${to}.`, {
          problems: [{ field: '/to', message: 'is not a node' }],
        })
      }
      if (target?.role === 'witness') {
        return problem(reply, 'invalid-request', `${to} is a witness and never holds a VIP.`, {
          problems: [{ field: '/to', message: 'is a witness' }],
        })
      }
      if (
        (await record('cluster.hand-over', to === '' ? 'to the best other node' : `to ${to}`, request, reply)) ===
        undefined
      )
        return reply
      const result = await context.handOver(to)
      if (!result.ok) return problem(reply, 'hand-over-refused', `Nothing was handed over: ${result.detail}.`)
      return { ok: true }
    },
  )

  app.get<{ Querystring: Static<typeof PageQuery> }>(
    '/audit',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['cluster'],
        summary: 'Audit log, newest first',
        querystring: PageQuery,
        response: { 200: Type.Array(AuditView) },
      },
    },
    (request): readonly AuditViewType[] => context.state().audit(request.query.before, request.query.limit ?? 50),
  )

  /** Recorded before it is done: afterwards the leader may be gone, and an audit log with gaps is none. */
  function record(
    action: string,
    detail: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<Outcome | undefined> {
    const actor = actorOf(request, context)
    log('info', action, { user: actor.name, from: actor.from, detail })
    return submit(context, { kind: 'audit', actor, action, detail }, reply)
  }
}

/** Also at /metrics without a prefix, where scrapers look. */
export function metricsRoute(app: FastifyInstance, { context }: RouteOptions): void {
  app.get(
    '/metrics',
    {
      config: { access: 'metrics' },
      schema: {
        tags: ['cluster'],
        summary: 'Metrics of this node for Prometheus',
        response: { 200: { type: 'string' } },
      },
    },
    (_request, reply) => reply.type(metricsContentType).serializer(String).send(context.metrics()),
  )
}
