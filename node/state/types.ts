/**
 * The replicated state machine's vocabulary: commands in, outcomes out. Commands are msgpack maps with a `kind`.
 * `apply` is total and deterministic: same log, same state, byte for byte, on every node; a command that does not fit
 * yields an outcome with a code and changes nothing but the dedupe record.
 */
import type { ConfigurationDocument } from '../config/schema.ts'
import type { NodeId, Peer } from '../../consensus/core/types.ts'
import type { Support } from './level.ts'

export type UserRole = 'viewer' | 'operator' | 'administrator'

/** Who did it: recorded in the audit log. */
export interface Actor {
  /** User name, or `system`. */
  readonly name: string
  /** Address of the client, or empty. */
  readonly from: string
  /** Node on which the request arrived. */
  readonly node: NodeId
}

interface Base {
  /** Unique per request (random UUID): a command seen twice is applied once. */
  readonly id: string
  readonly actor: Actor
  /** Wall-clock milliseconds since the epoch on the proposing node: for people, never for decisions. */
  readonly atEpochMs: number
  /** Level of the command (`level.ts`); absent: 1. */
  readonly level?: number
}

export type Command = Base &
  (
    | { readonly kind: 'init'; readonly clusterId: string; readonly user: StoredUser; readonly secrets: ClusterSecrets; readonly document: ConfigurationDocument }
    | { readonly kind: 'config-apply'; readonly expectRevision: number; readonly document: ConfigurationDocument; readonly comment: string }
    | { readonly kind: 'config-rollback'; readonly expectRevision: number; readonly toRevision: number; readonly comment: string }
    | { readonly kind: 'user-put'; readonly user: StoredUser }
    | { readonly kind: 'user-delete'; readonly name: string }
    | { readonly kind: 'token-create'; readonly tokenId: string; readonly secretHash: string; readonly role: 'node' | 'witness'; readonly expiresEpochMs: number }
    /** One-time: succeeds for the first caller only. `nowEpochMs` is the leader-side clock of the checking node. */
    | {
        readonly kind: 'token-consume'
        readonly secretHash: string
        readonly peer: Peer
        readonly nowEpochMs: number
        /** Highest level that the joiner understands; absent: 1. */
        readonly commandLevel?: number
      }
    /** From now on commands of levels up to `to` may be in the log. `support`: what each member has announced. */
    | { readonly kind: 'raise-level'; readonly to: number; readonly support: readonly Support[] }
    | { readonly kind: 'audit'; readonly action: string; readonly detail: string }
    | { readonly kind: 'sessions'; readonly entries: readonly SessionUpdate[] }
    /** Adds or replaces. `expect`: index of the entry that it replaces, 0: there is none yet; absent: whatever is there.
     *  `summary`: for the audit log; never anything of a key. Level 2, like all that follow. */
    | { readonly kind: 'certificate-put'; readonly certificate: CertificateContent; readonly summary: string; readonly expect?: number }
    | { readonly kind: 'certificate-remove'; readonly name: string; readonly expect?: number }
    /** A fresh OCSP response of the key pair that was put at index `expect`. Made by itself every few hours: not in the audit log. */
    | { readonly kind: 'ocsp-put'; readonly name: string; readonly expect: number; readonly response: Uint8Array }
    /** The next key of TLS session tickets, sealed; its generation is `expectGeneration` + 1. */
    | { readonly kind: 'ticket-keys'; readonly expectGeneration: number; readonly sealed: Uint8Array }
  )

export interface SessionUpdate {
  readonly key: string
  /** `pool/member` */
  readonly member: string
  /** Remaining lifetime, milliseconds; 0 deletes. */
  readonly ttlMs: number
}

export interface StoredUser {
  readonly name: string
  readonly role: UserRole
  /** `argon2id$m=…,t=…,p=…$salt$hash`, base64url. */
  readonly passwordHash: string
  /** The password must be changed at the next sign-in. */
  readonly mustChangePassword: boolean
  /** Raised at each password or role change: sessions signed before are void. */
  readonly generation: number
}

/** Made at `haechi init`; never leave the nodes. base64url. */
export interface ClusterSecrets {
  /** HMAC key of console sessions. */
  readonly sessionKey: string
}

/** A certificate of the store by its name, as proposed. Texts are PEM. */
export type CertificateContent =
  | {
      readonly kind: 'key-pair'
      readonly name: string
      /** The certificate, then its intermediates. */
      readonly chain: string
      /** The private key, encrypted for the nodes of the cluster (`node/certificates/seal.ts`). */
      readonly sealedKey: Uint8Array
      /** DER, RFC 6960; empty: none. */
      readonly ocspResponse: Uint8Array
      /** Fresh responses are fetched from the responder that the certificate names. */
      readonly ocspFetch: boolean
    }
  | {
      readonly kind: 'authority'
      readonly name: string
      readonly certificates: string
      /** Revocation lists; empty: none. */
      readonly revocations: string
    }

export type StoredCertificate = CertificateContent & {
  /** Raft index of the command that put it: its version. */
  readonly index: number
  readonly atEpochMs: number
}

/** The key of TLS session tickets that all nodes share. */
export interface StoredTicketKeys {
  /** 1 for the first key, rises by one. */
  readonly generation: number
  readonly sealed: Uint8Array
  /** Raft index. */
  readonly index: number
  readonly atEpochMs: number
}

export interface Revision {
  readonly revision: number
  readonly document: ConfigurationDocument
  readonly author: string
  readonly from: string
  readonly atEpochMs: number
  readonly comment: string
  /** Set when it was made by a roll back. */
  readonly rolledBackTo: number | null
  /** SHA-256 of the canonical document, hex. */
  readonly hash: string
}

export interface AuditEntry {
  /** Raft index of the entry: unique and ordered. */
  readonly index: number
  readonly atEpochMs: number
  readonly actor: Actor
  /** Such as `config.apply`, `config.rollback`, `user.put`, `node.add`, `session.sign-in`. */
  readonly action: string
  readonly detail: string
  /** Revision made by it, when it made one. */
  readonly revision: number | null
}

export type OutcomeCode =
  | 'ok' | 'revision-conflict' | 'not-found' | 'invalid' | 'token-invalid' | 'already-initialised' | 'last-administrator' | 'duplicate'
  /** Some member's version does not understand it. */
  | 'not-supported'
  /** The certificate is not the one that was expected. */
  | 'certificate-changed'
export interface Outcome {
  readonly id: string
  readonly index: number
  readonly code: OutcomeCode
  readonly detail: string
  /** Current revision after the command. */
  readonly revision: number
}
