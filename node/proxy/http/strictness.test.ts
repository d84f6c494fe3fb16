/**
 * What a strict proxy must refuse, byte for byte, through a real one: a table of requests and a table of responses, each as
 * one piece, split at random places and byte by byte, always with the same outcome. Behind every faulty message follows a second
 * one that must never come through. The legal neighbours of the faults must pass.
 *
 * Replay a failure: SEED=n ava node/proxy/http/strictness.test.ts
 */
import type { Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { Backend, type Client, TestProxy, until } from '../test-proxy.ts'

const seed = process.env['SEED'] === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED'])
const splitsPerCase = 3
/** Longer messages are not sent byte by byte. */
const maxBytewise = 220

/** mulberry32, begun anew for each case, so that one case can be replayed alone. */
function randomFor(name: string): () => number {
  let state = seed
  for (const char of name) state = (Math.imul(state, 31) + char.charCodeAt(0)) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The ways in which a text is sent: whole, in four pieces at random places (three times), byte by byte. */
function ways(name: string, text: string): { how: string; pieces: string[] }[] {
  const random = randomFor(name)
  const all = [{ how: 'whole', pieces: [text] }]
  for (let i = 0; i < splitsPerCase; i++) {
    const at = [0, 1, 2].map(() => Math.floor(random() * (text.length + 1))).toSorted((a, b) => a - b)
    const pieces = [text.slice(0, at[0]), text.slice(at[0], at[1]), text.slice(at[1], at[2]), text.slice(at[2])].filter((piece) => piece !== '')
    all.push({ how: `split at ${at.join(', ')}`, pieces })
  }
  if (text.length <= maxBytewise) all.push({ how: 'byte by byte', pieces: [...text] })
  return all
}

// — reading what came out —

interface Message {
  /** Start line. */
  readonly line: string
  readonly head: string
  readonly body: string
}

/** Reads messages as a receiver does. `rest`: what is no whole message. `ended`: the connection's end ends a body without length. */
function readMessages(text: string, ended: boolean, bodyless = false): { messages: Message[]; rest: string } {
  const messages: Message[] = []
  let at = 0
  while (at < text.length) {
    const from = at
    const incomplete = { messages, rest: text.slice(from) }
    const headEnd = text.indexOf('\r\n\r\n', at)
    if (headEnd < 0) return incomplete
    const head = text.slice(at, headEnd + 2)
    const line = head.slice(0, head.indexOf('\r\n'))
    at = headEnd + 4
    const response = line.startsWith('HTTP/')
    const status = Number(line.slice(9, 12))
    const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(head)?.[1]
    let body = ''
    if (response && (bodyless || status < 200 || status === 204 || status === 304)) body = ''
    else if (/\r\ntransfer-encoding:[ \t]*chunked/i.test(head)) {
      for (;;) {
        const sizeLine = /^([0-9a-fA-F]+)[^\r\n]*\r\n/.exec(text.slice(at))
        if (sizeLine === null) return incomplete
        const size = parseInt(sizeLine[1]!, 16)
        at += sizeLine[0].length
        if (size > 0) {
          if (text.slice(at + size, at + size + 2) !== '\r\n') return incomplete
          body += text.slice(at, at + size)
          at += size + 2
          continue
        }
        const trailer = /^([^\r\n]+\r\n)*\r\n/.exec(text.slice(at))
        if (trailer === null) return incomplete
        at += trailer[0].length
        break
      }
    } else if (length !== undefined) {
      if (text.length - at < Number(length)) return incomplete
      body = text.slice(at, at + Number(length))
      at += Number(length)
    } else if (response) {
      if (!ended) return incomplete
      body = text.slice(at)
      at = text.length
    }
    messages.push({ line, head, body })
  }
  return { messages, rest: '' }
}

const statusOf = (message: Message | undefined): number => Number(message?.line.slice(9, 12))
const codeOf = (message: Message | undefined): string => /\r\nX-Haechi-Error: ([^\r]*)/.exec(message?.head ?? '')?.[1] ?? ''
const shown = (text: string): string => JSON.stringify(text.length > 600 ? `${text.slice(0, 300)} … ${text.slice(-300)}` : text)

/** Sends pieces so that the proxy reads them one by one, as far as it reads at all. */
async function sendPieces(proxy: TestProxy, client: Client, pieces: readonly string[]): Promise<void> {
  client.socket.setNoDelay(true)
  let expected = proxy.proxy.listeners()[0]!.bytesInTotal
  for (const piece of pieces) {
    client.send(piece)
    expected += piece.length
    for (let i = 0; i < 200 && !client.ended && !client.closed; i++) {
      if (proxy.proxy.listeners()[0]!.bytesInTotal >= expected) break
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

// — requests —

interface RequestCase {
  readonly name: string
  readonly bytes: string
  /**
   * `refused`: this answer, the connection ends, the backend gets not one byte.
   * `broken`: this answer (or none) and the end; the backend gets no whole request, and its connection breaks off.
   * `fine`: so many requests reach the backend and are answered with 200.
   */
  readonly expect:
    | { readonly refused: number; readonly code: string }
    | { readonly broken: number; readonly code: string }
    | { readonly fine: number; readonly backendGets?: RegExp; readonly backendLacks?: RegExp; readonly body?: string }
  /** The client's last byte is followed by its FIN. */
  readonly thenEnd?: boolean
}

const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
/** `GET /first` with these further lines, and something behind it. */
const get = (fields: string, behind = smuggled): string => `GET /first HTTP/1.1\r\nHost: a\r\n${fields}\r\n${behind}`
const post = (fields: string, body: string): string => `POST /first HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`
const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body)

const refuse = (name: string, bytes: string, status = 400, code = 'bad-request'): RequestCase => ({ name, bytes, expect: { refused: status, code } })
const breaks = (name: string, body: string): RequestCase => ({
  name,
  bytes: chunked(body) + smuggled,
  expect: { broken: 400, code: 'body-malformed' },
})
const fine = (name: string, bytes: string, requests = 1, more: { backendGets?: RegExp; backendLacks?: RegExp; body?: string } = {}): RequestCase => ({
  name,
  bytes,
  expect: { fine: requests, ...more },
})

const maxHeadBytes = 32 * 1024
const maxHeaders = 50

const requestCases: readonly RequestCase[] = [
  // Two framings, or one that can be read in two ways.
  refuse('Content-Length before Transfer-Encoding', post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding before Content-Length', post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Content-Length: 0 with Transfer-Encoding', post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('two equal Content-Length', post('Content-Length: 5\r\nContent-Length: 5\r\n', `hello${smuggled}`)),
  refuse('two different Content-Length', post('Content-Length: 5\r\nContent-Length: 0\r\n', `hello${smuggled}`)),
  refuse('Content-Length list of equals', post('Content-Length: 5, 5\r\n', `hello${smuggled}`)),
  refuse('Content-Length list', post('Content-Length: 5,0\r\n', `hello${smuggled}`)),
  refuse('Content-Length with plus', post('Content-Length: +5\r\n', `hello${smuggled}`)),
  refuse('Content-Length with minus', post('Content-Length: -5\r\n', `hello${smuggled}`)),
  refuse('Content-Length in hexadecimal', post('Content-Length: 0x5\r\n', `hello${smuggled}`)),
  refuse('Content-Length with hexadecimal digit', post('Content-Length: a\r\n', `helloworld${smuggled}`)),
  refuse('Content-Length with a space inside', post('Content-Length: 1 0\r\n', `helloworld${smuggled}`)),
  refuse('Content-Length with an underscore', post('Content-Length: 1_0\r\n', `helloworld${smuggled}`)),
  refuse('Content-Length with a fraction', post('Content-Length: 5.0\r\n', `hello${smuggled}`)),
  refuse('Content-Length with an exponent', post('Content-Length: 1e1\r\n', `helloworld${smuggled}`)),
  refuse('Content-Length in quotes', post('Content-Length: "5"\r\n', `hello${smuggled}`)),
  refuse('Content-Length empty', post('Content-Length:\r\n', `hello${smuggled}`)),
  refuse('Content-Length only blanks', post('Content-Length: \t \r\n', `hello${smuggled}`)),
  refuse('Content-Length beyond 2^64', post('Content-Length: 18446744073709551621\r\n', `hello${smuggled}`)),
  refuse('Content-Length beyond 2^53', post('Content-Length: 9007199254740993\r\n', `hello${smuggled}`)),
  refuse('Content-Length in fullwidth digits', post('Content-Length: \xef\xbc\x95\r\n', `hello${smuggled}`)),
  refuse('space before the colon of Content-Length', post('Content-Length : 5\r\n', `hello${smuggled}`)),
  refuse('Transfer-Encoding: identity', post('Transfer-Encoding: identity\r\n', smuggled)),
  refuse('Transfer-Encoding: chunked, chunked', post('Transfer-Encoding: chunked, chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: gzip, chunked', post('Transfer-Encoding: gzip, chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: chunked, gzip', post('Transfer-Encoding: chunked, gzip\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: chunked, identity', post('Transfer-Encoding: chunked, identity\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: xchunked', post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: chunked;q=1', post('Transfer-Encoding: chunked;q=1\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: "chunked"', post('Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding: ,chunked', post('Transfer-Encoding: ,chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding empty', post('Transfer-Encoding:\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding with vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding with no-break space', post('Transfer-Encoding: chunked\xa0\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('two Transfer-Encoding', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('two Transfer-Encoding, the first identity', post('Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding in HTTP/1.0', `POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`),
  refuse('tab before the colon of Content-Length', post('Content-Length\t: 5\r\n', `hello${smuggled}`)),
  refuse('space before the colon of Transfer-Encoding', post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('tab before the colon of Transfer-Encoding', post('Transfer-Encoding\t: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Transfer-Encoding folded', post('Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n${smuggled}`)),

  // Line ends and bytes that have no place in a head.
  refuse('bare LF everywhere', `GET /first HTTP/1.1\nHost: a\n\n${smuggled}`),
  refuse('bare LF after the request line', `GET /first HTTP/1.1\nHost: a\r\n\r\n${smuggled}`),
  refuse('bare LF after a field', get('A: b\nC: d\r\n')),
  refuse('bare LF as the empty line', `GET /first HTTP/1.1\r\nHost: a\r\n\n${smuggled}`),
  refuse('bare CR in a value', get('A: b\rc\r\n')),
  refuse('bare CR as a line end', get('A: b\rTransfer-Encoding: chunked\r\n')),
  refuse('CR before CRLF', get('A: b\r\r\n')),
  refuse('bare CR in a name', get('A\rB: c\r\n')),
  refuse('bare CR in the request line', `GET /first\r HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('NUL in a value', get('A: b\0c\r\n')),
  refuse('NUL in a name', get('A\0: b\r\n')),
  refuse('NUL in the target', `GET /fi\0rst HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('DEL in a value', get('A: b\x7f\r\n')),
  refuse('escape in a value', get('A: \x1b[2J\r\n')),
  refuse('non-ASCII in a name', get('\xe9: b\r\n')),
  refuse('non-ASCII in the target', `GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('folded field', get('A: b\r\n c\r\n')),
  refuse('field folded by a tab', get('A: b\r\n\tc\r\n')),
  refuse('fold of blanks only', get('A: b\r\n \r\n')),
  refuse('leading space on the first field', `GET /first HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('space before a colon', get('A : b\r\n')),
  refuse('space in a name', get('A B: c\r\n')),
  refuse('empty name', get(': b\r\n')),
  refuse('field without colon', get('A\r\n')),
  refuse('name in brackets', get('[A]: b\r\n')),

  // Sizes.
  refuse('head too large', get(`A: ${'x'.repeat(maxHeadBytes)}\r\n`), 431, 'head-too-large'),
  refuse('head that never ends', `GET /first HTTP/1.1\r\nHost: a\r\nA: ${'x'.repeat(maxHeadBytes)}`, 431, 'head-too-large'),
  refuse('too many fields', get('A: b\r\n'.repeat(maxHeaders)), 431, 'head-too-large'),
  refuse('target too long', `GET /${'x'.repeat(16 * 1024)} HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`, 414, 'target-too-long'),
  refuse('method too long', `${'M'.repeat(65)} /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),

  // Who is meant.
  refuse('no Host', `GET /first HTTP/1.1\r\n\r\n${smuggled}`),
  refuse('two different Host', get('Host: b\r\n')),
  refuse('two equal Host', get('Host: a\r\n')),
  refuse('two Host in HTTP/1.0', `GET /first HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n${smuggled}`),
  refuse('empty Host', `GET /first HTTP/1.1\r\nHost:\r\n\r\n${smuggled}`),
  refuse('Host with a path', `GET /first HTTP/1.1\r\nHost: a/b\r\n\r\n${smuggled}`),
  refuse('Host with user', `GET /first HTTP/1.1\r\nHost: u@a\r\n\r\n${smuggled}`),
  refuse('Host with a space', `GET /first HTTP/1.1\r\nHost: a b\r\n\r\n${smuggled}`),
  refuse('Host with a bad port', `GET /first HTTP/1.1\r\nHost: a:8x\r\n\r\n${smuggled}`),
  refuse('Host with two ports', `GET /first HTTP/1.1\r\nHost: a:80:81\r\n\r\n${smuggled}`),
  refuse('Host with an open bracket', `GET /first HTTP/1.1\r\nHost: [::1\r\n\r\n${smuggled}`),
  refuse('Host of bad UTF-8', `GET /first HTTP/1.1\r\nHost: \xff\r\n\r\n${smuggled}`),
  refuse('Host list', `GET /first HTTP/1.1\r\nHost: a, b\r\n\r\n${smuggled}`),
  refuse('Host list without space', `GET /first HTTP/1.1\r\nHost: a,b\r\n\r\n${smuggled}`),
  refuse('absolute-form with another Host', `GET http://b/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('absolute-form with another port', `GET http://a:81/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('absolute-form without Host', `GET http://a/first HTTP/1.1\r\n\r\n${smuggled}`),
  refuse('absolute-form with user', `GET http://u@a/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('absolute-form without host', `GET http:///first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  // RFC 9110 §7.4: what must come over TLS, and has not, is refused.
  refuse('absolute-form https', `GET https://a/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('absolute-form of another scheme', `GET ftp://a/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('authority-form with GET', `GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('asterisk with GET', `GET * HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('target without a slash', `GET first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('fragment in the target', `GET /first#x HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),

  // Request line.
  refuse('HTTP/1.2', `GET /first HTTP/1.2\r\nHost: a\r\n\r\n${smuggled}`, 505, 'version-not-supported'),
  refuse('HTTP/2.0', `GET /first HTTP/2.0\r\nHost: a\r\n\r\n${smuggled}`, 505, 'version-not-supported'),
  refuse('HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505, 'version-not-supported'),
  refuse('HTTP/0.9', `GET /first\r\n\r\n${smuggled}`),
  refuse('HTTP/0.9 in words', `GET /first HTTP/0.9\r\n\r\n${smuggled}`, 505, 'version-not-supported'),
  refuse('lower-case version', `GET /first http/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('no target', `GET HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('no version, but fields', `GET /first\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('no method', `/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('method in brackets', `G(E)T /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('version with two digits', `GET /first HTTP/1.10\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('version without minor', `GET /first HTTP/1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('two spaces before the target', `GET  /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('two spaces after the target', `GET /first  HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('tab in the request line', `GET\t/first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('space after the version', `GET /first HTTP/1.1 \r\nHost: a\r\n\r\n${smuggled}`),
  refuse('space before the method', ` GET /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('two leading empty lines', `\r\n\r\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('leading bare LF', `\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`),
  refuse('TLS hello with a line feed', '\x16\x03\x01\x02\x00\x01\x00\n'),
  refuse('TLS hello', '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n'),

  // What is asked for beyond a request.
  refuse('CONNECT', `CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n${smuggled}`, 501, 'not-implemented'),
  refuse('CONNECT with a path', `CONNECT /first HTTP/1.1\r\nHost: a\r\n\r\n${smuggled}`, 501, 'not-implemented'),
  refuse('unknown Expect', get('Expect: 200-maybe\r\n'), 417, 'expectation-failed'),
  refuse('upgrade with Content-Length', post('Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n', `hello${smuggled}`)),
  refuse('upgrade with chunks', post('Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Connection naming Host', get('Connection: close, host\r\n')),
  refuse('Connection naming Content-Length', post('Connection: Content-Length\r\nContent-Length: 5\r\n', `hello${smuggled}`)),
  refuse('Connection naming Transfer-Encoding', post('Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)),
  refuse('Connection with a parameter', get('Connection: close; x\r\n')),
  refuse('Connection with no token', get('Connection: "close"\r\n')),

  // Chunks.
  breaks('chunk size with plus', '+5\r\nhello\r\n0\r\n\r\n'),
  breaks('chunk size with minus', '-5\r\nhello\r\n0\r\n\r\n'),
  breaks('chunk size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'),
  breaks('space before the chunk size', ' 5\r\nhello\r\n0\r\n\r\n'),
  breaks('space after the chunk size', '5 \r\nhello\r\n0\r\n\r\n'),
  breaks('underscore in the chunk size', '1_0\r\nhello, chunks!!!\r\n0\r\n\r\n'),
  breaks('chunk size of 17 digits', '10000000000000005\r\nhello\r\n0\r\n\r\n'),
  breaks('chunk size of 17 digits, most zero', '00000000000000005\r\nhello\r\n0\r\n\r\n'),
  breaks('chunk size beyond 2^53', 'fffffffffffffff\r\nhello\r\n0\r\n\r\n'),
  breaks('empty chunk size', '\r\nhello\r\n0\r\n\r\n'),
  breaks('chunk size without digit', ';a=b\r\nhello\r\n0\r\n\r\n'),
  breaks('bare LF after the chunk size', '5\nhello\r\n0\r\n\r\n'),
  breaks('bare CR after the chunk size', '5\rhello\r\n0\r\n\r\n'),
  breaks('bare LF after the chunk data', '5\r\nhello\n0\r\n\r\n'),
  breaks('nothing after the chunk data', '5\r\nhello0\r\n\r\n'),
  breaks('chunk data longer than its size', '4\r\nhello\r\n0\r\n\r\n'),
  breaks('bare LF after the last chunk', '5\r\nhello\r\n0\n\r\n'),
  breaks('bare LF as the last line', '5\r\nhello\r\n0\r\n\n'),
  breaks('chunk extension too long', `5;${'x'.repeat(300)}\r\nhello\r\n0\r\n\r\n`),
  breaks('chunk extensions too long together', `${`1;${'x'.repeat(250)}\r\na\r\n`.repeat(70)}0\r\n\r\n`),
  breaks('bare LF in a chunk extension', '5;a=b\nhello\r\n0\r\n\r\n'),
  breaks('quoted LF in a chunk extension', '5;a="\n"\r\nhello\r\n0\r\n\r\n'),
  breaks('quoted CRLF in a chunk extension', '5;a="\r\n"\r\nhello\r\n0\r\n\r\n'),
  breaks('NUL in a chunk extension', '5;a\0\r\nhello\r\n0\r\n\r\n'),
  breaks('trailer Content-Length', '5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n'),
  breaks('trailer Transfer-Encoding', '5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n'),
  breaks('trailer Host', '5\r\nhello\r\n0\r\nHost: b\r\n\r\n'),
  breaks('trailer X-Forwarded-For', '5\r\nhello\r\n0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n'),
  breaks('trailer X-Forwarded-Proto', '5\r\nhello\r\n0\r\nX-Forwarded-Proto: https\r\n\r\n'),
  breaks('trailer Proxy-Connection', '5\r\nhello\r\n0\r\nProxy-Connection: close\r\n\r\n'),
  breaks('trailer Keep-Alive', '5\r\nhello\r\n0\r\nKeep-Alive: 5\r\n\r\n'),
  breaks('trailer Expect', '5\r\nhello\r\n0\r\nExpect: 100-continue\r\n\r\n'),
  breaks('trailer with bare LF', '5\r\nhello\r\n0\r\nA: b\n\r\n'),
  breaks('trailer folded', '5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n'),
  breaks('trailer without colon', '5\r\nhello\r\n0\r\nA\r\n\r\n'),
  breaks('trailer with space before the colon', '5\r\nhello\r\n0\r\nA : b\r\n\r\n'),
  breaks('trailer with empty name', '5\r\nhello\r\n0\r\n: b\r\n\r\n'),
  breaks('trailers too large', `5\r\nhello\r\n0\r\n${`A: ${'x'.repeat(900)}\r\n`.repeat(10)}\r\n`),

  // Broken off by the client.
  { name: 'chunk broken off', bytes: chunked('50\r\nhello'), thenEnd: true, expect: { broken: 0, code: '' } },
  { name: 'last chunk missing', bytes: chunked('5\r\nhello\r\n'), thenEnd: true, expect: { broken: 0, code: '' } },
  { name: 'last line missing', bytes: chunked('5\r\nhello\r\n0\r\n'), thenEnd: true, expect: { broken: 0, code: '' } },
  { name: 'body broken off', bytes: post('Content-Length: 500\r\n', smuggled), thenEnd: true, expect: { broken: 0, code: '' } },
  { name: 'head broken off', bytes: 'GET /first HTTP/1.1\r\nHost: a\r\n', thenEnd: true, expect: { broken: 0, code: '' } },

  // Legal neighbours: a test that only refuses proves nothing.
  fine('plain', get('', '')),
  fine('two in a row', get(''), 2, { backendGets: /^GET \/smuggled /m }),
  fine('body, then a second request', post('Content-Length: 5\r\n', `hello${smuggled}`), 2, { body: 'hello' }),
  fine('chunks, then a second request', chunked(`5\r\nhello\r\n0\r\n\r\n${smuggled}`), 2, { body: 'hello' }),
  fine('one leading empty line', `\r\n${get('', '')}`),
  fine('an empty line between requests', post('Content-Length: 5\r\n', `hello\r\n${smuggled}`), 2, { body: 'hello' }),
  fine('no blank after the colon', `GET /first HTTP/1.1\r\nHost:a\r\nA:b\r\n\r\n`, 1, { backendGets: /^A:b\r$/m }),
  fine('blanks around values', `GET /first HTTP/1.1\r\nHost: \t a\t \r\nA:\t b \t\r\n\r\n`),
  fine('tab before chunked', post('Transfer-Encoding:\tchunked\r\n', '5\r\nhello\r\n0\r\n\r\n'), 1, { body: 'hello' }),
  fine('CHUNKED', post('TRANSFER-ENCODING: CHUNKED \r\n', '5\r\nhello\r\n0\r\n\r\n'), 1, { body: 'hello' }),
  fine('tab before a length', post('Content-Length:\t5\r\n', 'hello'), 1, { body: 'hello' }),
  fine('length with leading zeros', post('Content-Length: 0005\r\n', `hello${smuggled}`), 2, { body: 'hello' }),
  fine('length zero', post('Content-Length: 0\r\n', smuggled), 2),
  fine('lower-case names', 'POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello', 1, { body: 'hello' }),
  fine('obs-text in a value', get('A: \xe9\xff\x80\r\n', ''), 1, { backendGets: /^A: \xe9\xff\x80\r$/m }),
  fine('empty values', get('A:\r\nB: \r\n', ''), 1, { backendGets: /^A:\r$/m }),
  fine('every byte of a token', get("!#$%&'*+-.^_`|~09azAZ: b\r\n", '')),
  fine('other methods', `PROPFIND /first HTTP/1.1\r\nHost: a\r\n\r\n`, 1, { backendGets: /^PROPFIND \/first HTTP\/1\.1\r$/m }),
  fine('long head', get(`A: ${'x'.repeat(maxHeadBytes - 200)}\r\n`, ''), 1, { backendGets: /^A: x{32568}\r$/m }),
  fine('long target', `GET /${'x'.repeat(16 * 1024 - 1)} HTTP/1.1\r\nHost: a\r\n\r\n`),
  fine('as many fields as allowed', get('A: b\r\n'.repeat(maxHeaders - 1), '')),
  fine('odd but legal target', "GET /a//b/../%00?x=[]|^\"<>\\{}`&y HTTP/1.1\r\nHost: a\r\n\r\n"),
  fine('Host with port', 'GET /first HTTP/1.1\r\nHost: a.example-1:8080\r\n\r\n'),
  fine('Host IPv6', 'GET /first HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n'),
  fine('HTTP/1.0 without Host', 'GET /first HTTP/1.0\r\n\r\n', 1, { backendGets: /^Host: 127\.0\.0\.1:\d+\r$/m }),
  fine('absolute-form', 'GET HTTP://A/first HTTP/1.1\r\nHost: a\r\n\r\n', 1, { backendGets: /^GET \/first HTTP\/1\.1\r$/m }),
  fine('absolute-form without path', 'GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n', 1, { backendGets: /^GET \/\?x HTTP\/1\.1\r$/m }),
  fine('OPTIONS asterisk', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'),
  fine('chunk extensions', chunked('5;a;b=c;d="e f"\r\nhello\r\n0;x\r\n\r\n'), 1, { body: 'hello' }),
  fine('trailers', chunked('5\r\nhello\r\n0\r\nX-Sum: 1\r\nempty:\r\n\r\n'), 1, { body: 'hello', backendGets: /^X-Sum: 1\r$/m }),
  fine('chunk sizes with zeros and both cases', chunked(`005\r\nhello\r\nA\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n`), 1, {
    body: 'hello01234567890123456789',
  }),
  fine('Connection takes a field away', get('Connection: x-secret, , close\r\nX-Secret: 1\r\n', ''), 1, { backendLacks: /x-secret/i }),
  fine('TE and Keep-Alive end here', get('TE: trailers\r\nKeep-Alive: 5\r\n', ''), 1, { backendLacks: /^(TE|Keep-Alive):/im }),
  fine('Upgrade that Connection does not name', get('Upgrade: x\r\n', ''), 1, { backendLacks: /^Upgrade:/im }),
  fine('Expect: 100-Continue', post('Expect: 100-Continue\r\nContent-Length: 5\r\n', 'hello'), 1, { body: 'hello' }),
  { ...fine('half-closed after the body', post('Content-Length: 5\r\n', 'hello'), 1, { body: 'hello' }), thenEnd: true },
  { ...fine('half-closed after the chunks', chunked('5\r\nhello\r\n0\r\n\r\n'), 1, { body: 'hello' }), thenEnd: true },
]

/** A backend that records per connection and answers whole requests only. */
class RecordingBackend {
  readonly #texts = new Map<Socket, string>()
  readonly #answered = new Map<Socket, number>()
  readonly #marks = new Map<Socket, number>()
  backend: Backend | undefined

  async start(): Promise<void> {
    this.backend = await Backend.start((socket, _data, whole) => {
      this.#texts.set(socket, whole)
      const { messages } = readMessages(whole, false)
      for (let i = this.#answered.get(socket) ?? 0; i < messages.length; i++) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      this.#answered.set(socket, messages.length)
    })
  }

  mark(): void {
    for (const [socket, text] of this.#texts) {
      if (socket.destroyed) this.#texts.delete(socket)
      else this.#marks.set(socket, text.length)
    }
  }

  /** What came since `mark`, but for the fences: whole requests, and what is none with whether its connection is open. */
  since(): { text: string; messages: Message[]; rests: { rest: string; open: boolean }[] } {
    const messages: Message[] = []
    const rests: { rest: string; open: boolean }[] = []
    let all = ''
    for (const [socket, text] of this.#texts) {
      const fresh = text.slice(this.#marks.get(socket) ?? 0)
      all += fresh
      const read = readMessages(fresh, false)
      messages.push(...read.messages.filter(({ line }) => !line.includes('/fence')))
      if (read.rest !== '') rests.push({ rest: read.rest, open: this.backend!.sockets.has(socket) })
    }
    return { text: all, messages, rests }
  }
}

const recorder = new RecordingBackend()
let requestProxy: TestProxy
let responseProxy: TestProxy
/** What the response backend does with a request's connection. */
let respond: (socket: Socket, whole: string) => void = () => undefined
let responder: Backend

test.before(async () => {
  await recorder.start()
  requestProxy = await TestProxy.start()
  await requestProxy.apply(requestProxy.document([recorder.backend!.port], { listener: { maxHeadBytes, maxHeaders } }))
  responder = await Backend.start((socket, _data, whole) => respond(socket, whole))
  responseProxy = await TestProxy.start()
  await responseProxy.apply(responseProxy.document([responder.port], { listener: { maxHeadBytes, maxHeaders } }))
})

test.after.always(async () => {
  await Promise.all([requestProxy?.stop(), responseProxy?.stop()])
  await recorder.backend?.close()
  await responder?.close()
})

async function runRequest(t: ExecutionContext, { name, expect, thenEnd }: RequestCase, how: string, pieces: readonly string[]): Promise<void> {
  const where = `${name}, ${how}; replay: SEED=${seed} ava node/proxy/http/strictness.test.ts`
  recorder.mark()
  const client = requestProxy.client()
  try {
    await sendPieces(requestProxy, client, pieces)
    if (thenEnd === true) client.socket.end()
    if ('fine' in expect) await until(`answers: ${where}; ${shown(client.text)}`, () => client.ended || client.closed || finals(client.text).length >= expect.fine)
    else await until(`the connection ends: ${where}; ${shown(client.text)}`, () => client.ended || client.closed)
  } finally {
    client.close()
  }
  // Whatever this connection still had on its way to the backend is there before the answer to a later request; and service goes on.
  t.regex(await requestProxy.once('GET /fence HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 200 /, where)
  const answers = finals(client.text)
  const seen = recorder.since()
  if ('fine' in expect) {
    t.deepEqual(answers.map(statusOf), Array.from({ length: expect.fine }, () => 200), `${where}: ${shown(client.text)}`)
    t.is(seen.messages.length, expect.fine, `${where}: ${shown(seen.text)}`)
    t.deepEqual(seen.rests, [], where)
    if (expect.body !== undefined) t.is(seen.messages[0]!.body, expect.body, where)
    if (expect.backendGets !== undefined) t.regex(seen.text, expect.backendGets, where)
    if (expect.backendLacks !== undefined) t.notRegex(seen.text, expect.backendLacks, where)
    return
  }
  const status = 'refused' in expect ? expect.refused : expect.broken
  t.deepEqual(answers.map(statusOf), status === 0 ? [] : [status], `${where}: ${shown(client.text)}`)
  t.is(codeOf(answers[0]), expect.code, where)
  if (status !== 0) {
    t.regex(answers[0]!.head, /\r\nConnection: close\r\n/, where)
    t.is(readMessages(client.text, true).rest, '', `${where}: the answer is whole and alone`)
  }
  t.deepEqual(seen.messages.map(({ line }) => line), [], `${where}: no request came through`)
  if ('refused' in expect) t.deepEqual(seen.rests, [], `${where}: the backend got nothing`)
  else {
    if (thenEnd !== true) t.notRegex(seen.text, /smuggled/, where)
    await until(`the backend's connection breaks off: ${where}`, () => recorder.since().rests.every(({ open }) => !open))
  }
}

function finals(text: string, ended = false): Message[] {
  return readMessages(text, ended).messages.filter((message) => statusOf(message) >= 200)
}

for (const one of requestCases) {
  test.serial(`request: ${one.name}`, async (t) => {
    for (const { how, pieces } of ways(one.name, one.bytes)) await runRequest(t, one, how, pieces)
  })
}

// — responses —

interface ResponseCase {
  readonly name: string
  readonly bytes: string
  readonly method?: 'HEAD'
  readonly version?: '1.0'
  readonly clientGets?: RegExp
  /** The backend closes behind its bytes. */
  readonly thenEnd?: boolean
  /**
   * `status`: one whole answer; with `code` when it is Haechi's own. `torn`: the answer begins and visibly breaks off.
   * `kept`: whether the backend's connection serves the next request (checked when given).
   */
  readonly expect: { readonly status: number; readonly code?: string; readonly body?: string; readonly kept?: boolean } | { readonly torn: true }
}

const bad = (name: string, bytes: string): ResponseCase => ({ name, bytes, expect: { status: 502, code: 'bad-member-response', kept: false } })
const torn = (name: string, bytes: string): ResponseCase => ({ name, bytes, expect: { torn: true } })
const stray = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Stray: 1\r\n\r\nstray'
const ok = (fields: string, body: string): string => `HTTP/1.1 200 OK\r\n${fields}\r\n${body}`
const okChunked = (body: string): string => ok('Transfer-Encoding: chunked\r\n', body)

const responseCases: readonly ResponseCase[] = [
  bad('no HTTP at all', 'SSH-2.0-OpenSSH\r\n\r\n'),
  bad('one word', 'hello\r\n\r\n'),
  bad('status of letters', 'HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n'),
  bad('HTTP/2', 'HTTP/2 200\r\nContent-Length: 0\r\n\r\n'),
  bad('status line without version', '200 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('status 600', 'HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('status 099', 'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('status with sign', 'HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('two spaces before the status', 'HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('NUL in the reason', 'HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n'),
  bad('bare CR in the reason', 'HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n'),
  bad('HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('HTTP/1.2', 'HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('lower-case version', 'http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  bad('leading empty line', `\r\n${ok('Content-Length: 0\r\n', '')}`),
  bad('Content-Length and Transfer-Encoding', ok('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')),
  bad('Transfer-Encoding and Content-Length', ok('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n')),
  bad('two different Content-Length', ok('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!')),
  bad('two equal Content-Length', ok('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')),
  bad('Content-Length list', ok('Content-Length: 5, 5\r\n', 'hello')),
  bad('Content-Length with sign', ok('Content-Length: +5\r\n', 'hello')),
  bad('Content-Length empty', ok('Content-Length:\r\n', 'hello')),
  bad('Content-Length beyond 2^53', ok('Content-Length: 9007199254740993\r\n', 'hello')),
  bad('folded field', ok('A: b\r\n c\r\nContent-Length: 0\r\n', '')),
  bad('bare LF after a field', ok('A: b\nContent-Length: 0\r\n', '')),
  bad('bare LF everywhere', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'),
  bad('NUL in a value', ok('A: b\0\r\nContent-Length: 0\r\n', '')),
  bad('bare CR in a value', ok('A: b\rSet-Cookie: c\r\nContent-Length: 0\r\n', '')),
  bad('space before a colon', ok('Content-Length : 5\r\n', 'hello')),
  bad('field without colon', ok('A\r\nContent-Length: 0\r\n', '')),
  bad('empty name', ok(': b\r\nContent-Length: 0\r\n', '')),
  bad('head too large', ok(`A: ${'x'.repeat(maxHeadBytes)}\r\nContent-Length: 0\r\n`, '')),
  bad('head that never ends', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(maxHeadBytes)}`),
  bad('too many fields', ok(`${'A: b\r\n'.repeat(maxHeaders)}Content-Length: 0\r\n`, '')),
  bad('Transfer-Encoding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
  bad('unknown Transfer-Encoding', ok('Transfer-Encoding: gzip\r\n', 'hello')),
  bad('Transfer-Encoding: gzip, chunked', ok('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')),
  bad('Transfer-Encoding: identity', ok('Transfer-Encoding: identity\r\nContent-Type: a/b\r\n', 'hello')),
  bad('two Transfer-Encoding', ok('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')),
  bad('Connection naming Content-Length', ok('Connection: content-length\r\nContent-Length: 5\r\n', 'hello')),
  bad('unasked 101', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello'),
  bad('flood of 1xx', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100)),
  { ...bad('1xx with a fault', `HTTP/1.1 103 Early Hints\r\nA : b\r\n\r\n${ok('Content-Length: 0\r\n', '')}`) },

  { name: 'closed before any byte', bytes: '', thenEnd: true, expect: { status: 502, code: 'member-closed', kept: false } },
  { name: 'closed in the head', bytes: 'HTTP/1.1 200 OK\r\nContent-', thenEnd: true, expect: { status: 502, code: 'member-closed', kept: false } },
  { name: 'closed before the empty line', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n', thenEnd: true, expect: { status: 502, code: 'member-closed' } },
  { name: 'closed after a 1xx', bytes: 'HTTP/1.1 103 Early Hints\r\n\r\n', thenEnd: true, expect: { status: 502, code: 'member-closed' } },

  { ...torn('body broken off', ok('Content-Length: 50\r\n', 'hello')), thenEnd: true },
  { ...torn('chunk broken off', okChunked('50\r\nhello')), thenEnd: true },
  { ...torn('last chunk missing', okChunked('5\r\nhello\r\n')), thenEnd: true },
  { ...torn('last line missing', okChunked('5\r\nhello\r\n0\r\n')), thenEnd: true },
  torn('bad chunk size', okChunked('5\r\nhello\r\n0x1\r\na\r\n0\r\n\r\n')),
  torn('chunk size of letters', okChunked('xyz\r\nhello\r\n0\r\n\r\n')),
  torn('bad chunk size at once', okChunked('-5\r\nhello\r\n0\r\n\r\n')),
  torn('chunk with bare LF', okChunked('5\nhello\n0\n\n')),
  torn('chunk data longer than its size', okChunked('4\r\nhello\r\n0\r\n\r\n')),
  torn('chunk size of 17 digits', okChunked('10000000000000005\r\nhello\r\n0\r\n\r\n')),
  torn('trailer Content-Length', okChunked('5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n')),
  torn('trailer with bare LF', okChunked('5\r\nhello\r\n0\r\nA: b\n\r\n')),

  { name: 'excess behind a length', bytes: ok('Content-Length: 5\r\n', `hello${stray}`), expect: { status: 200, body: 'hello', kept: false } },
  { name: 'excess behind length zero', bytes: ok('Content-Length: 0\r\n', stray), expect: { status: 200, body: '', kept: false } },
  { name: 'excess behind chunks', bytes: okChunked(`5\r\nhello\r\n0\r\n\r\n${stray}`), expect: { status: 200, body: 'hello', kept: false } },
  { name: '204 with body', bytes: `HTTP/1.1 204 No Content\r\n\r\n${stray}`, expect: { status: 204, kept: false } },
  { name: '204 with length', bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', expect: { status: 204, kept: false } },
  { name: '204 with length, body to come', bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', expect: { status: 204, kept: false } },
  { name: '204 with chunks to come', bytes: 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n', expect: { status: 204, kept: false } },
  { name: '304 with body', bytes: `HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello`, expect: { status: 304, kept: false } },
  { name: 'HEAD with body', method: 'HEAD', bytes: ok('Content-Length: 5\r\n', 'hello'), expect: { status: 200, body: '', kept: false } },
  { name: 'HEAD with chunks', method: 'HEAD', bytes: okChunked('5\r\nhello\r\n0\r\n\r\n'), expect: { status: 200, body: '', kept: false } },

  // Legal neighbours.
  { name: 'length', bytes: ok('Content-Length: 5\r\n', 'hello'), expect: { status: 200, body: 'hello', kept: true } },
  { name: 'chunks with extension and trailer', bytes: okChunked('5;a="b"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'), expect: { status: 200, body: 'hello', kept: true } },
  { name: 'chunks for HTTP/1.0', version: '1.0', bytes: okChunked('5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n'), expect: { status: 200, body: 'hello!' } },
  { name: 'until the end', bytes: ok('', 'hello'), thenEnd: true, expect: { status: 200, body: 'hello', kept: false } },
  { name: 'HTTP/1.0 until the end', bytes: 'HTTP/1.0 200 OK\r\n\r\nhello', thenEnd: true, expect: { status: 200, body: 'hello', kept: false } },
  { name: 'HTTP/1.0 with length', bytes: 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello', expect: { status: 200, body: 'hello', kept: false } },
  { name: 'Connection: close', bytes: ok('Connection: close\r\nContent-Length: 5\r\n', 'hello'), expect: { status: 200, body: 'hello', kept: false } },
  { name: 'no reason', bytes: 'HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello', expect: { status: 200, body: 'hello', kept: true } },
  { name: 'no blank behind the status', bytes: 'HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello', expect: { status: 200, body: 'hello', kept: true } },
  { name: 'obs-text in the reason', bytes: 'HTTP/1.1 200 Tr\xe8s bien\r\ncontent-length:5\r\n\r\nhello', expect: { status: 200, body: 'hello', kept: true } },
  { name: 'odd status', bytes: 'HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n', expect: { status: 599, body: '', kept: true } },
  { name: 'a few 1xx', bytes: `${'HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n'.repeat(3)}${ok('Content-Length: 5\r\n', 'hello')}`, clientGets: /^(HTTP\/1\.1 103 Early Hints\r\nA: b\r\n[^]*?\r\n\r\n){3}HTTP\/1\.1 200 /, expect: { status: 200, body: 'hello', kept: true } },
  { name: '204', bytes: 'HTTP/1.1 204 No Content\r\n\r\n', expect: { status: 204, kept: true } },
  { name: '304 with the length of what it is not', bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', expect: { status: 304, kept: true } },
  { name: 'HEAD with length', method: 'HEAD', bytes: ok('Content-Length: 5\r\n', ''), expect: { status: 200, body: '', kept: true } },
  { name: 'long head', bytes: ok(`A: ${'x'.repeat(maxHeadBytes - 200)}\r\nContent-Length: 5\r\n`, 'hello'), expect: { status: 200, body: 'hello', kept: true } },
  { name: 'large body', bytes: ok('Content-Length: 300000\r\n', 'y'.repeat(300_000)), expect: { status: 200, body: 'y'.repeat(300_000) } },
]

async function runResponse(t: ExecutionContext, one: ResponseCase, how: string, pieces: readonly string[]): Promise<void> {
  const where = `${one.name}, ${how}; replay: SEED=${seed} ava node/proxy/http/strictness.test.ts`
  let used: Socket | undefined
  let asked = 0
  let fences = ''
  respond = (socket, whole) => {
    if (!whole.endsWith('\r\n\r\n')) return
    if (used !== undefined) {
      fences += socket === used ? 'same' : 'other'
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfence')
      return
    }
    used = socket
    asked++
    socket.setNoDelay(true)
    void (async () => {
      for (const piece of pieces) {
        if (socket.destroyed) return
        socket.write(piece, 'latin1')
        // Nothing tells when the proxy has read it; pieces that melt together are only a weaker test, not a wrong one.
        for (let i = 0; pieces.length > 1 && i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
      }
      if (one.thenEnd === true) socket.end()
    })()
  }
  const head = one.method === 'HEAD'
  const client = responseProxy.client()
  try {
    const version = one.version ?? '1.1'
    client.send(`${one.method ?? 'GET'} /first HTTP/${version}\r\nHost: a\r\n\r\n`)
    const read = () => readMessages(client.text, client.ended && client.error === '', head).messages.filter((message) => statusOf(message) >= 200)
    if ('torn' in one.expect) {
      // A reset, not an orderly end: that is what every client takes for a failure.
      await until(`the client's connection fails: ${where}`, () => client.closed)
      t.is(client.error, 'ECONNRESET', where)
      t.is(read().length, 0, `${where}: no whole answer: ${shown(client.text)}`)
      t.true(client.text === '' || client.text.startsWith('HTTP/1.1 200 '), `${where}: ${shown(client.text)}`)
    } else {
      await until(`an answer: ${where}; ${shown(client.text)}`, () => read().length > 0 || client.closed)
      const { status, code, body } = one.expect
      t.deepEqual(read().map(statusOf), [status], `${where}: ${shown(client.text)}`)
      t.is(codeOf(read()[0]), code ?? '', where)
      if (body !== undefined) t.true(read()[0]!.body === body, `${where}: ${shown(read()[0]!.body)}`)
    }
    t.is(asked, 1, where)
    // A later request, by another client: never an answer from what was left over.
    const later = await responseProxy.once('GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    t.regex(later, /^HTTP\/1\.1 200 [^]*\r\n\r\nfence$/, where)
    if ('torn' in one.expect || one.expect.kept === false) {
      t.is(fences, 'other', `${where}: the connection is not used again`)
      await until(`the backend's connection is closed: ${where}`, () => used!.destroyed || used!.readableEnded)
    } else if (one.expect.kept === true) t.is(fences, 'same', `${where}: the connection is used again`)
    t.notRegex(client.text, /stray/, where)
    if (one.clientGets !== undefined) t.regex(client.text, one.clientGets, where)
  } finally {
    client.close()
    // Each run begins with a connection of its own.
    for (const socket of responder.sockets) socket.destroy()
    await until('the backend has no connection', () => responder.sockets.size === 0)
  }
}

for (const one of responseCases) {
  test.serial(`response: ${one.name}`, async (t) => {
    for (const { how, pieces } of ways(one.name, one.bytes)) await runResponse(t, one, how, pieces)
  })
}

test.serial('request: a fault after HEAD is answered with a whole message', async (t) => {
  const client = requestProxy.client()
  try {
    client.send('HEAD /first HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.gets('\r\n\r\n')
    const before = client.text.length
    client.send(`GET /first HTTP/1.1\r\nHost : a\r\n\r\n${smuggled}`)
    await client.ends()
    const read = readMessages(client.text.slice(before), false)
    t.deepEqual([read.messages.map(statusOf), read.rest], [[400], ''])
  } finally {
    client.close()
  }
})
