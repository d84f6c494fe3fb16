/**
 * Reads the subset of MessagePack that commands and snapshots use: nil, booleans, numbers, text, bytes, arrays, maps.
 * Everything that comes out of the log goes through here, and every node must read the same bytes the same way, so this
 * does not depend on which accelerator a library found on a machine: no extension types, no invalid UTF-8, a fixed depth,
 * no count that the remaining bytes cannot hold. Specification: github.com/msgpack/msgpack/blob/master/spec.md
 */

export const maxDepth = 16

/** The bytes are not what they should be. Internal to this folder: callers turn it into a value. */
export class FormatError extends Error {}

/** One value that fills `data` exactly. Throws `FormatError`. Maps become plain objects; the last of equal keys wins. */
export function decodeMsgpack(data: Uint8Array): unknown {
  const reader = new Reader(data)
  const value = reader.value(0)
  reader.end()
  return value
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Reader {
  readonly #data: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(data: Uint8Array) {
    this.#data = data
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  end(): void {
    if (this.#at !== this.#data.length) throw new FormatError(`${this.#data.length - this.#at} bytes too many`)
  }

  value(depth: number): unknown {
    if (depth > maxDepth) throw new FormatError(`nested deeper than ${maxDepth} levels`)
    const at = this.#take(1)
    const type = this.#data[at]!
    if (type <= 0x7f) return type
    if (type >= 0xe0) return type - 0x100
    if (type <= 0x8f) return this.#map(type & 0x0f, depth)
    if (type <= 0x9f) return this.#array(type & 0x0f, depth)
    if (type <= 0xbf) return this.#text(type & 0x1f)
    switch (type) {
      case 0xc0: return null
      case 0xc2: return false
      case 0xc3: return true
      case 0xc4: return this.#bytes(this.#uint(1))
      case 0xc5: return this.#bytes(this.#uint(2))
      case 0xc6: return this.#bytes(this.#uint(4))
      case 0xca: return this.#view.getFloat32(this.#take(4))
      case 0xcb: return this.#view.getFloat64(this.#take(8))
      case 0xcc: return this.#uint(1)
      case 0xcd: return this.#uint(2)
      case 0xce: return this.#uint(4)
      case 0xcf: return this.#safe(this.#view.getBigUint64(this.#take(8)))
      case 0xd0: return this.#view.getInt8(this.#take(1))
      case 0xd1: return this.#view.getInt16(this.#take(2))
      case 0xd2: return this.#view.getInt32(this.#take(4))
      case 0xd3: return this.#safe(this.#view.getBigInt64(this.#take(8)))
      case 0xd9: return this.#text(this.#uint(1))
      case 0xda: return this.#text(this.#uint(2))
      case 0xdb: return this.#text(this.#uint(4))
      case 0xdc: return this.#array(this.#uint(2), depth)
      case 0xdd: return this.#array(this.#uint(4), depth)
      case 0xde: return this.#map(this.#uint(2), depth)
      case 0xdf: return this.#map(this.#uint(4), depth)
      default: throw new FormatError(`type 0x${type.toString(16)} at byte ${at} is not used`)
    }
  }

  #take(count: number): number {
    const at = this.#at
    if (count > this.#data.length - at) throw new FormatError('ends too early')
    this.#at = at + count
    return at
  }

  #uint(size: 1 | 2 | 4): number {
    const at = this.#take(size)
    if (size === 1) return this.#view.getUint8(at)
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  #safe(value: bigint): number {
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw new FormatError('an integer is too large')
    return number
  }

  #bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#data.slice(at, at + length)
  }

  #text(length: number): string {
    const at = this.#take(length)
    try {
      return utf8.decode(this.#data.subarray(at, at + length))
    } catch {
      throw new FormatError(`the text at byte ${at} is not UTF-8`)
    }
  }

  #array(length: number, depth: number): unknown[] {
    // Each item takes at least one byte: an absurd count is refused before memory is taken for it.
    if (length > this.#data.length - this.#at) throw new FormatError('ends too early')
    const items: unknown[] = []
    for (let index = 0; index < length; index++) items.push(this.value(depth + 1))
    return items
  }

  #map(length: number, depth: number): Record<string, unknown> {
    if (length * 2 > this.#data.length - this.#at) throw new FormatError('ends too early')
    const map: Record<string, unknown> = {}
    for (let index = 0; index < length; index++) {
      const key = this.value(depth + 1)
      if (typeof key !== 'string' || key === '__proto__') throw new FormatError('a key is not a plain text')
      map[key] = this.value(depth + 1)
    }
    return map
  }
}
