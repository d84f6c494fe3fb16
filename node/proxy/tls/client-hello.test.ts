/** The reader of ClientHellos: hellos made by hand in all shapes and pieces, those of real clients, and bytes that are none. */
import { createServer } from 'node:net'
import { connect, type ConnectionOptions } from 'node:tls'
import test from 'ava'
import fc from 'fast-check'
import { HelloReader, maxHelloBytes } from './client-hello.ts'

interface Hello {
  readonly sessionBytes: number
  readonly ciphers: number
  /** Undefined: no extensions at all, not even their length. */
  readonly extensions: readonly { readonly type: number; readonly body: Uint8Array }[] | undefined
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255])
}
function nameBody(name: string): Uint8Array {
  return Buffer.concat([u16(name.length + 3), Buffer.from([0]), u16(name.length), Buffer.from(name, 'latin1')])
}

function message({ sessionBytes, ciphers, extensions }: Hello): Buffer {
  const list = extensions === undefined ? undefined : Buffer.concat(extensions.flatMap(({ type, body }) => [u16(type), u16(body.length), body]))
  const body = Buffer.concat([
    Buffer.from([3, 3]), Buffer.alloc(32, 7), Buffer.from([sessionBytes]), Buffer.alloc(sessionBytes, 9), u16(ciphers * 2), Buffer.alloc(ciphers * 2, 1),
    Buffer.from([1, 0]), ...(list === undefined ? [] : [u16(list.length), list]),
  ])
  return Buffer.concat([Buffer.from([1, 0]), u16(body.length), body])
}

/** Puts a handshake message into records that end at these places. */
function records(whole: Buffer, cuts: readonly number[]): Buffer {
  const places = [...new Set(cuts.map((cut) => 1 + (cut % Math.max(1, whole.length - 1))))].filter((cut) => cut < whole.length).sort((a, b) => a - b)
  const pieces = [0, ...places].map((from, i) => whole.subarray(from, places[i] ?? whole.length))
  return Buffer.concat(pieces.flatMap((piece) => [Buffer.from([22, 3, 1]), u16(piece.length), piece]))
}

/** Gives the bytes piece by piece, as a connection does. @returns the verdict and after how many bytes it came */
function readIn(bytes: Buffer, pieces: readonly number[]): { verdict: string; name: string; at: number } {
  const reader = new HelloReader()
  const offset = 3
  const buffer = Buffer.alloc(bytes.length + 2 * offset, 0xee)
  bytes.copy(buffer, offset)
  let end = 0
  for (let i = 0; end < bytes.length; i++) {
    end = Math.min(bytes.length, end + (pieces.length === 0 ? bytes.length : Math.max(1, pieces[i % pieces.length]!)))
    const verdict = reader.read(buffer, offset, offset + end)
    if (verdict !== 'more') return { verdict, name: reader.serverName, at: end }
  }
  return { verdict: 'more', name: '', at: end }
}

/**
 * The same by another way: everything gathered first, then read front to back by a cursor that throws at the end.
 * @returns the name, or undefined when the bytes do not begin with a whole ClientHello
 */
function reference(bytes: Buffer): string | undefined {
  let at = 0
  let message: Buffer = Buffer.alloc(0)
  let total = -1
  while (total < 0 || message.length < total) {
    if (at + 5 > bytes.length || bytes[at] !== 22 || bytes[at + 1] !== 3) return undefined
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > 16384 || at + 5 + length > bytes.length || at + 5 + length > maxHelloBytes) return undefined
    message = Buffer.concat([message, bytes.subarray(at + 5, at + 5 + length)])
    at += 5 + length
    if (message[0] !== 1) return undefined
    if (message.length >= 4) total = 4 + message.readUIntBE(1, 3)
  }
  if (message.length !== total) return undefined
  let rest: Buffer = message.subarray(4)
  const take = (count: number): Buffer => {
    if (rest.length < count) throw new RangeError()
    const taken = rest.subarray(0, count)
    rest = rest.subarray(count)
    return taken
  }
  const vector = (lengthBytes: number): Buffer => take(take(lengthBytes).readUIntBE(0, lengthBytes))
  try {
    if (take(34)[0] !== 3 || vector(1).length > 32) return undefined
    const ciphers = vector(2).length
    if (ciphers < 2 || ciphers % 2 !== 0 || vector(1).length < 1) return undefined
    if (rest.length === 0) return ''
    const extensions = vector(2)
    if (rest.length > 0) return undefined
    rest = extensions
    let name: string | undefined
    while (rest.length > 0) {
      const type = take(2).readUInt16BE()
      const body = vector(2)
      if (type !== 0) continue
      const after = rest
      rest = body
      const list = vector(2)
      if (rest.length > 0 || name !== undefined) return undefined
      rest = list
      if (take(1)[0] !== 0) return undefined
      const host = vector(2).toString('latin1')
      if (rest.length > 0 || !/^[A-Za-z0-9._-]{1,253}$/.test(host)) return undefined
      name = host.toLowerCase()
      rest = after
    }
    return name ?? ''
  } catch {
    return undefined
  }
}

const label = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 1, maxLength: 20 })
const host = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
const other = fc.record({ type: fc.integer({ min: 1, max: 0xffff }), body: fc.uint8Array({ maxLength: 300 }) })
const hello: fc.Arbitrary<Hello> = fc.record({
  sessionBytes: fc.constantFrom(0, 1, 32),
  ciphers: fc.integer({ min: 1, max: 40 }),
  extensions: fc.option(fc.array(other, { maxLength: 6 }), { nil: undefined }),
})
const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 12 })
const cuts = fc.array(fc.nat(), { maxLength: 4 })

