/**
 * What an import gathers: the parts of a configuration document, and a note for each line that could not be taken over, means
 * something else here, or is not needed. Pure.
 */
import { readAddress } from '../../config/address.ts'
import { headerValuePattern, headerNamePattern } from '../../config/health-schema.ts'
import { compilePattern } from '../../config/pattern.ts'

/** `skipped`: has no counterpart here. `differs`: taken over, but not the same in every case. `needless`: done by itself here. */
export type NoteKind = 'skipped' | 'differs' | 'needless'

export interface Note {
  readonly kind: NoteKind
  /** 1-based, of the imported file. */
  readonly line: number
  readonly text: string
  readonly why: string
}

/** A line of the imported file. */
export interface Source {
  readonly line: number
  readonly text: string
}

/** Parts of the document as plain values; the whole is validated at last. */
export type Part = Record<string, unknown>

export interface CertificateNeed {
  readonly name: string
  readonly file: string
  readonly keyFile: string | undefined
  /** To verify others with, in place of a certificate with its key. */
  readonly authority: boolean
}

export class Draft {
  readonly notes: Note[] = []
  readonly pools: Part[] = []
  readonly listeners: Part[] = []
  readonly accessLists: Part[] = []
  /** What must be in the store before the document is applied. */
  readonly certificates = new Map<string, CertificateNeed>()
  readonly #names = new Map<string, string>()
  readonly #taken = new Set<string>()
  readonly #noted = new Set<string>()

  /** The same note for the same line is made once: a line of defaults is read for each section that it applies to. */
  note(kind: NoteKind, source: Source, why: string): void {
    const key = `${source.line} ${why}`
    if (this.#noted.has(key)) return
    this.#noted.add(key)
    this.notes.push({ kind, line: source.line, text: source.text.trim().slice(0, 200), why })
  }

  /** The name of an object here for its name there; the same for the same `kind` and name, and no other's. */
  name(kind: string, text: string): string {
    const key = `${kind} ${text}`
    const known = this.#names.get(key)
    if (known !== undefined) return known
    const name = this.fresh(kind, text)
    this.#names.set(key, name)
    return name
  }

  /** A name that nothing of this kind has yet. */
  fresh(kind: string, text: string): string {
    const plain = plainName(text) || kind
    let name = plain
    for (let i = 2; this.#taken.has(`${kind} ${name}`); i++) name = `${plain}-${i}`
    this.#taken.add(`${kind} ${name}`)
    return name
  }

  /** Name of the certificate in a file. */
  certificate(file: string, keyFile: string | undefined = undefined): string {
    return this.#need(file, keyFile, false)
  }

  /** Name of the authority in a file. */
  authority(file: string): string {
    return this.#need(file, undefined, true)
  }

  #need(file: string, keyFile: string | undefined, authority: boolean): string {
    const parts = file.split('/').filter((part) => part !== '')
    const last = parts.at(-1) ?? 'certificate'
    // Certbot's are all called fullchain.pem, in a directory that is called after the site.
    const base = /^(fullchain|cert|chain|privkey|server|tls)\d*\.(pem|crt|cer)$/i.test(last) && parts.length > 1 ? parts.at(-2)! : last
    const name = this.name('certificate', `${base.replace(/\.(pem|crt|cer|key)$/i, '')}${authority ? ' authority' : ''}`)
    const known = this.certificates.get(name)
    this.certificates.set(name, { name, file, keyFile: keyFile ?? known?.keyFile, authority })
    return name
  }

  /** A named access list. */
  accessList(base: string, prefixes: readonly string[]): string {
    const name = this.fresh('list', base)
    this.accessLists.push({ name, prefixes })
    return name
  }

  document(): Part {
    return {
      haechi: 1,
      ...(this.accessLists.length === 0 ? {} : { accessLists: this.accessLists }),
      pools: this.pools,
      listeners: this.listeners,
    }
  }
}

/** Lower-case letters, digits and hyphens; may be empty. */
export function plainName(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '-').slice(0, 50).replace(/^-+|-+$/g, '')
}

/** Names within one object. */
export class Names {
  readonly #taken = new Set<string>()

  fresh(text: string, otherwise: string): string {
    const plain = plainName(text) || otherwise
    let name = plain
    for (let i = 2; this.#taken.has(name); i++) name = `${plain}-${i}`
    this.#taken.add(name)
    return name
  }
}

const dayMs = 24 * 3600_000

/** Milliseconds as a duration of the document, within bounds (both inclusive). */
export function duration(ms: number, maximumMs: number = 24 * dayMs, minimumMs = 1): string {
  const whole = Math.min(maximumMs, Math.max(minimumMs, Math.round(ms)))
  if (whole === 0) return '0s'
  if (whole % 3600_000 === 0) return `${whole / 3600_000}h`
  if (whole % 60_000 === 0) return `${whole / 60_000}m`
  return whole % 1000 === 0 ? `${whole / 1000}s` : `${whole}ms`
}

/** A whole number within bounds; undefined: the text is none. */
export function whole(text: string | undefined, minimum: number, maximum: number): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Math.min(maximum, Math.max(minimum, Number(text))) : undefined
}

/** What is wrong with a pattern, to complete “the regular expression …”; undefined: nothing. */
export function patternFault(pattern: string): string | undefined {
  if (pattern === '') return 'is empty'
  if (pattern.length > 512) return 'is longer than 512 characters'
  if (!/^[ -~]*$/.test(pattern)) return 'has other characters than printable ASCII'
  const result = compilePattern(pattern)
  return result.ok ? undefined : result.error
}

/** Groups of a pattern that is good. */
export function groupsOf(pattern: string): number {
  const result = compilePattern(pattern)
  return result.ok ? result.pattern.groups : 0
}

/** An address as it is written in the document, or undefined for a name. */
export function addressOf(text: string): string | undefined {
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  if (bare === 'localhost') return '127.0.0.1'
  const read = readAddress(bare)
  return read.ok ? read.address : undefined
}

/** `host:port`, `[v6]:port` or a host alone. */
export function hostAndPort(text: string): { readonly host: string; readonly port: string | undefined } {
  const match = /^(\[[^\]]*\]|[^:]*|::):([0-9]{1,5}(?:-[0-9]{1,5})?)$/.exec(text)
  return match === null ? { host: text, port: undefined } : { host: match[1]!, port: match[2]! }
}

const isHeaderName = new RegExp(headerNamePattern)
const isHeaderValue = new RegExp(headerValuePattern)
const hop = ['connection', 'keep-alive', 'proxy-connection', 'trailer', 'transfer-encoding', 'content-length', 'upgrade', 'via']
const kept = { request: new Set([...hop, 'host', 'te', 'expect', 'x-forwarded-for', 'x-forwarded-proto']), response: new Set(hop) }

/** Why a header field cannot be set to a value (or be removed: no value); undefined: it can. */
export function headerFault(name: string, value: string | undefined, of: 'request' | 'response'): string | undefined {
  if (!isHeaderName.test(name) || name.length > 128) return 'this is no name of a header field'
  if (kept[of].has(name.toLowerCase())) return `${name} is written by Haechi itself`
  if (value !== undefined && (!isHeaderValue.test(value) || value.length > 1024)) return 'values of header fields are of printable ASCII characters, 1024 at most'
  return undefined
}

/** Fields of a part that are given. */
export function given(part: Record<string, unknown>): Part {
  return Object.fromEntries(Object.entries(part).filter(([, value]) => value !== undefined))
}
