/**
 * The named certificates of the cluster and the key of TLS session tickets. Only bytes here: what is in them was checked by
 * the node that proposed them, and private keys are ciphertext that this folder cannot open (`../certificates/seal.ts`).
 * Bounded; pure.
 */
import { stateLimits } from './bounded.ts'
import { Fields } from './fields.ts'
import { FormatError } from './msgpack.ts'
import type { CertificateContent, Command, OutcomeCode, StoredCertificate, StoredTicketKeys } from './types.ts'

/** Level of commands from which on there are certificates. */
export const certificateLevel = 2

/** A sealed private key or ticket key, bytes: far more than any needs. */
const maxSealedBytes = 32 * 1024
/** Names as in the configuration document. */
const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** Never changed in place: whoever has read an entry or a list may keep it, and sees a change by its being another one. */
export class CertificateStore {
  readonly #entries = new Map<string, StoredCertificate>()
  readonly #digests = new Map<string, { readonly of: StoredCertificate; readonly digest: string }>()
  #bytes = 0
  #list: readonly StoredCertificate[] | undefined

  get(name: string): StoredCertificate | undefined {
    return this.#entries.get(name)
  }

  /** All, the names in order. The same list until something changes. */
  get list(): readonly StoredCertificate[] {
    this.#list ??= [...this.#entries.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
    return this.#list
  }

