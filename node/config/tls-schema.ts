/**
 * The part of the configuration document about TLS: termination at listeners, and TLS to members. Certificates and keys are not in
 * the document: it names those of the store (or of `haechi run --certificates`).
 */
import Type, { type Static } from 'typebox'
import { closed, durationPattern, Name, namePattern } from './parts.ts'

const alpnPattern = '^[!-~]+$'
const serverNamePattern = '^([A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)?$'

export const tlsPatternText: Readonly<Record<string, string>> = {
  [alpnPattern]: 'the name of a protocol such as "http/1.1"',
  [serverNamePattern]: 'a host name such as "www.example.com", without port',
}

export const tlsDurationLimits = {
  handshakeTimeout: { minimumMs: 100, maximumMs: 600_000 },
} as const

const AuthorityName = (description: string) => Type.Optional(Type.String({ pattern: namePattern, minLength: 1, maxLength: 63, description }))

const Alpn = (description: string) =>
  Type.Array(Type.String({ pattern: alpnPattern, minLength: 1, maxLength: 64 }), { maxItems: 16, default: [], description })

const ClientAuth = Type.Object(
  {
    mode: Type.Union([Type.Literal('none'), Type.Literal('optional'), Type.Literal('required')], {
      default: 'none',
      description: 'none: clients are not asked. optional: one without a certificate is served; one with a certificate that is not good is refused. required: each must have a good one.',
    }),
    authority: AuthorityName('Name of the authority that must have issued the certificate. Its revocation lists, if it has any, are looked at.'),
    forwardHeaders: Type.Boolean({
      default: false,
      description: 'https: members get X-Client-Cert-Verified (SUCCESS or NONE), X-Client-Cert-Subject and X-Client-Cert-Fingerprint (SHA-256, hexadecimal).',
    }),
  },
  { ...closed, default: {}, description: 'Certificates of clients (mutual TLS). Fields named X-Client-Cert-Verified, -Subject and -Fingerprint that a client sends are removed, except from a trusted proxy in front (`forwardedHeaders: append` on a plain listener).' },
)

export const ListenerTls = Type.Object(
  {
    certificates: Type.Array(Name, {
      maxItems: 256,
      default: [],
      description: 'Names of certificates. The one whose names fit the name that the client asks for (SNI) is shown: an exact name first, then a wildcard; else the first of the list.',
    }),
    strictSni: Type.Boolean({ default: false, description: 'Refuse clients that ask for no name, or for one that no certificate has.' }),
    profile: Type.Union([Type.Literal('modern'), Type.Literal('compatible')], {
      default: 'compatible',
      description: 'modern: TLS 1.3 only. compatible: TLS 1.2 too, with ECDHE and AEAD ciphers only.',
    }),
    alpn: Alpn('tcp: protocols offered to clients (ALPN), the preferred one first; a client that offers only others is refused. Empty: ALPN is not answered. https offers http/1.1.'),
    sessionTickets: Type.Boolean({ default: true, description: 'Clients that come back go on with their session, on any node: the ticket keys are the same on all of them.' }),
    clientAuth: ClientAuth,
    handshakeTimeout: Type.String({ pattern: durationPattern, default: '10s', description: 'Longest time for a handshake.' }),
    maxHandshakes: Type.Integer({ minimum: 1, maximum: 100_000, default: 1000, description: 'Handshakes at once by each worker; more connections are refused.' }),
  },
  { ...closed, description: 'https and tcp: TLS ends here. https needs it; on a tcp listener it is a choice.' },
)
export type ListenerTls = Static<typeof ListenerTls>

export const PoolTls = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Whether connections to members are made with TLS.' }),
    verify: Type.Boolean({ default: true, description: 'Whether the certificate of a member must be good. Without it, whoever answers at its address is believed.' }),
    authority: AuthorityName('Name of the authority that must have issued the certificates of members. Left out: those that the system trusts.'),
    serverName: Type.String({
      default: '',
      pattern: serverNamePattern,
      maxLength: 253,
      description: 'Name that is asked for (SNI), and that the certificate must have. Empty: no name is asked for, and the certificate must have the address of the member.',
    }),
    certificate: AuthorityName('Name of the certificate that is shown to members (mutual TLS).'),
    alpn: Alpn('Protocols offered to members (ALPN).'),
    sessionReuse: Type.Boolean({ default: true, description: 'New connections go on with the session of an earlier one: a shorter handshake.' }),
    profile: Type.Union([Type.Literal('modern'), Type.Literal('compatible')], {
      default: 'compatible',
      description: 'modern: TLS 1.3 only. compatible: TLS 1.2 too, with ECDHE and AEAD ciphers only.',
    }),
  },
  { ...closed, description: 'TLS to the members. Left out: none.' },
)
export type PoolTls = Static<typeof PoolTls>

export const listenerTlsFields = { tls: Type.Optional(ListenerTls) }
export const poolTlsFields = { tls: Type.Optional(PoolTls) }