test('the name is found, however the hello is cut into records and pieces, and not a byte too early', (t) => {
  fc.assert(
    fc.property(hello, fc.option(host, { nil: undefined }), fc.nat(), pieces, cuts, (shape, name, place, into, inRecords) => {
      const extensions = shape.extensions === undefined && name === undefined ? undefined : [...(shape.extensions ?? [])]
      if (name !== undefined) extensions!.splice(place % (extensions!.length + 1), 0, { type: 0, body: nameBody(name) })
      const bytes = records(message({ ...shape, extensions }), inRecords)
      const read = readIn(bytes, into)
      t.is(read.verdict, 'done')
      t.is(read.name, (name ?? '').toLowerCase())
      t.is(reference(bytes), read.name)
      t.is(readIn(bytes.subarray(0, bytes.length - 1), into).verdict, 'more')
    }),
  )
  t.pass()
})

test('changed bytes: no crash, and the same verdict as a simple reader, in one piece and in many', (t) => {
  const change = fc.record({ at: fc.nat(), to: fc.oneof(fc.constantFrom(0, 1, 2, 3, 22, 255), fc.integer({ min: 0, max: 255 })) })
  fc.assert(
    fc.property(hello, host, pieces, cuts, fc.array(change, { minLength: 1, maxLength: 4 }), (shape, name, into, inRecords, changes) => {
      const bytes = records(message({ ...shape, extensions: [{ type: 0, body: nameBody(name) }, ...(shape.extensions ?? [])] }), inRecords)
      // Changes are where the structure is: at the front, and anywhere.
      for (const { at, to } of changes) bytes[at % (at % 2 === 0 ? bytes.length : Math.min(bytes.length, 120))] = to
      const whole = readIn(bytes, [])
      const cut = readIn(bytes, into)
      t.deepEqual([cut.verdict, cut.name], [whole.verdict, whole.name])
      const expected = reference(bytes)
      if (expected === undefined) t.not(whole.verdict, 'done')
      else t.deepEqual([whole.verdict, whole.name], ['done', expected])
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

test('random bytes: no crash, no hang, and never more than the limit is waited for', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), pieces, fc.boolean(), (random, into, headed) => {
      const bytes = headed ? Buffer.concat([Buffer.from([22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc]), random]) : Buffer.from(random)
      const { verdict, at } = readIn(bytes, into)
      t.true(at <= bytes.length)
      if (verdict === 'done') t.not(reference(bytes.subarray(0, at)), undefined)
    }),
    { numRuns: 2000 },
  )
  // Records of one byte, for ever.
  const endless = Buffer.concat(Array.from({ length: 4000 }, (_, i) => Buffer.from([22, 3, 1, 0, 1, i === 0 ? 1 : i === 1 ? 0 : 0x3f])))
  t.is(readIn(endless, [100]).verdict, 'bad')
  t.true(readIn(endless, [100]).at <= maxHelloBytes + 100)
})

test('what is refused: other records, other messages, two names, other kinds of names, what follows', (t) => {
  const good = (extensions: Hello['extensions']): Buffer => records(message({ sessionBytes: 0, ciphers: 2, extensions }), [])
  const name = { type: 0, body: nameBody('a.test') }
  t.is(readIn(good([name]), []).verdict, 'done')
  t.is(readIn(good([name, name]), []).verdict, 'bad')
  t.is(readIn(good([{ type: 0, body: Buffer.from([0, 4, 1, 0, 1, 0x61]) }]), []).verdict, 'bad')
  t.is(readIn(good([{ type: 0, body: nameBody('a b') }]), []).verdict, 'bad')
  t.is(readIn(good([{ type: 0, body: nameBody('a\u0000.test') }]), []).verdict, 'bad')
  t.is(readIn(good([{ type: 0, body: Buffer.concat([nameBody('a.test'), Buffer.from([0])]) }]), []).verdict, 'bad')
  t.is(readIn(Buffer.from('GET / HTTP/1.1\r\n'), []).verdict, 'bad')
  t.is(readIn(Buffer.from([0x80, 0x2e, 1, 3, 1]), []).verdict, 'bad', 'SSL 2')
  t.is(readIn(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), []).verdict, 'bad', 'a ServerHello')
  t.is(readIn(Buffer.from([22, 3, 1, 0xff, 0xff]), []).verdict, 'bad', 'a record that is too long')
})

for (const [what, options] of [
  ['TLS 1.3 with a name', { servername: 'Some.Name.test' }],
  ['TLS 1.2', { servername: 'some.name.test', maxVersion: 'TLSv1.2' }],
  ['no name', {}],
  ['many protocols', { servername: 'some.name.test', ALPNProtocols: Array.from({ length: 60 }, (_, i) => `protocol-number-${i}`) }],
] as [string, ConnectionOptions][]) {
  test(`a real client: ${what}`, async (t) => {
    const received = await new Promise<Buffer>((resolve) => {
      const server = createServer((socket) => {
        let all = Buffer.alloc(0)
        socket.on('error', () => undefined)
        socket.on('data', (data) => {
          all = Buffer.concat([all, data])
          if (readIn(all, []).verdict === 'more') return
          socket.destroy()
          server.close()
          resolve(all)
        })
      })
      server.listen(0, '127.0.0.1', () => {
        connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1', ...options }).on('error', () => undefined)
      })
    })
    const name = options.servername?.toLowerCase() ?? ''
    for (const into of [[], [1], [7, 300]]) t.like(readIn(received, into), { verdict: 'done', name })
    t.is(reference(received), name)
  })
}
