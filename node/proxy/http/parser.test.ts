import test from 'ava'
import * as fc from 'fast-check'
import { ChunkedReader } from './chunked.ts'
import { Head, HeadScanner } from './head.ts'

const seedNote = (seed: number): string => `replay: SEED=${seed} ava node/proxy/http/parser.test.ts`
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)

/** Bytes that make heads interesting, more than random ones would. */
const piece = fc.constantFrom(
  'GET ', 'POST ', '/', '/a?b=c', ' HTTP/1.1\r\n', ' HTTP/1.0\r\n', ' HTTP/1.2\r\n', 'Host: a\r\n', 'Host:a:80\r\n', 'Content-Length: 5\r\n', 'Content-Length: +5\r\n',
  'Transfer-Encoding: chunked\r\n', 'Connection: close\r\n', 'X: y\r\n', '\r\n', '\n', '\r', ' ', ':', '\t', '\0', 'x', '\r\n\r\n', 'Connection: upgrade\r\nUpgrade: x\r\n',
)
const text = fc.array(piece, { minLength: 1, maxLength: 14 }).map((pieces) => pieces.join(''))
/** Nearly heads: right in order, with at most a few pieces too many, so that a good part is taken. */
const field = fc.constantFrom('Host: a\r\n', 'Host:a:80\r\n', 'Content-Length: 5\r\n', 'Content-Length: +5\r\n', 'Transfer-Encoding: chunked\r\n', 'Connection: close\r\n', 'X: y\r\n', 'x:\r\n', 'Connection: x, y\r\n')
const nearly = fc
  .tuple(fc.constantFrom('GET ', 'POST ', 'OPTIONS '), fc.constantFrom('/', '/a?b=c', '*', 'http://a/'), fc.constantFrom(' HTTP/1.1\r\n', ' HTTP/1.0\r\n'), fc.array(field, { maxLength: 5 }), fc.option(fc.tuple(piece, fc.nat({ max: 120 }))))
  .map(([method, target, version, fields, stray]) => {
    const whole = `${method}${target}${version}${fields.join('')}\r\n`
    return stray === null ? whole : whole.slice(0, stray[1]) + stray[0] + whole.slice(stray[1])
  })
const anything = fc.oneof(nearly, text)

test('where a head ends does not depend on how its bytes are split', (t) => {
  t.log(seedNote(seed))
  fc.assert(
    fc.property(anything, fc.array(fc.nat({ max: 200 }), { maxLength: 8 }), (whole, cuts) => {
      const buffer = Buffer.from(whole, 'latin1')
      const once = new HeadScanner().scan(buffer, 0, buffer.length)
      const scanner = new HeadScanner()
      let pieces = 0
      for (const cut of [...cuts.filter((at) => at < buffer.length).sort((a, b) => a - b), buffer.length]) {
        pieces = scanner.scan(buffer, 0, cut)
        if (pieces !== 0) break
      }
      return pieces === once
    }),
    { seed, numRuns: 5000 },
  )
  t.pass()
})

test('a head that is taken has one reading: fields are tokens, values have no controls, framing is single', (t) => {
  t.log(seedNote(seed))
  const head = new Head()
  let taken = 0
  fc.assert(
    fc.property(anything, (whole) => {
      const buffer = Buffer.from(whole, 'latin1')
      const length = new HeadScanner().scan(buffer, 0, buffer.length)
      if (length <= 0) return true
      if (head.parseRequest(buffer, 0, length, 100) !== 0) return true
      taken++
      // A simple reader of the same bytes: lines by CRLF, names before the first colon.
      const lines = buffer.toString('latin1', 0, length - 4).split('\r\n')
      const fields = lines.slice(1).map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const)
      const values = (name: string): string[] => fields.filter(([found]) => found === name).map(([, value]) => value)
      const lengths = values('content-length')
      return (
        fields.length === head.count &&
        fields.every(([name, value]) => /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) && !/[\0\r\n]/.test(value)) &&
        lengths.length <= 1 &&
        (lengths.length === 0 ? head.contentLength === -1 : head.contentLength === Number(lengths[0]) && /^\d+$/.test(lengths[0]!)) &&
        head.chunked === (values('transfer-encoding').length === 1) &&
        !(head.chunked && lengths.length > 0) &&
        (head.minor === 0 || values('host').length === 1)
      )
    }),
    { seed, numRuns: 20_000 },
  )
  t.true(taken > 1000, `${taken} generated heads were valid: the test would say nothing`)
})

/** The simplest reader of a chunked body that RFC 9112 §7.1 allows; undefined: not one. */
function reference(body: string): { end: number; data: string } | undefined {
  let at = 0
  let data = ''
  for (;;) {
    const line = /^([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]{0,256})?\r\n/.exec(body.slice(at))
    if (line === null) return undefined
    const size = Number.parseInt(line[1]!, 16)
    at += line[0].length
    if (size === 0) {
      const trailer = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n/.exec(body.slice(at))
      return trailer === null ? undefined : { end: at + trailer[0].length, data }
    }
    if (body.slice(at + size, at + size + 2) !== '\r\n') return undefined
    data += body.slice(at, at + size)
    at += size + 2
  }
}

const chunkPiece = fc.constantFrom('0\r\n', '1\r\n', '3\r\n', 'a\r\n', '00\r\n', '1;x=y\r\n', '-1\r\n', '0x1\r\n', 'abc\r\n', 'z\r\n', '\r\n', '\n', 'x', 'X-T: 1\r\n', ' ', '0\r\n\r\n')

test('the chunked reader and a simple reference agree, however the bytes are split', (t) => {
  t.log(seedNote(seed))
  fc.assert(
    fc.property(fc.array(chunkPiece, { minLength: 1, maxLength: 12 }), fc.nat({ max: 30 }), fc.nat({ max: 30 }), (pieces, a, b) => {
      const body = pieces.join('')
      const buffer = Buffer.from(body, 'latin1')
      const reader = new ChunkedReader()
      let data = ''
      let at = 0
      let bad = false
      for (const cut of [...new Set([Math.min(a, b), Math.max(a, b), buffer.length])].filter((cut) => cut <= buffer.length).sort((x, y) => x - y)) {
        if (cut <= at || reader.done) continue
        const next = reader.read(buffer, at, cut)
        if (next < 0) {
          bad = true
          break
        }
        for (let i = 0; i < reader.spans.length; i += 2) data += body.slice(reader.spans[i], reader.spans[i + 1])
        at = next
      }
      const expected = reference(body)
      if (expected === undefined) return bad || !reader.done
      return !bad && reader.done && at === expected.end && data === expected.data
    }),
    { seed, numRuns: 20_000 },
  )
  t.pass()
})

// Bug: 64 KiB of options and a hundred fields cost a worker milliseconds for each request.
test('bug: Connection may not name more than anyone needs, in one field or in many', (t) => {
  const head = new Head()
  const parse = (fields: string): number => {
    const buffer = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`, 'latin1')
    return head.parseRequest(buffer, 0, buffer.length, 1000)
  }
  t.is(parse(`Connection: close, ${'x, '.repeat(300)}y\r\n`), 0)
  t.true(head.close)
  t.not(parse(`Connection: ${'x, '.repeat(400)}y\r\n`), 0)
  t.not(parse('Connection: x\r\n'.repeat(900) + `Connection: ${'y'.repeat(200)}\r\n`), 0)
  t.is(parse('Connection: close\r\n'), 0)
})
