/**
 * Malformed and ambiguous messages through a real proxy, over real sockets: each is answered or refused as RFC 9112 says, and what
 * two readers could read differently never reaches a member. Every request also goes out in pieces, cut at random and, when short,
 * byte by byte, with the same outcome. A run prints its seed; `SEED=n ava node/proxy/http/strictness.test.ts` replays it.
 */
import type { Socket } from 'node:net'
import test from 'ava'
import { Backend, TestProxy, until, type Client } from '../test-proxy.ts'

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)

/** Mulberry32: the same seed, the same cuts. */
function randomOf(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Follows every refused request: must never be taken for one. */
const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
const h = 'Host: a\r\n'

interface RequestCase {
  readonly name: string
  readonly bytes: string
  /** Status and code of Haechi's own answer; `ok`: the member's answer; `broken`: the connection ends without a whole answer. */
  readonly expect: readonly [number, string] | 'ok' | 'broken'
  /** The head is well-formed and may reach the member before the fault in its body shows. */
  readonly headPasses?: boolean
  /** The client ends its side after the bytes; nothing follows them. */
  readonly ends?: boolean
}
const bad = [400, 'bad-request'] as const

const refused: readonly RequestCase[] = [
  // Two framings, or one that is read in two ways.
  { name: 'Content-Length and Transfer-Encoding', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'Transfer-Encoding and Content-Length', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'two different lengths', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`, expect: bad },
  { name: 'two equal lengths', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd`, expect: bad },
  { name: 'a list of lengths', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 4, 4\r\n\r\nabcd`, expect: bad },
  { name: 'a length with a plus', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: +4\r\n\r\nabcd`, expect: bad },
  { name: 'a negative length', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: -4\r\n\r\nabcd`, expect: bad },
  { name: 'a hexadecimal length', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 0x4\r\n\r\nabcd`, expect: bad },
  { name: 'a length with a space inside', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 1 0\r\n\r\nabcd`, expect: bad },
  { name: 'an empty length', bytes: `POST / HTTP/1.1\r\n${h}Content-Length:\r\n\r\n`, expect: bad },
  { name: 'a length that no number holds', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 99999999999999999999\r\n\r\n`, expect: bad },
  { name: 'a length with a fraction', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 4.0\r\n\r\nabcd`, expect: bad },
  { name: 'Transfer-Encoding: identity', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: identity\r\n\r\n`, expect: bad },
  { name: 'chunked twice', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'gzip, chunked', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'chunked, gzip', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'xchunked', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'chunked with a parameter', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'quoted chunked', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'two Transfer-Encoding fields', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'an empty Transfer-Encoding', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding:\r\n\r\n`, expect: bad },
  { name: 'Transfer-Encoding in HTTP/1.0', bytes: `POST / HTTP/1.0\r\n${h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'vertical tab before chunked', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`, expect: bad },
  // Lines and fields.
  { name: 'space before the colon', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`, expect: bad },
  { name: 'tab before the colon', bytes: `POST / HTTP/1.1\r\n${h}Content-Length\t: 4\r\n\r\nabcd`, expect: bad },
  { name: 'folding', bytes: `GET / HTTP/1.1\r\n${h}X-A: b\r\n c\r\n\r\n`, expect: bad },
  { name: 'folding with a tab', bytes: `GET / HTTP/1.1\r\n${h}X-A: b\r\n\tc\r\n\r\n`, expect: bad },
  { name: 'a space before the first field', bytes: `GET / HTTP/1.1\r\n ${h}\r\n`, expect: bad },
  { name: 'an empty field name', bytes: `GET / HTTP/1.1\r\n${h}: b\r\n\r\n`, expect: bad },
  { name: 'a field without a colon', bytes: `GET / HTTP/1.1\r\n${h}nothing\r\n\r\n`, expect: bad },
  { name: 'a field name in brackets', bytes: `GET / HTTP/1.1\r\n${h}X[1]: b\r\n\r\n`, expect: bad },
  { name: 'a field name with a high byte', bytes: `GET / HTTP/1.1\r\n${h}X\xe9: b\r\n\r\n`, expect: bad },
  { name: 'bare line feeds', bytes: `GET / HTTP/1.1\nHost: a\n\n`, expect: bad },
  { name: 'a bare line feed after the request line', bytes: `GET / HTTP/1.1\n${h}\r\n`, expect: bad },
  { name: 'a bare line feed after a field', bytes: `GET / HTTP/1.1\r\n${h}X: y\n\r\n`, expect: bad },
  { name: 'a bare line feed at the end of the head', bytes: `GET / HTTP/1.1\r\n${h}\n`, expect: bad },
  { name: 'a bare carriage return in a value', bytes: `GET / HTTP/1.1\r\n${h}X: a\rb\r\n\r\n`, expect: bad },
  { name: 'two carriage returns at the end of a line', bytes: `GET / HTTP/1.1\r\n${h}X: a\r\r\n\r\n`, expect: bad },
  { name: 'NUL in a value', bytes: `GET / HTTP/1.1\r\n${h}X: a\0b\r\n\r\n`, expect: bad },
  { name: 'NUL in a name', bytes: `GET / HTTP/1.1\r\n${h}X\0: b\r\n\r\n`, expect: bad },
  { name: 'NUL in the target', bytes: `GET /\0 HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'DEL in a value', bytes: `GET / HTTP/1.1\r\n${h}X: \x7f\r\n\r\n`, expect: bad },
  // The request line.
  { name: 'two spaces before the target', bytes: `GET  / HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'two spaces before the version', bytes: `GET /  HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'a space at the end of the request line', bytes: `GET / HTTP/1.1 \r\n${h}\r\n`, expect: bad },
  { name: 'a tab for a space', bytes: `GET\t/ HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'no target', bytes: `GET HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'a target with a fragment', bytes: `GET /a#b HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'a target with a high byte', bytes: `GET /\xe9 HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'a target without a slash', bytes: `GET index.html HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'an asterisk with GET', bytes: `GET * HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'no version', bytes: `GET /\r\n${h}\r\n`, expect: bad },
  { name: 'a lower-case version', bytes: `GET / http/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'HTTP/1.2', bytes: `GET / HTTP/1.2\r\n${h}\r\n`, expect: [505, 'version-not-supported'] },
  { name: 'HTTP/2.0', bytes: `GET / HTTP/2.0\r\n${h}\r\n`, expect: [505, 'version-not-supported'] },
  { name: 'HTTP/1.10', bytes: `GET / HTTP/1.10\r\n${h}\r\n`, expect: bad },
  { name: 'an empty method', bytes: ` / HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'a method in brackets', bytes: `G(E)T / HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'two empty lines before the request', bytes: `\r\n\r\nGET / HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'CONNECT', bytes: `CONNECT a:443 HTTP/1.1\r\n${h}\r\n`, expect: [501, 'not-implemented'] },
  { name: 'bytes of TLS', bytes: '\x16\x03\x01\x02\x00\x01\x00\n', expect: bad },
  // Host.
  { name: 'no Host', bytes: `GET / HTTP/1.1\r\n\r\n`, expect: bad },
  { name: 'two Hosts', bytes: `GET / HTTP/1.1\r\n${h}Host: b\r\n\r\n`, expect: bad },
  { name: 'two equal Hosts', bytes: `GET / HTTP/1.1\r\n${h}${h}\r\n`, expect: bad },
  { name: 'an empty Host', bytes: `GET / HTTP/1.1\r\nHost:\r\n\r\n`, expect: bad },
  { name: 'a list of Hosts', bytes: `GET / HTTP/1.1\r\nHost: a b\r\n\r\n`, expect: bad },
  { name: 'a Host with a path', bytes: `GET / HTTP/1.1\r\nHost: a/b\r\n\r\n`, expect: bad },
  { name: 'a Host with a user', bytes: `GET / HTTP/1.1\r\nHost: u@a\r\n\r\n`, expect: bad },
  { name: 'a Host with a bad port', bytes: `GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n`, expect: bad },
  { name: 'an absolute target with another Host', bytes: `GET http://b/ HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'an absolute target without a host', bytes: `GET http:///x HTTP/1.1\r\n${h}\r\n`, expect: bad },
  { name: 'an absolute target of another scheme', bytes: `GET ftp://a/ HTTP/1.1\r\n${h}\r\n`, expect: bad },
  // Connection, Expect, Upgrade.
  { name: 'Connection that takes Host away', bytes: `GET / HTTP/1.1\r\n${h}Connection: host\r\n\r\n`, expect: bad },
  { name: 'Connection that takes Content-Length away', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 1\r\nConnection: close, Content-Length\r\n\r\nx`, expect: bad },
  { name: 'Connection with something else than tokens', bytes: `GET / HTTP/1.1\r\n${h}Connection: close; x\r\n\r\n`, expect: bad },
  { name: 'an unknown expectation', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx`, expect: [417, 'expectation-failed'] },
  { name: 'an upgrade with a length', bytes: `GET / HTTP/1.1\r\n${h}Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 36\r\n\r\n`, expect: bad },
  { name: 'an upgrade with chunks', bytes: `GET / HTTP/1.1\r\n${h}Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n`, expect: bad },
  // Limits.
  { name: 'a head that is too large', bytes: `GET / HTTP/1.1\r\n${h}X: ${'x'.repeat(9000)}\r\n\r\n`, expect: [431, 'head-too-large'] },
  { name: 'a head that never ends', bytes: `GET / HTTP/1.1\r\n${h}${'X: y\r\n'.repeat(2000)}`, expect: [431, 'head-too-large'] },
  { name: 'too many fields', bytes: `GET / HTTP/1.1\r\n${h}${'X: y\r\n'.repeat(101)}\r\n`, expect: [431, 'head-too-large'] },
  // Bodies: the head passes, then the fault shows.
  ...([
    ['a chunk size with a plus', '+4\r\nabcd\r\n0\r\n\r\n'], ['a chunk size with a minus', '-4\r\nabcd\r\n0\r\n\r\n'], ['a chunk size with 0x', '0x4\r\nabcd\r\n0\r\n\r\n'],
    ['an empty chunk size', '\r\nabcd\r\n0\r\n\r\n'], ['a chunk size with a space before', ' 4\r\nabcd\r\n0\r\n\r\n'], ['a chunk size with a space behind', '4 \r\nabcd\r\n0\r\n\r\n'],
    ['a chunk size with an underscore', '1_0\r\n0123456789abcdef\r\n0\r\n\r\n'], ['a chunk size of 17 digits', '00000000000000004\r\nabcd\r\n0\r\n\r\n'],
    ['a chunk size beyond all numbers', 'fffffffffffffff\r\nabcd'], ['a chunk size ended by a line feed', '4\nabcd\r\n0\r\n\r\n'], ['a chunk size ended by a carriage return', '4\rabcd\r\n0\r\n\r\n'],
    ['a chunk longer than its size', '4\r\nabcde\r\n0\r\n\r\n'], ['a chunk ended by a line feed', '4\r\nabcd\n0\r\n\r\n'], ['chunk data without an end', '4\r\nabcd0\r\n\r\n'],
    ['an extension with a line feed', '4;a=b\nabcd\r\n0\r\n\r\n'], ['an extension with a quoted line feed', '4;a="b\n"\r\nabcd\r\n0\r\n\r\n'], ['an extension with NUL', '4;a=\0\r\nabcd\r\n0\r\n\r\n'],
    ['an extension that is too long', `4;a=${'b'.repeat(300)}\r\nabcd\r\n0\r\n\r\n`], ['a trailer with a line feed', '0\r\nX: y\n\r\n'], ['a trailer without a colon', '0\r\nnothing\r\n\r\n'],
    ['a trailer with space before the colon', '0\r\nX : y\r\n\r\n'], ['a folded trailer', '0\r\nX: y\r\n z\r\n\r\n'], ['a trailer Content-Length', '0\r\nContent-Length: 5\r\n\r\n'],
    ['a trailer Transfer-Encoding', '0\r\nTransfer-Encoding: chunked\r\n\r\n'], ['a trailer Host', '0\r\nhost: b\r\n\r\n'], ['a last chunk ended by a line feed', '0\r\n\n'],
    ['trailers that are too large', `0\r\nX: ${'y'.repeat(9000)}\r\n\r\n`],
  ] as const).map(([name, body]): RequestCase => ({
    name, bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked\r\n\r\n${body}`, expect: [400, 'body-malformed'], headPasses: true,
  })),
  { name: 'the client ends in the middle of a body', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 10\r\n\r\nabc`, expect: 'broken', headPasses: true, ends: true },
  { name: 'the client ends in the middle of a chunk', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked\r\n\r\n5\r\nab`, expect: 'broken', headPasses: true, ends: true },
  { name: 'the client ends before the last chunk', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`, expect: 'broken', headPasses: true, ends: true },
  { name: 'the client ends in the middle of a head', bytes: `GET / HTTP/1.1\r\nHo`, expect: 'broken', ends: true },
]

/** Odd but legal neighbours of the above: a proxy that refused everything would fail here. */
const taken: readonly RequestCase[] = [
  { name: 'no space after the colon', bytes: `GET / HTTP/1.1\r\nHost:a\r\nConnection:close\r\n\r\n`, expect: 'ok' },
  { name: 'much space around a value', bytes: `GET / HTTP/1.1\r\nHost: \t a \t \r\nConnection: close\r\n\r\n`, expect: 'ok' },
  { name: 'an empty value', bytes: `GET / HTTP/1.1\r\n${h}X:\r\nConnection: close\r\n\r\n`, expect: 'ok' },
  { name: 'high bytes in a value', bytes: `GET / HTTP/1.1\r\n${h}X: caf\xe9 \xed\x95\xb4\r\nConnection: close\r\n\r\n`, expect: 'ok' },
  { name: 'one empty line before the request', bytes: `\r\nGET / HTTP/1.1\r\n${h}Connection: close\r\n\r\n`, expect: 'ok' },
  { name: 'names and options in other cases', bytes: `GET / HTTP/1.1\r\nhOST: a\r\ncONNECTION: CLOSE\r\n\r\n`, expect: 'ok' },
  { name: 'an unknown method', bytes: `BREW /pot HTTP/1.1\r\n${h}Connection: close\r\n\r\n`, expect: 'ok' },
  { name: 'an absolute target with its Host', bytes: `GET http://a/x HTTP/1.1\r\n${h}Connection: close\r\n\r\n`, expect: 'ok' },
  { name: 'an absolute target without a path', bytes: `GET http://a?q HTTP/1.1\r\n${h}Connection: close\r\n\r\n`, expect: 'ok' },
  { name: 'an asterisk with OPTIONS', bytes: `OPTIONS * HTTP/1.1\r\n${h}Connection: close\r\n\r\n`, expect: 'ok' },
  { name: 'a Host that is an IPv6 literal', bytes: `GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n`, expect: 'ok' },
  { name: 'a length of zero', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 0\r\nConnection: close\r\n\r\n`, expect: 'ok' },
  { name: 'a length with leading zeros', bytes: `POST / HTTP/1.1\r\n${h}Content-Length: 0004\r\nConnection: close\r\n\r\nabcd`, expect: 'ok' },
  { name: 'Chunked in another case', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: ChunKed\r\nConnection: close\r\n\r\n4\r\nabcd\r\n0\r\n\r\n`, expect: 'ok' },
  { name: 'chunks with extensions and trailers', bytes: `POST / HTTP/1.1\r\n${h}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n004;a="b c";d\r\nabcd\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n`, expect: 'ok' },
  { name: 'HTTP/1.0 without Host', bytes: `GET / HTTP/1.0\r\n\r\n`, expect: 'ok' },
  { name: 'a long but legal head', bytes: `GET /${'p'.repeat(3000)} HTTP/1.1\r\n${h}X: ${'x'.repeat(3000)}\r\nConnection: close\r\n\r\n`, expect: 'ok' },
]

/** Answers a request when all of it is there; bodies of POST are waited for. */
function answerWhenWhole(socket: Socket & { answered?: number }, _data: Buffer, all: string): void {
  const whole = all.slice(socket.answered ?? 0)
  const end = whole.indexOf('\r\n\r\n')
  if (end < 0) return
  const body = whole.slice(end + 4)
  const length = Number(/content-length: *(\d+)/i.exec(whole.slice(0, end))?.[1] ?? 0)
  const chunked = /transfer-encoding/i.test(whole.slice(0, end))
  if (chunked ? !/(^|\r\n)0+\r\n([^\r]+\r\n)*\r\n$/.test(body) : body.length < length) return
  socket.answered = all.length
  socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmember')
}

async function send(client: Client, bytes: string, cuts: readonly number[]): Promise<void> {
  client.socket.setNoDelay(true)
  let from = 0
  for (const to of [...cuts, bytes.length]) {
    if (to <= from) continue
    if (client.closed || client.socket.destroyed) return
    client.send(bytes.slice(from, to))
    from = to
    if (to < bytes.length) await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

let proxy: TestProxy
let backend: Backend

test.before(async () => {
  proxy = await TestProxy.start(1)
  backend = await Backend.start(answerWhenWhole)
  await proxy.apply(proxy.document([backend.port], { listener: { maxHeadBytes: 8192 } }))
})
test.after.always(async () => {
  await proxy?.stop()
  await backend?.close()
})

async function check(one: RequestCase, cuts: readonly number[]): Promise<string | undefined> {
  const before = backend.received.length
  const client = proxy.client()
  const follows = one.expect === 'ok' || one.ends === true ? '' : smuggled
  await send(client, one.bytes + follows, cuts)
  if (one.ends === true) client.socket.end()
  try {
    await client.ends()
  } catch {
    return `no end; it got ${JSON.stringify(client.text.slice(0, 200))}`
  }
  client.close()
  if (one.headPasses === true) await until('the member connection is gone', () => [...backend.sockets].every((socket) => socket.destroyed) || backend.sockets.size === 0).catch(() => undefined)
  const reached = backend.received.slice(before).join('|')
  if (reached.includes('GET /smuggled')) return `the smuggled request reached the member: ${JSON.stringify(reached)}`
  if (client.text.split('HTTP/1.1 ').length > 2) return `more than one answer: ${JSON.stringify(client.text)}`
  if (one.expect === 'ok') return client.text.endsWith('member') ? undefined : `not taken: ${JSON.stringify(client.text.slice(0, 200))}`
  if (one.headPasses !== true && reached !== '') return `it reached the member: ${JSON.stringify(reached)}`
  if (one.expect === 'broken') return client.text === '' ? undefined : `an answer came: ${JSON.stringify(client.text)}`
  const [status, code] = one.expect
  const right = client.text.startsWith(`HTTP/1.1 ${status} `) && client.text.includes(`X-Haechi-Error: ${code}\r\n`) && client.text.includes('Connection: close\r\n')
  return right ? undefined : `answered ${JSON.stringify(client.text.slice(0, 200))}`
}

for (const [kind, cases] of [['refused', refused], ['taken', taken]] as const) {
  for (const [number, one] of cases.entries()) {
    // One after the other: what reached the member is then known to be of this case.
    test.serial(`request, ${kind}: ${one.name}`, async (t) => {
      const random = randomOf(seed + number)
      const whole = one.bytes.length + smuggled.length
      const cut = (): number => Math.floor(random() * one.bytes.length)
      const ways: (readonly number[])[] = [[], [cut()], [cut(), cut()].sort((a, b) => a - b), [cut(), cut(), cut()].sort((a, b) => a - b)]
      if (whole < 160) ways.push(Array.from({ length: one.bytes.length }, (_, i) => i + 1))
      for (const cuts of ways) t.is(await check(one, cuts), undefined, `cut at ${cuts.join(', ') || 'nowhere'}; SEED=${seed}`)
    })
  }
}

interface ResponseCase {
  readonly name: string
  readonly bytes: string
  /** The member ends its side after the bytes. */
  readonly ends?: boolean
  readonly method?: 'GET' | 'HEAD'
  /** `broken`: part of an answer, then a failure of the connection. A pattern: the whole answer that the client gets. */
  readonly expect: 'bad-member-response' | 'member-closed' | 'broken' | RegExp
  /** Whether the member's connection may be used for the next request. */
  readonly reused?: boolean
}
const ok = 'HTTP/1.1 200 OK\r\n'

const responses: readonly ResponseCase[] = [
  { name: 'no status line', bytes: 'hello\r\n\r\n', expect: 'bad-member-response' },
  { name: 'a status of two digits', bytes: 'HTTP/1.1 20 OK\r\n\r\n', expect: 'bad-member-response' },
  { name: 'a status of letters', bytes: 'HTTP/1.1 2OO OK\r\n\r\n', expect: 'bad-member-response' },
  { name: 'a status beyond 599', bytes: 'HTTP/1.1 999 No\r\n\r\n', expect: 'bad-member-response' },
  { name: 'HTTP/2', bytes: 'HTTP/2 200\r\n\r\n', expect: 'bad-member-response' },
  { name: 'HTTP/1.3', bytes: 'HTTP/1.3 200 OK\r\n\r\n', expect: 'bad-member-response' },
  { name: 'two spaces after the version', bytes: 'HTTP/1.1  200 OK\r\n\r\n', expect: 'bad-member-response' },
  { name: 'both framings', bytes: `${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'two lengths', bytes: `${ok}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`, expect: 'bad-member-response' },
  { name: 'two equal lengths', bytes: `${ok}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`, expect: 'bad-member-response' },
  { name: 'a signed length', bytes: `${ok}Content-Length: +3\r\n\r\nabc`, expect: 'bad-member-response' },
  { name: 'a list of lengths', bytes: `${ok}Content-Length: 3,3\r\n\r\nabc`, expect: 'bad-member-response' },
  { name: 'an unknown coding', bytes: `${ok}Transfer-Encoding: gzip\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'a coding in HTTP/1.0', bytes: `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'folding', bytes: `${ok}X: a\r\n b\r\nContent-Length: 0\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'bare line feeds', bytes: 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', expect: 'bad-member-response' },
  { name: 'a bare carriage return', bytes: `${ok}X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'NUL in a value', bytes: `${ok}X: \0\r\nContent-Length: 0\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'space before the colon', bytes: `${ok}Content-Length : 3\r\n\r\nabc`, expect: 'bad-member-response' },
  { name: 'a head that is too large', bytes: `${ok}X: ${'x'.repeat(9000)}\r\n\r\n`, expect: 'bad-member-response' },
  { name: 'too many fields', bytes: `${ok}${'X: y\r\n'.repeat(101)}\r\n`, expect: 'bad-member-response' },
  { name: 'a switch of protocols that nobody asked for', bytes: 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n', expect: 'bad-member-response' },
  { name: 'interim answers without end', bytes: 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(40), expect: /(HTTP\/1\.1 102 [^]*){5}/ },
  { name: 'no byte, then the end', bytes: '', ends: true, expect: 'member-closed' },
  { name: 'the end in the head', bytes: 'HTTP/1.1 200 OK\r\nContent-Le', ends: true, expect: 'member-closed' },
  { name: 'the end in a body with a length', bytes: `${ok}Content-Length: 10\r\n\r\nabc`, ends: true, expect: 'broken' },
  { name: 'the end in a chunk', bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nab`, ends: true, expect: 'broken' },
  { name: 'the end before the last chunk', bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`, ends: true, expect: 'broken' },
  { name: 'a bad chunk size', bytes: `${ok}Transfer-Encoding: chunked\r\n\r\nxyz\r\nab\r\n0\r\n\r\n`, expect: 'broken' },
  { name: 'a chunk longer than its size', bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n`, expect: 'broken' },
  { name: 'more bytes than the length', bytes: `${ok}Content-Length: 3\r\n\r\nabc${ok}Content-Length: 4\r\n\r\nevil`, expect: /\r\n\r\nabc$/, reused: false },
  { name: 'bytes after the last chunk', bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nevil`, expect: /\r\n\r\n0\r\n\r\n$/, reused: false },
  { name: 'a body with 204', bytes: `HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil`, expect: /^HTTP\/1\.1 204 [^]*\r\n\r\n$/, reused: false },
  { name: 'a body with 304', bytes: `HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil`, expect: /^HTTP\/1\.1 304 [^]*\r\n\r\n$/, reused: false },
  { name: 'a body for HEAD', bytes: `${ok}Content-Length: 4\r\n\r\nevil`, method: 'HEAD', expect: /^HTTP\/1\.1 200 [^]*\r\n\r\n$/, reused: false },
  { name: 'legal: a body with a length', bytes: `${ok}Content-Length: 4\r\n\r\nbody`, expect: /\r\n\r\nbody$/, reused: true },
  { name: 'legal: no reason phrase', bytes: `HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nbody`, expect: /\r\n\r\nbody$/, reused: true },
  { name: 'legal: a body until the end', bytes: `${ok}\r\nbody`, ends: true, expect: /\r\n\r\nbody$/, reused: false },
  { name: 'legal: an interim answer first', bytes: `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok}Content-Length: 4\r\n\r\nbody`, expect: /103 Early Hints[^]*200 OK[^]*body$/, reused: true },
  { name: 'legal: the member wants to close', bytes: `${ok}Connection: close\r\nContent-Length: 4\r\n\r\nbody`, expect: /\r\n\r\nbody$/, reused: false },
]

for (const [number, one] of responses.entries()) {
  test.serial(`response: ${one.name}`, async (t) => {
    const random = randomOf(seed + 1000 + number)
    for (let way = 0; way < 3; way++) {
      const cut = way === 0 ? one.bytes.length : Math.floor(random() * one.bytes.length)
      let connection = 0
      const member = await Backend.start((socket, data) => {
        const first = !(socket as Socket & { seen?: boolean }).seen
        ;(socket as Socket & { seen?: boolean }).seen = true
        if (data.toString('latin1').includes('/next')) {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext')
          return
        }
        if (!first) return
        connection++
        socket.setNoDelay(true)
        socket.write(one.bytes.slice(0, cut), 'latin1')
        const rest = (): void => {
          if (socket.destroyed) return
          if (cut < one.bytes.length) socket.write(one.bytes.slice(cut), 'latin1')
          if (one.ends === true) socket.end()
        }
        if (cut < one.bytes.length) setTimeout(rest, 3)
        else rest()
      })
      const own = await TestProxyAt.with(member)
      try {
        const client = own.client()
        client.send(`${one.method ?? 'GET'} /first HTTP/1.1\r\n${h}\r\n`)
        const where = `cut at ${cut}; SEED=${seed}; got `
        if (one.expect === 'broken') {
          await until('the client sees a failure', () => client.closed)
          t.is(client.error, 'ECONNRESET', where + client.text)
        } else if (one.expect instanceof RegExp) {
          await client.gets(one.expect)
          if (one.reused !== undefined) {
            const before = member.accepted
            await until('the exchange is over', () => own.proxy.members()[0]!.active === 0)
            const next = own.client()
            next.send(`GET /next HTTP/1.1\r\n${h}Connection: close\r\n\r\n`)
            await next.ends()
            t.regex(next.text, /\r\n\r\nnext$/, where + client.text)
            t.is(member.accepted - before, one.reused ? 0 : 1, `${where}${client.text}: connection used again?`)
            next.close()
          }
          t.notRegex(client.text, /evil/)
        } else {
          await client.gets(`X-Haechi-Error: ${one.expect}\r\n`)
          t.regex(client.text, /^HTTP\/1\.1 502 /, where + client.text)
          t.notRegex(client.text, /Set-Cookie/)
        }
        client.close()
        t.is(connection, 1)
      } finally {
        await own.stop()
        await member.close()
      }
    }
  })
}

/** A proxy whose only pool is the given member, with small limits. */
const TestProxyAt = {
  async with(member: Backend): Promise<TestProxy> {
    const own = await TestProxy.start(1)
    await own.apply(own.document([member.port], { listener: { maxHeadBytes: 8192 } }))
    return own
  },
}

test('there are enough cases', (t) => {
  t.log(`seed ${seed}: ${refused.length} refused requests, ${taken.length} taken ones, ${responses.length} responses`)
  t.true(refused.length >= 60 && responses.length >= 25)
})
