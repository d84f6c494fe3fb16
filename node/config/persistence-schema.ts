/**
 * The part of the configuration document that says what keeps a client on one member: an inserted cookie, a cookie of the
 * application, its source address, or a header field. Left out where there is none: documents that were stored before stay the same.
 */
import Type, { type Static } from 'typebox'
import { closed, Duration } from './parts.ts'

/** RFC 6265 §4.1.1 (token of RFC 9110 §5.6.2). */
const cookieNamePattern = "^[!#$%&'*+.^_`|~A-Za-z0-9-]+$"
/** RFC 9110 §5.1. */
const fieldNamePattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
const cookiePathPattern = '^/[!-:<-~]*$'
const cookieDomainPattern = '^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$'

export const persistencePatternText: Readonly<Record<string, string>> = {
  [cookieNamePattern]: 'the name of a cookie: letters, digits and !#$%&\'*+.^_`|~-',
  [fieldNamePattern]: 'the name of a header field, such as "X-Session"',
  [cookiePathPattern]: 'a path that starts with "/", without spaces and semicolons',
  [cookieDomainPattern]: 'a domain such as "example.com"',
}

export const persistenceDurationLimits = {
  ttl: { minimumMs: 1000, maximumMs: 24 * 24 * 3600_000 },
  maxAge: { minimumMs: 0, maximumMs: 24 * 24 * 3600_000 },
} as const

/** Entries of all pools together: what the session table holds. */
export const maxSessionEntries = 1_000_000

const InsertedCookie = Type.Object(
  {
    path: Type.String({ default: '/', pattern: cookiePathPattern, maxLength: 256, description: 'Path attribute.' }),
    domain: Type.Optional(Type.String({ pattern: cookieDomainPattern, maxLength: 253, description: 'Domain attribute. Left out: the cookie is for the host of the request alone.' })),
    maxAge: Duration('0s', 'Max-Age attribute, whole seconds. 0s: until the browser is closed.'),
    secure: Type.Union([Type.Literal('auto'), Type.Literal('always'), Type.Literal('never')], {
      default: 'auto',
      description: 'Secure attribute. auto: when the listener speaks TLS.',
    }),
    httpOnly: Type.Boolean({ default: true, description: 'HttpOnly attribute: scripts of the page cannot read the cookie.' }),
    sameSite: Type.Union([Type.Literal('lax'), Type.Literal('strict'), Type.Literal('none'), Type.Literal('unset')], {
      default: 'lax',
      description: 'SameSite attribute. unset: none is written.',
    }),
    toMember: Type.Boolean({ default: false, description: 'Whether the member sees the cookie. By default it is taken out of requests.' }),
  },
  { ...closed, default: {}, description: 'type cookie: the attributes of the cookie that Haechi sets.' },
)

const Persistence = Type.Object(
  {
    type: Type.Union([Type.Literal('none'), Type.Literal('cookie'), Type.Literal('app-cookie'), Type.Literal('source'), Type.Literal('header')], {
      default: 'none',
      description:
        'cookie: Haechi sets an authenticated cookie that names the member; nothing is stored. app-cookie: a cookie that the member sets. source: the address of the client. header: the value of a header field. All but cookie use the session table, which all nodes share. tcp and udp listeners can use source alone.',
    }),
    cookieName: Type.Optional(Type.String({ pattern: cookieNamePattern, minLength: 1, maxLength: 128, description: 'cookie: name of the cookie; left out: `haechi-` and the name of the pool. app-cookie: name of the application’s cookie, such as JSESSIONID.' })),
    header: Type.Optional(Type.String({ pattern: fieldNamePattern, minLength: 1, maxLength: 128, description: 'header: name of the header field.' })),
    ttl: Duration('30m', 'app-cookie, source, header: how long an entry lives after the client was last seen.'),
    maxEntries: Type.Integer({ minimum: 1, maximum: maxSessionEntries, default: 100_000, description: 'app-cookie, source, header: most entries of this pool; at most 1,000,000 in all pools together. When there are as many, further clients are served without being remembered.' }),
    ipv6PrefixLength: Type.Integer({ minimum: 32, maximum: 128, default: 64, description: 'source: IPv6 clients with the same first bits count as one; 64 is one network, within which clients change their addresses.' }),
    cookie: InsertedCookie,
  },
  { ...closed, description: 'What keeps a client on one member. When that member is down or disabled, another is chosen and kept from then on. Left out: nothing does.' },
)
export type Persistence = Static<typeof Persistence>

export const poolPersistenceFields = { persistence: Type.Optional(Persistence) } as const
