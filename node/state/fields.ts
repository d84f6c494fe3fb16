/** Typed access to what came out of the log or a snapshot: everything that is kept has the type and size that it should have. */
import { FormatError } from './msgpack.ts'

/** Longest text for people, UTF-16 code units. */
export const maxProse = 4096

/** Typed access to a decoded map. Every method throws `FormatError` when the field is not what it should be. */
export class Fields {
  readonly #map: Readonly<Record<string, unknown>>
  readonly #name: string

  constructor(value: unknown, name: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
      throw new FormatError(`${name} is not a map`)
    }
    this.#map = value as Record<string, unknown>
    this.#name = name
  }

  any(key: string): unknown {
    return Object.hasOwn(this.#map, key) ? this.#map[key] : undefined
  }

  text(key: string, maxLength: number, minLength = 0): string {
    const value = this.any(key)
    if (typeof value !== 'string' || value.length < minLength || value.length > maxLength) {
      throw new FormatError(`${this.#name}: ${key} is not a text of ${minLength} to ${maxLength} characters`)
    }
    return value
  }

  /** For people: what is too long is cut, not refused. */
  prose(key: string): string {
    const value = this.any(key)
    if (typeof value !== 'string') throw new FormatError(`${this.#name}: ${key} is not a text`)
    return value.length <= maxProse ? value : `${value.slice(0, maxProse - 1).toWellFormed()}…`
  }

  /** A whole number from 0 to 2⁵³ − 1. */
  number(key: string): number {
    const value = this.any(key)
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      throw new FormatError(`${this.#name}: ${key} is not a whole number`)
    }
    return value + 0
  }

  flag(key: string): boolean {
    const value = this.any(key)
    if (typeof value !== 'boolean') throw new FormatError(`${this.#name}: ${key} is not true or false`)
    return value
  }

  /** A copy: what the bytes came in may be a part of something large, or be used again. */
  bytes(key: string, maxLength: number, minLength = 0): Uint8Array {
    const value = this.any(key)
    if (!(value instanceof Uint8Array) || value.length < minLength || value.length > maxLength) {
      throw new FormatError(`${this.#name}: ${key} is not ${minLength} to ${maxLength} bytes`)
    }
    return new Uint8Array(value)
  }

  choice<T extends string>(key: string, choices: readonly T[]): T {
    const value = this.any(key)
    const found = choices.find((choice) => choice === value)
    if (found === undefined) throw new FormatError(`${this.#name}: ${key} is not one of ${choices.join(', ')}`)
    return found
  }

  list(key: string, maxItems: number): readonly unknown[] {
    const value = this.any(key)
    if (!Array.isArray(value) || value.length > maxItems) {
      throw new FormatError(`${this.#name}: ${key} is not a list of at most ${maxItems}`)
    }
    return value
  }

  fields(key: string): Fields {
    return new Fields(this.any(key), `${this.#name}.${key}`)
  }
}
