/**
 * The session table: which clients persistence keeps on which members. Values of cookies and header fields are known by their hashes
 * alone; who knows a value can look for it.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Static } from 'typebox'
import { parseEntryKey } from '../sessions/keys.ts'
import type { SessionUpdate } from '../state/types.ts'
import { submit } from './change.ts'
import type { NodeContext } from './context.ts'
import { actorOf } from './guard.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { SessionEntriesView, SessionFilter, SessionPurgeQuery, SessionPurgeView, SessionQuery } from './schemas.ts'
import type { SessionEntriesView as Page, SessionEntryView } from './types.ts'

/** Places of the table that are looked at without a break. */
const slice = 10_000
/** Entries that one command removes. */
const purgeBatch = 2000

/** Requests that look through the table at the same time: each takes a slice of every turn of the event loop. */
const maxScans = 4

type Filter = Static<typeof SessionFilter>

export function sessionTableRoutes(app: FastifyInstance, { context, log }: RouteOptions): void {
  let scans = 0
  /** Rejects (429) when there are too many. */
  const scan = async <T>(look: () => Promise<T>): Promise<T> => {
    if (scans >= maxScans) throw Object.assign(new Error('The session table is being looked through for too many others.'), { statusCode: 429, retryAfterMs: 1000 })
    scans++
    try {
      return await look()
    } finally {
      scans--
    }
  }

  app.get<{ Querystring: Static<typeof SessionQuery> }>(
    '/sessions',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['session table'],
        summary: 'Clients that persistence keeps on members',
        description:
          'A page of the replicated session table, in no particular order. Source addresses are readable; of cookies and header fields there is a hash. Inserted cookies have no entries.',
        querystring: SessionQuery,
        response: { 200: SessionEntriesView },
      },
    },
    async (request, reply) => {
      const matches = matcher(context, request.query, reply)
      return matches === undefined ? reply : await scan(() => page(context, matches, request.query.after ?? 0, request.query.limit ?? 50))
    },
  )

  app.delete<{ Querystring: Static<typeof SessionPurgeQuery> }>(
    '/sessions',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['session table'],
        summary: 'Forget clients: their next connections go where the balancing sends them',
        description: 'Removes the entries that match on all nodes. Needs a filter, or `all=true`. Entries that are set meanwhile may stay.',
        querystring: SessionPurgeQuery,
        response: { 200: SessionPurgeView },
      },
    },
    async (request, reply) => {
      const { all, ...filter } = request.query
      if (all !== true && Object.values(filter).every((value) => value === undefined)) {
        return problem(reply, 'invalid-request', 'Nothing was removed: say which entries, or all=true.', {
          problems: [{ field: '/querystring', message: 'names no entries' }],
        })
      }
      const matches = matcher(context, filter, reply)
      if (matches === undefined) return reply
      const entries = await scan(() => collect(context, matches))
      const actor = actorOf(request, context)
      const what = describe(filter)
      log('info', 'sessions.purge', { user: actor.name, from: actor.from, entries: entries.length, what })
      if (entries.length === 0) return { removed: 0 }
      // First, so that no entry goes without a record of who wanted it.
      const detail = `${entries.length} entries of the session table: ${what}`
      if ((await submit(context, { kind: 'audit', actor, action: 'sessions.purge', detail }, reply)) === undefined) return reply
      for (let at = 0; at < entries.length; at += purgeBatch) {
        const outcome = await submit(context, { kind: 'sessions', actor, entries: entries.slice(at, at + purgeBatch) }, reply)
        if (outcome === undefined) return reply
      }
      return { removed: entries.length }
    },
  )
}

function describe(filter: Filter): string {
  const { pool, member, client, key, value } = filter
  const parts = [
    pool === undefined ? '' : `pool ${pool}`, member === undefined ? '' : `member ${member}`, client === undefined ? '' : `client ${client}`, key === undefined ? '' : `key ${key}…`, value === undefined ? '' : 'one value',
  ]
  return parts.filter((part) => part !== '').join(', ') || 'all'
}

type Matches = (update: SessionUpdate) => boolean

/** Undefined: the request has been answered. */
function matcher(context: NodeContext, { pool, member, client, key, value }: Filter, reply: FastifyReply): Matches | undefined {
  const refuse = (field: string, message: string): undefined => {
    problem(reply, 'invalid-request', `The filter ${field} ${message}.`, { problems: [{ field: `/querystring/${field}`, message }] })
    return undefined
  }
  if (pool === undefined && member !== undefined) return refuse('member', 'needs a pool')
  if (pool === undefined && value !== undefined) return refuse('value', 'needs a pool')
  let exact: string | undefined
  if (value !== undefined) {
    exact = context.sessionTable()?.keyOfValue(pool!, value)
    if (exact === undefined) return refuse('pool', 'has no persistence with entries')
  }
  const owner = member === undefined ? undefined : `${pool}/${member}`
  const poolPrefix = pool === undefined ? '' : `${pool}/`
  return (update) => {
    if (exact !== undefined && update.key !== exact) return false
    if (owner !== undefined && update.member !== owner) return false
    if (!update.key.startsWith(poolPrefix)) return false
    if (key === undefined && client === undefined) return true
    const text = update.key.indexOf('/', update.key.indexOf('/') + 1) + 1
    if (client !== undefined && (update.key.length !== text + client.length || !update.key.endsWith(client))) return false
    return key === undefined || update.key.startsWith(key, text)
  }
}

async function page(context: NodeContext, matches: Matches, after: number, limit: number): Promise<Page> {
  const state = context.state()
  const table = context.sessionTable()
  const entries: SessionEntryView[] = []
  let from = after
  while (from >= 0 && entries.length < limit) {
    from = state.scanSessions(from, slice, (update) => !matches(update) || entries.push(view(update, table)) < limit)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { entries, next: from < 0 ? null : from, total: state.sessionCount }
}

function view({ key, member }: SessionUpdate, table: ReturnType<NodeContext['sessionTable']>): SessionEntryView {
  const parsed = parseEntryKey(key)
  return {
    key,
    pool: parsed?.pool ?? '',
    type: parsed?.type ?? '',
    client: parsed?.text ?? key,
    member: parsed !== undefined && member.startsWith(`${parsed.pool}/`) ? member.slice(parsed.pool.length + 1) : member,
    remainingMs: table?.remainingMs(key) ?? null,
  }
}

async function collect(context: NodeContext, matches: Matches): Promise<SessionUpdate[]> {
  const found: SessionUpdate[] = []
  for (let from = 0; from >= 0; ) {
    from = context.state().scanSessions(from, slice, (update) => {
      if (matches(update)) found.push({ key: update.key, member: update.member, ttlMs: 0 })
    })
    await new Promise((resolve) => setImmediate(resolve))
  }
  return found
}
