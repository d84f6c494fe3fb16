/** Bytes as the configuration writes them: printable ASCII, the rest as `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH`. Pure. */

const named: Readonly<Record<string, number>> = { r: 13, n: 10, t: 9, '0': 0, '\\': 92 }

/** @param text as the schema's pattern lets it through */
export function bytesOf(text: string): Uint8Array {
  const bytes: number[] = []
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '\\') bytes.push(text.charCodeAt(at))
    else if (text[at + 1] === 'x') {
      bytes.push(Number.parseInt(text.slice(at + 2, at + 4), 16))
      at += 3
    } else {
      at++
      bytes.push(named[text[at] ?? '']!)
    }
  }
  return Uint8Array.from(bytes)
}

/** Whether an answer begins as expected: yes, no, or more has to come. */
export function beginsWith(received: Uint8Array, expected: Uint8Array): 'yes' | 'no' | 'more' {
  const { length } = expected
  for (let at = 0; at < length; at++) {
    if (at === received.length) return 'more'
    if (received[at] !== expected[at]) return 'no'
  }
  return 'yes'
}
