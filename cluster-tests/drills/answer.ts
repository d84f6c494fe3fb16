/** Reads the small answers of the lab's backends as they come through Haechi. Pure. */

export interface Answer {
  /** Node that answered, from the pseudonym in `Via` (RFC 9110 §7.6.3); empty when the answer names none. */
  readonly node: string
  /** The body: the name of the backend. */
  readonly backend: string
}

/** A complete answer with status 200, or undefined as long as (or because) it is none. */
export function readAnswer(text: string): Answer | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0 || !/^HTTP\/1\.[01] 200 /.test(text)) return undefined
  const headers = text.slice(0, end)
  const length = /\r\ncontent-length: *(\d+)/i.exec(headers)?.[1]
  const body = text.slice(end + 4)
  if (length === undefined || body.length < Number(length)) return undefined
  return { node: /\r\nvia: *1\.[01] ([^\s,]+)/i.exec(headers)?.[1] ?? '', backend: body.slice(0, Number(length)).trim() }
}