  /** Why it cannot be taken, or undefined when it can. */
  refusal(content: CertificateContent): string | undefined {
    const bytes = bytesOf(content)
    const known = this.#entries.get(content.name)
    if (known !== undefined && known.kind !== content.kind) return `${content.name} is of the kind ${words[known.kind]}; remove it first to make it one of the kind ${words[content.kind]}`
    if (known === undefined && this.#entries.size >= stateLimits.certificates) return `there are ${stateLimits.certificates} certificates already`
    const misfit = misfitOf(content)
    if (misfit !== undefined) return misfit
    const total = this.#bytes - (known === undefined ? 0 : bytesOf(known)) + bytes
    if (total > stateLimits.certificatesBytes) return `all certificates together would have ${total} bytes; at most ${stateLimits.certificatesBytes} are taken`
    return undefined
  }

  put(stored: StoredCertificate): void {
    this.remove(stored.name)
    this.#entries.set(stored.name, stored)
    this.#bytes += bytesOf(stored)
  }

  remove(name: string): void {
    const known = this.#entries.get(name)
    this.#list = undefined
    if (known === undefined) return
    this.#entries.delete(name)
    this.#digests.delete(name)
    this.#bytes -= bytesOf(known)
  }

  /** Covers every byte of every entry; each is read once. */
  digest(sha256: (data: Uint8Array) => string): readonly string[] {
    return this.list.map((stored) => {
      const known = this.#digests.get(stored.name)
      if (known?.of === stored) return known.digest
      const digest = sha256(new TextEncoder().encode(JSON.stringify(stored, (_key, value: unknown) => (value instanceof Uint8Array ? hex(value) : value))))
      this.#digests.set(stored.name, { of: stored, digest })
      return digest
    })
  }
}

type CertificateCommand = Extract<Command, { kind: 'certificate-put' | 'certificate-remove' | 'ocsp-put' | 'ticket-keys' }>
interface Parts {
  readonly certificates: CertificateStore
  ticketKeys: StoredTicketKeys | undefined
}
interface Applied {
  readonly code: OutcomeCode
  readonly detail: string
  /** What goes into the audit log; absent: nothing. */
  readonly audit?: { readonly action: string; readonly detail: string }
}

/** Applies one command at a Raft index. What is not `ok` has changed nothing. */
export function applyCertificateCommand(parts: Parts, command: CertificateCommand, index: number): Applied {
  const { certificates, ticketKeys } = parts
  if (command.kind === 'ticket-keys') {
    const generation = ticketKeys?.generation ?? 0
    if (command.expectGeneration !== generation) return changed(`the ticket keys are of generation ${generation}, not ${command.expectGeneration}`)
    parts.ticketKeys = { generation: generation + 1, sealed: command.sealed, index, atEpochMs: command.atEpochMs }
    return done('tls.ticket-keys', `keys of session tickets, generation ${generation + 1}`)
  }
  const name = command.kind === 'certificate-put' ? command.certificate.name : command.name
  const known = certificates.get(name)
  if (command.expect !== undefined && command.expect !== (known?.index ?? 0)) {
    return changed(known === undefined ? `there is no certificate ${name} any more` : `the certificate ${name} has been replaced meanwhile`)
  }
  if (command.kind === 'certificate-put') {
    const refusal = certificates.refusal(command.certificate)
    if (refusal !== undefined) return { code: 'invalid', detail: refusal }
    certificates.put({ ...command.certificate, index, atEpochMs: command.atEpochMs })
    return done('certificate.put', `${words[command.certificate.kind]} ${name} ${known === undefined ? 'added' : 'replaced'}${command.summary === '' ? '' : `\n${command.summary}`}`)
  }
  if (known === undefined) return { code: 'not-found', detail: `there is no certificate ${name}` }
  if (command.kind === 'certificate-remove') {
    certificates.remove(name)
    return done('certificate.remove', `${words[known.kind]} ${name} removed`)
  }
  if (known.kind !== 'key-pair') return { code: 'invalid', detail: `${name} is of the kind ${words[known.kind]}` }
  const fresh = { ...known, ocspResponse: command.response }
  const refusal = certificates.refusal(fresh)
  if (refusal !== undefined) return { code: 'invalid', detail: refusal }
  certificates.put(fresh)
  return { code: 'ok', detail: '' }
}

function changed(detail: string): Applied {
  return { code: 'certificate-changed', detail }
}

function done(action: string, detail: string): Applied {
  return { code: 'ok', detail: '', audit: { action, detail } }
}

/** For texts. */
const words = { 'key-pair': 'key pair', authority: 'authority' } as const

/** What an entry counts for: its texts (ASCII) and bytes. */
function bytesOf(content: CertificateContent): number {
  return content.kind === 'key-pair'
    ? content.chain.length + content.sealedKey.length + content.ocspResponse.length
    : content.certificates.length + content.revocations.length
}

/** Why it is too large for any store, or undefined. To be asked before it is proposed: a command with it might not even be read. */
export function misfitOf(content: CertificateContent): string | undefined {
  const bytes = bytesOf(content)
  if (bytes > stateLimits.certificateBytes) return `it has ${bytes} bytes; at most ${stateLimits.certificateBytes} are taken`
  if (content.kind === 'key-pair' && content.sealedKey.length > maxSealedBytes) return `its key has ${content.sealedKey.length} bytes; at most ${maxSealedBytes} are taken`
  return undefined
}

/** Of a command. Throws `FormatError`. */
export function readCertificate(fields: Fields): CertificateContent {
  const name = fields.text('name', 63, 1)
  if (!namePattern.test(name)) throw new FormatError('certificate: the name is not one')
  const pem = (key: string, minLength: number): string => {
    const text = fields.text(key, stateLimits.certificateBytes, minLength)
    // A character is a byte then, on all nodes alike.
    if (!/^[\n\r\t\x20-\x7e]*$/.test(text)) throw new FormatError(`certificate: ${key} is not ASCII`)
    return text
  }
  const kind = fields.choice('kind', ['key-pair', 'authority'])
  if (kind === 'authority') return { kind, name, certificates: pem('certificates', 1), revocations: pem('revocations', 0) }
  return {
    kind,
    name,
    chain: pem('chain', 1),
    sealedKey: fields.bytes('sealedKey', maxSealedBytes, 1),
    ocspResponse: fields.bytes('ocspResponse', stateLimits.certificateBytes),
    ocspFetch: fields.flag('ocspFetch'),
  }
}

/** Of a snapshot. Throws `FormatError`. */
export function readStoredCertificate(fields: Fields): StoredCertificate {
  return { ...readCertificate(fields), index: fields.number('index'), atEpochMs: fields.number('atEpochMs') }
}

/** Of a command. Throws `FormatError`. */
export function readSealed(fields: Fields): Uint8Array {
  return fields.bytes('sealed', maxSealedBytes, 1)
}

/** Of a snapshot. Throws `FormatError`. */
export function readStoredTicketKeys(fields: Fields): StoredTicketKeys {
  return { generation: fields.number('generation'), sealed: readSealed(fields), index: fields.number('index'), atEpochMs: fields.number('atEpochMs') }
}

/** Absent: whatever is there. */
export function readExpectation(fields: Fields): { readonly expect?: number } {
  return (fields.any('expect') ?? undefined) === undefined ? {} : { expect: fields.number('expect') }
}

function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}
