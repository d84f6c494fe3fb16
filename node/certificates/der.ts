/**
 * As much of DER (ITU-T X.690) as is needed to look into OCSP responses, revocation lists and encrypted keys: definite
 * lengths, low tag numbers. Nothing is copied, and nothing is believed that the bytes do not hold.
 */

export interface DerValue {
  /** Identifier octet, such as 0x30 for SEQUENCE. */
  readonly tag: number
  readonly content: Uint8Array
  /** Identifier, length and content. */
  readonly whole: Uint8Array
}

export const tags = {
  integer: 0x02, octetString: 0x04, oid: 0x06, enumerated: 0x0a, utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30, set: 0x31,
} as const

/** All values in `data`, one after the other; undefined when that is not what it is. */
export function readDer(data: Uint8Array): DerValue[] | undefined {
  const values: DerValue[] = []
  let at = 0
  while (at < data.length) {
    const start = at
    const tag = data[at++]!
    if ((tag & 0x1f) === 0x1f) return undefined
    let length = data[at++]
    if (length === undefined) return undefined
    if (length >= 0x80) {
      const octets = length & 0x7f
      if (octets === 0 || octets > 4) return undefined
      length = 0
      for (let i = 0; i < octets; i++) {
        const octet = data[at++]
        if (octet === undefined) return undefined
        length = length * 256 + octet
      }
    }
    if (length > data.length - at) return undefined
    values.push({ tag, content: data.subarray(at, at + length), whole: data.subarray(start, at + length) })
    at += length
  }
  return values
}

/** The values inside of `value` when it has that tag. */
export function inside(value: DerValue | undefined, tag: number): DerValue[] | undefined {
  return value === undefined || value.tag !== tag ? undefined : readDer(value.content)
}

/** UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them, in milliseconds since the epoch. */
export function readTime(value: DerValue | undefined): number | undefined {
  if (value === undefined) return undefined
  const text = Buffer.from(value.content).toString('latin1')
  const match = value.tag === tags.utcTime ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text)
    : value.tag === tags.generalizedTime ? /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.\d+)?Z$/.exec(text) : null
  if (match === null) return undefined
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number]
  const full = value.tag === tags.utcTime ? (year < 50 ? 2000 : 1900) + year : year
  return Date.UTC(full, month - 1, day, hour, minute, second)
}

/** The numbers of an INTEGER as hexadecimal digits, without leading zeros. */
export function hexOf(value: DerValue): string {
  return Buffer.from(value.content).toString('hex').replace(/^(00)+(?=..)/, '')
}

/** Calls `visit` with every value in `data`, however deep (to `depth`). */
export function walk(data: Uint8Array, visit: (value: DerValue) => void, depth = 12): void {
  if (depth === 0) return
  for (const value of readDer(data) ?? []) {
    visit(value)
    if ((value.tag & 0x20) !== 0) walk(value.content, visit, depth - 1)
  }
}
