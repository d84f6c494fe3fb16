/**
 * The simplest readers of HTTP/1.1 messages that the rules allow, on text: what the parsers in place are compared with. Written from
 * RFC 9110 and 9112 and the strictness that node/proxy/README.md states, not from the parsers. Slow and obvious on purpose.
 */

export interface Message {
  /** Bytes of the head, with its empty line. */
  readonly headLength: number
  /** First line, as the parser understood it: `GET /a HTTP/1.1`, `200`. */
  readonly start: string
  readonly host: string
  readonly fields: number
  readonly close: boolean
  readonly upgrade: boolean
  readonly framing: 'none' | 'length' | 'chunked' | 'close'
  readonly body: string
  /** Bytes of head and body together; with `close`: all there is. */
  readonly length: number
}

/** `unfinished`: nothing wrong so far, but not all there. */
export type Reading = Message | 'bad' | 'unfinished'

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const value = /^[\t\x20-\x7e\x80-\xff]*$/
const hostPattern = /^(\[[0-9A-Fa-f:.]+\]|[-._~!$&'()*+;=%0-9A-Za-z]+)(:[0-9]{0,5})?$/

interface Field {
  readonly name: string
  readonly value: string
}

function fieldsOf(lines: readonly string[], limit: number): Field[] | undefined {
  const fields: Field[] = []
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon < 0 || !token.test(line.slice(0, colon)) || !value.test(line.slice(colon + 1))) return undefined
    fields.push({ name: line.slice(0, colon).toLowerCase(), value: line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '') })
  }
  return fields.length > limit ? undefined : fields
}

/** Options of all Connection fields; undefined: one that may not be there. */
function optionsOf(fields: readonly Field[]): string[] | undefined {
  const lists = fields.filter(({ name }) => name === 'connection').map((field) => field.value)
  if (lists.reduce((sum, list) => sum + list.length, 0) > 1024) return undefined
  const options = lists.flatMap((list) => list.split(',')).map((option) => option.replace(/^[ \t]+|[ \t]+$/g, '').toLowerCase()).filter((option) => option !== '')
  const allowed = options.every((option) => token.test(option) && !['host', 'content-length', 'transfer-encoding'].includes(option))
  return allowed ? options : undefined
}

interface Framed {
  readonly chunked: boolean
  /** -1: none. */
  readonly length: number
}

function framingOf(fields: readonly Field[], minor: number): Framed | undefined {
  const lengths = fields.filter(({ name }) => name === 'content-length')
  const codings = fields.filter(({ name }) => name === 'transfer-encoding')
  if (lengths.length > 1 || codings.length > 1) return undefined
  if (lengths.some((field) => !/^[0-9]{1,15}$/.test(field.value))) return undefined
  if (codings.some((field) => field.value.toLowerCase() !== 'chunked')) return undefined
  if (codings.length > 0 && (lengths.length > 0 || minor === 0)) return undefined
  return { chunked: codings.length > 0, length: lengths.length === 0 ? -1 : Number(lengths[0]!.value) }
}

/** Lines of a head at the start of a text; every line ends with CRLF and nothing else. */
function linesOf(text: string): { lines: string[]; length: number } | 'bad' | 'unfinished' {
  const end = text.indexOf('\r\n\r\n')
  const head = end < 0 ? text : text.slice(0, end + 2)
  // A bare LF is seen at once; a bare CR may be the first half of a line end that is still to come.
  if (/(^|[^\r])\n/.test(head) || head.startsWith('\r\n')) return 'bad'
  if (end < 0) return 'unfinished'
  const lines = text.slice(0, end).split('\r\n')
  if (lines.some((line) => /[\r\n]/.test(line))) return 'bad'
  return { lines, length: end + 4 }
}

interface Body {
  readonly text: string
  readonly length: number
}

const forbiddenTrailers = new Set([
  'content-length', 'transfer-encoding', 'host', 'connection', 'trailer', 'upgrade', 'te', 'keep-alive', 'proxy-connection', 'expect',
  'x-forwarded-for', 'x-forwarded-proto',
])

