/**
 * The part of the configuration document that says how a pool's members share its traffic.
 *
 * What came after the first release has no defaults where it would stand in every document: those that were stored before
 * stay the same, to the byte.
 */
import Type, { type Static } from 'typebox'
import { closed } from './parts.ts'

const fieldOrCookiePattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"

export const balancePatternText: Readonly<Record<string, string>> = {
  [fieldOrCookiePattern]: 'the name of a header field or of a cookie',
}

export const Balance = Type.Union(
  [
    Type.Literal('round-robin'), Type.Literal('least-connections'), Type.Literal('random-two-choices'),
    Type.Literal('least-response-time'), Type.Literal('hash'), Type.Literal('first-available'),
  ],
  {
    default: 'round-robin',
    description:
      'How a member is chosen, by weight. round-robin: in turn. least-connections: the least busy, exact across all workers of a node. random-two-choices: the less busy of two drawn members. least-response-time: the smallest recent latency times open requests. hash: always the same member for the same key, see `hash`. first-available: the first member of the list that is below its `maxConnections`.',
  },
)

const Hash = Type.Object(
  {
    on: Type.Union([Type.Literal('source'), Type.Literal('uri'), Type.Literal('path'), Type.Literal('header'), Type.Literal('cookie')], {
      default: 'source',
      description: 'What the key is: the client’s address, the request target with or without query, a header field or a cookie. A request without that field or cookie goes to any member.',
    }),
    name: Type.Optional(Type.String({ pattern: fieldOrCookiePattern, minLength: 1, maxLength: 128, description: 'header, cookie: its name.' })),
    balanceFactor: Type.Integer({
      minimum: 0, maximum: 10000, default: 0,
      description: 'Most that a member may have of its fair share of the open requests, percent (125: a quarter more); further ones go to the next member. 0: no bound.',
    }),
  },
  { ...closed, description: 'hash: what is hashed (consistently, by Maglev: a change of the members moves few keys). Left out: the source address.' },
)

/** The fields of a pool beside `balance`. */
export const poolBalanceFields = {
  hash: Type.Optional(Hash),
  dynamicWeights: Type.Optional(
    Type.Boolean({ description: 'Members that are slower than the others, or that fail, get less than their weight (down to an eighth), as measured each second. Left out: false.' }),
  ),
  minimumMembers: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 4096, description: 'Members of the next `priority` join in while fewer than this are available in those before. Left out: 1.' }),
  ),
}

/** The fields of a member that concern its share. */
export const memberBalanceFields = {
  maxConnections: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 1000000, description: 'Most requests (http) or connections (tcp) at once on one node. Left out or 0: no limit.' }),
  ),
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 255, description: 'Priority group, lower first: see `minimumMembers` of the pool. Left out: 0.' })),
  backup: Type.Optional(Type.Boolean({ description: 'Gets traffic only while no other member is available. Left out: false.' })),
}

export type Balance = Static<typeof Balance>
export type HashOn = Static<typeof Hash>['on']
