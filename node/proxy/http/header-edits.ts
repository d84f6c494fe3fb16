/**
 * Header fields that a listener or a route sets and removes, prepared: of a head that is about to be written fields are dropped by
 * marking them, and what is set is appended as bytes that were made when the table came into force.
 */
import { ascii, soundsLike } from './bytes.ts'
import { FieldKind, fieldStride, type Head } from './head.ts'

interface Field {
  readonly name: string
  readonly value: string
}

export class HeaderEdits {
  /** Lower case: what is removed, and what is set anew. */
  readonly #drops: readonly Uint8Array[]
  readonly #adds: Buffer

  constructor(set: readonly Field[], remove: readonly string[]) {
    this.#drops = [...new Set([...remove, ...set.map(({ name }) => name)].map((name) => name.toLowerCase()))].map(ascii)
    this.#adds = ascii(set.map(({ name, value }) => `${name}: ${value}\r\n`).join(''))
  }

  /** Bytes that `append` adds. */
  get size(): number {
    return this.#adds.length
  }

  /** The fields that are set, each with its line end: for answers of Haechi's own. */
  get text(): string {
    return this.#adds.toString('latin1')
  }

  /** Takes what is removed or set out of a parsed head, before it is written. Framing and routing are never marked. */
  drop(head: Head, buffer: Buffer): void {
    const { kinds, fields, count } = head
    for (let i = 0; i < count; i++) {
      if (kinds[i] !== FieldKind.keep) continue
      const start = fields[i * fieldStride]!
      const end = fields[i * fieldStride + 1]!
      for (let j = 0; j < this.#drops.length; j++) {
        if (!soundsLike(buffer, start, end, this.#drops[j]!)) continue
        kinds[i] = FieldKind.hopByHop
        break
      }
    }
  }

  /** Adds what is set to a written head, `target[0, length)`, before its empty line. @returns the new length */
  append(target: Buffer, length: number): number {
    const adds = this.#adds
    if (adds.length === 0) return length
    adds.copy(target, length - 2)
    const end = length - 2 + adds.length
    target[end] = 0x0d
    target[end + 1] = 0x0a
    return end + 2
  }
}

/** Edits of a listener and then of a route; undefined: there are none. What the route says of a name holds. */
export function mergedEdits(listener: EditLists | undefined, route: EditLists | undefined): HeaderEdits | undefined {
  const own = new Set([...(route?.set ?? []).map(({ name }) => name), ...(route?.remove ?? [])].map((name) => name.toLowerCase()))
  const set = [...(listener?.set ?? []).filter(({ name }) => !own.has(name.toLowerCase())), ...(route?.set ?? [])]
  const remove = [...(listener?.remove ?? []), ...(route?.remove ?? [])]
  return set.length + remove.length === 0 ? undefined : new HeaderEdits(set, remove)
}

interface EditLists {
  readonly set: readonly Field[]
  readonly remove: readonly string[]
}