/** RFC 9112 §7.1. A text that ends early is `unfinished` even where its last line could never become right. */
export function readChunked(text: string): Body | 'bad' | 'unfinished' {
  let at = 0
  let data = ''
  for (;;) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd < 0) return 'unfinished'
    const line = /^([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]{0,256})?$/.exec(text.slice(at, lineEnd))
    if (line === null) return 'bad'
    const size = Number.parseInt(line[1]!, 16)
    if (size > Number.MAX_SAFE_INTEGER) return 'bad'
    at = lineEnd + 2
    if (size === 0) break
    if (text.length < at + size + 2) return text.length > at + size && text[at + size] !== '\r' ? 'bad' : 'unfinished'
    if (text.slice(at + size, at + size + 2) !== '\r\n') return 'bad'
    data += text.slice(at, at + size)
    at += size + 2
  }
  for (;;) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd < 0) return 'unfinished'
    const line = text.slice(at, lineEnd)
    at = lineEnd + 2
    if (line === '') return { text: data, length: at }
    const field = fieldsOf([line], 1)?.[0]
    if (field === undefined || forbiddenTrailers.has(field.name)) return 'bad'
  }
}

function bodyOf(text: string, framing: Message['framing'], length: number): Body | 'bad' | 'unfinished' {
  switch (framing) {
    case 'none':
      return { text: '', length: 0 }
    case 'length':
      return text.length < length ? 'unfinished' : { text: text.slice(0, length), length }
    case 'chunked':
      return readChunked(text)
    case 'close':
      return { text, length: text.length }
    default:
      throw new Error(`unknown framing ${String(framing satisfies never)}`)
  }
}

export function readRequest(text: string): Reading {
  const head = linesOf(text)
  if (typeof head === 'string') return head
  const [first = '', ...rest] = head.lines
  const line = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([\x21\x22\x24-\x7e]{1,16384}) HTTP\/1\.([01])$/.exec(first)
  if (line === null || line[1] === 'CONNECT') return 'bad'
  const [, method = '', asked = '', minorText] = line
  const minor = Number(minorText)
  const fields = fieldsOf(rest, 100)
  if (fields === undefined) return 'bad'
  const hosts = fields.filter(({ name }) => name === 'host').map((field) => field.value)
  if (hosts.length > 1 || hosts.some((host) => !hostPattern.test(host)) || (hosts.length === 0 && minor === 1)) return 'bad'
  let host = hosts[0] ?? ''
  let target = asked
  if (asked === '*') {
    if (method !== 'OPTIONS') return 'bad'
  } else if (!asked.startsWith('/')) {
    const absolute = /^http:\/\/([^/?]*)(.*)$/i.exec(asked)
    if (absolute === null || !hostPattern.test(absolute[1]!)) return 'bad'
    if (hosts.length > 0 && hosts[0]!.toLowerCase() !== absolute[1]!.toLowerCase()) return 'bad'
    host = absolute[1]!
    target = absolute[2]!
  }
  const framed = framingOf(fields, minor)
  const options = optionsOf(fields)
  if (framed === undefined || options === undefined) return 'bad'
  if (fields.some((field) => field.name === 'expect' && field.value.toLowerCase() !== '100-continue')) return 'bad'
  const upgrade = options.includes('upgrade') && fields.some(({ name }) => name === 'upgrade') && minor === 1
  if (upgrade && (framed.chunked || framed.length > 0)) return 'bad'
  const framing = framed.chunked ? 'chunked' : framed.length > 0 ? 'length' : 'none'
  const body = bodyOf(text.slice(head.length), framing, framed.length)
  if (typeof body === 'string') return body
  return {
    headLength: head.length, start: `${method} ${target} 1.${minor}`, host, fields: fields.length, close: options.includes('close'), upgrade, framing,
    body: body.text, length: head.length + body.length,
  }
}

/** An answer to GET. */
export function readResponse(text: string): Reading {
  const head = linesOf(text)
  if (typeof head === 'string') return head
  const [first = '', ...rest] = head.lines
  const line = /^HTTP\/1\.([01]) ([1-5][0-9]{2})( [\t\x20-\x7e\x80-\xff]*)?$/.exec(first)
  if (line === null) return 'bad'
  const minor = Number(line[1])
  const status = Number(line[2])
  const fields = fieldsOf(rest, 100)
  if (fields === undefined) return 'bad'
  const framed = framingOf(fields, minor)
  const options = optionsOf(fields)
  if (framed === undefined || options === undefined) return 'bad'
  let framing: Message['framing'] = 'close'
  if (status < 200 || status === 204 || status === 304) framing = 'none'
  else if (framed.chunked) framing = 'chunked'
  else if (framed.length >= 0) framing = framed.length === 0 ? 'none' : 'length'
  const body = bodyOf(text.slice(head.length), framing, framed.length)
  if (typeof body === 'string') return body
  const upgrade = options.includes('upgrade') && fields.some(({ name }) => name === 'upgrade')
  return {
    headLength: head.length, start: String(status), host: '', fields: fields.length, close: options.includes('close'), upgrade, framing,
    body: body.text, length: head.length + body.length,
  }
}
