/** Bytes of a client that cannot be used yet. No memory is held while there are none. */

const nothing = Buffer.alloc(0)

export class PendingBytes {
  /** `[0, length)`. */
  bytes: Buffer = nothing
  length = 0

  add(buffer: Buffer, start: number, end: number): void {
    const length = this.length + end - start
    if (this.bytes.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(1024, length * 2))
      this.bytes.copy(grown, 0, 0, this.length)
      this.bytes = grown
    }
    buffer.copy(this.bytes, this.length, start, end)
    this.length = length
  }

  /** The buffer, which is the caller's from here on. */
  take(): Buffer {
    const { bytes } = this
    this.clear()
    return bytes
  }

  clear(): void {
    this.bytes = nothing
    this.length = 0
  }
}
