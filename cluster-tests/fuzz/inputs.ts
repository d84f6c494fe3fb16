/**
 * Inputs that come close to being right: whole messages put together from a grammar, then spoilt in a few places, most of them
 * where readers differ. A seed gives the same inputs on every machine.
 */

/** xorshift128 (Marsaglia 2003): small and fast; nothing here is a secret. */
export class Chance {
  #a: number
  #b = 0x9e3779b9
  #c = 0x243f6a88
  #d = 0xb7e15162

  constructor(seed: number) {
    this.#a = seed >>> 0
    for (let i = 0; i < 16; i++) this.next()
  }

  /** 0 ≤ x < 2³². */
  next(): number {
    const t = this.#a ^ (this.#a << 11)
    this.#a = this.#b
    this.#b = this.#c
    this.#c = this.#d
    this.#d = (this.#d ^ (this.#d >>> 19) ^ t ^ (t >>> 8)) >>> 0
    return this.#d
  }

  /** 0 ≤ x < limit. */
  below(limit: number): number {
    return this.next() % limit
  }

  pick<T>(list: readonly T[]): T {
    return list[this.next() % list.length]!
  }
}

const requestLines = [
  'GET / HTTP/1.1', 'GET /a/b?c=d HTTP/1.1', 'POST /x HTTP/1.1', 'HEAD / HTTP/1.0', 'OPTIONS * HTTP/1.1', 'PUT http://a.example/ HTTP/1.1',
  'GET http://A.example:80?q HTTP/1.1', 'CONNECT a:1 HTTP/1.1', 'GET https://a/ HTTP/1.1', 'get / HTTP/1.1', 'GET / HTTP/1.2', 'GET  / HTTP/1.1', 'GET * HTTP/1.1',
  'GET /# HTTP/1.1', 'GET / http/1.1', 'X-Y!~ /%00 HTTP/1.1', 'GET /\x80 HTTP/1.1', 'GET /',
] as const
const statusLines = [
  'HTTP/1.1 200 OK', 'HTTP/1.1 204 No Content', 'HTTP/1.1 304 ', 'HTTP/1.1 404', 'HTTP/1.0 200 OK', 'HTTP/1.1 101 Switching Protocols', 'HTTP/1.1 100 Continue',
  'HTTP/1.1 600 X', 'HTTP/1.1 099 X', 'HTTP/2.0 200 OK', 'HTTP/1.1 20 OK', 'HTTP/1.1  200 OK', 'http/1.1 200 OK', 'HTTP/1.1 200\tOK', 'HTTP/1.1 200 \xff',
] as const
const fieldLines = [
  'Host: a.example', 'host: a', 'Host:', 'Host: a, b', 'Host: [::1]:80', 'Host: a:123456', 'Host: [::1', 'Content-Length: 5', 'Content-Length: 0', 'Content-Length: +5', 'Content-Length: 5, 5',
  'content-length:5 ', 'Content-Length: 0x5', 'Content-Length: 1234567890123456', 'Content-Length : 5', 'Transfer-Encoding: chunked', 'transfer-encoding:\tChunked ', 'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: identity', 'Transfer-Encoding: chunked;x', 'Connection: close', 'Connection: keep-alive, X-A', 'Connection: upgrade', 'Connection: ,, a ,', 'Connection: host', 'Connection: a b',
  'Upgrade: websocket', 'Expect: 100-continue', 'Expect: 200-ok', 'X-A: b', 'X-A:', 'X-A:b\tc', 'X_B: \x80\xff', ' folded: x', '\tfolded', 'X-A: b\0', 'X-A: \x7f', ': x', 'X-A', 'X A: b',
  'TE: trailers', 'Trailer: X-T', 'X-Forwarded-For: 1.2.3.4', 'Via: 1.0 x', 'Keep-Alive: timeout=5',
] as const
const chunks = [
  '5\r\nhello\r\n', '1\r\nx\r\n', 'A\r\n0123456789\r\n', '003\r\nabc\r\n', '2;name=value\r\nab\r\n', '2; x="\xff"\r\nab\r\n', '3\r\na\r\n\r\n', '-1\r\nx\r\n', '0x1\r\nx\r\n', '5\r\nhell\r\n', '1\nx\n', '1 \r\nx\r\n',
  'fffffffffffffff\r\n', '10000000000000000\r\n', ';\r\n', 'g\r\n',
] as const
const lastChunks = [
  '0\r\n\r\n', '0\r\n\r\n', '00;x\r\n\r\n', '0\r\nX-T: 1\r\n\r\n', '0\r\nX-T: 1\r\nx-u:2\r\n\r\n', '0\r\nContent-Length: 1\r\n\r\n', '0\r\nHost: b\r\n\r\n', '0\r\n x\r\n\r\n', '0\r\nX-T\r\n\r\n', '0\n\n', '0\r\n\n', '0\r\n',
] as const
const strays = ['\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ',', ';', '0', 'x', '\x80', '\x7f', '/', 'Host: z\r\n', 'Content-Length: 3\r\n', 'Transfer-Encoding: chunked\r\n'] as const

function bodyFor(chance: Chance): string {
  switch (chance.below(4)) {
    case 0:
      return 'hello'
    case 1: {
      let body = ''
      for (let count = chance.below(4); count > 0; count--) body += chance.pick(chance.below(3) === 0 ? chunks : chunks.slice(0, 6))
      return body + chance.pick(chance.below(2) === 0 ? lastChunks : lastChunks.slice(0, 5))
    }
    default:
      return ''
  }
}

/** Changes half of the texts in one to three places. */
export function spoil(chance: Chance, text: string): string {
  let result = text
  // Half of them stay whole: what is right must be taken, too.
  for (let count = chance.below(2) === 0 ? 0 : 1 + chance.below(3); count > 0; count--) {
    const at = chance.below(result.length + 1)
    switch (chance.below(5)) {
      case 0:
        result = result.slice(0, at) + chance.pick(strays) + result.slice(at)
        break
      case 1:
        result = result.slice(0, at) + result.slice(at + 1 + chance.below(3))
        break
      case 2:
        result = result.slice(0, at) + String.fromCharCode(chance.below(256)) + result.slice(at + 1)
        break
      case 3: {
        const from = chance.below(result.length + 1)
        result = result.slice(0, at) + result.slice(from, from + 1 + chance.below(20)) + result.slice(at)
        break
      }
      default:
        result = result.slice(0, at)
    }
  }
  return result
}

function message(chance: Chance, firstLines: readonly string[]): string {
  // The lines that are right stand in front, and come more often.
  let text = `${chance.below(3) === 0 ? chance.pick(firstLines) : firstLines[chance.below(7)]!}\r\n`
  if (chance.below(8) !== 0) text += 'Host: a.example\r\n'
  for (let count = chance.below(5); count > 0; count--) {
    const line = chance.below(3) === 0 ? chance.pick(fieldLines) : chance.pick(['Content-Length: 5', 'Transfer-Encoding: chunked', 'Connection: close', 'X-A: b', 'Connection: upgrade', 'Upgrade: x'])
    text += `${line}\r\n`
  }
  return `${text}\r\n${bodyFor(chance)}`
}

/** One to three requests in a row. */
export function requests(chance: Chance): string {
  let text = ''
  for (let count = 1 + (chance.below(3) === 0 ? chance.below(3) : 0); count > 0; count--) text += message(chance, requestLines)
  return spoil(chance, text)
}

export function responses(chance: Chance): string {
  return spoil(chance, message(chance, statusLines))
}

export function chunkedBodies(chance: Chance): string {
  let text = ''
  for (let count = chance.below(5); count > 0; count--) text += chance.pick(chance.below(3) === 0 ? chunks : chunks.slice(0, 6))
  return spoil(chance, text + chance.pick(lastChunks))
}
