/** The access log: lines that a client cannot forge, the ring that never blocks, and the file that is put aside. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { AccessLines, maxLineBytes, RequestNote, type AccessRecord } from './access-line.ts'
import { AccessLog } from './access-log.ts'
import { allocateRing, LineRing } from './line-ring.ts'

function noteOf(parts: { method?: string; target?: string; host?: string; referer?: string; userAgent?: string; requestId?: string }): RequestNote {
  const note = new RequestNote()
  const put = (at: number, text = ''): number => {
    const bytes = Buffer.from(text, 'latin1')
    return note.append(at, bytes, 0, bytes.length, 4096)
  }
  note.methodEnd = put(0, parts.method ?? 'GET')
  note.targetEnd = put(note.methodEnd, parts.target ?? '/')
  note.hostEnd = put(note.targetEnd, parts.host ?? 'www.example.org')
  note.refererEnd = put(note.hostEnd, parts.referer)
  note.userAgentEnd = put(note.refererEnd, parts.userAgent)
  note.requestIdEnd = put(note.userAgentEnd, parts.requestId)
  note.traceIdEnd = note.requestIdEnd
  return note
}

const record: AccessRecord = {
  atEpochMs: Date.UTC(2026, 10, 24, 16, 20, 5) + 37, protocol: 'http', listener: Buffer.from('front'), client: Buffer.from('192.0.2.7'),
  route: Buffer.from('api'), pool: Buffer.from('web'), member: Buffer.from('web1'), note: noteOf({ target: '/a?b=1', userAgent: 'curl/8' }),
  status: 200, bytesIn: 78, bytesOut: 12_345, queueMs: 0, connectMs: 0.25, firstByteMs: 1.5, totalMs: 2.0005, error: '', retries: 0, tlsVersion: '', sni: '',
}

function line(format: 'json' | 'common' | 'combined', what: Partial<AccessRecord>): string {
  const lines = new AccessLines(Buffer.alloc(maxLineBytes))
  lines.add(format, { ...record, ...what })
  return lines.buffer.toString('latin1', 0, lines.length)
}

test('json', (t) => {
  t.deepEqual(JSON.parse(line('json', {})), {
    time: '2026-11-24T16:20:05.037Z', listener: 'front', client: '192.0.2.7', method: 'GET', host: 'www.example.org', target: '/a?b=1', status: 200,
    route: 'api', pool: 'web', member: 'web1', bytesIn: 78, bytesOut: 12345, connectMs: 0.25, firstByteMs: 1.5, totalMs: 2.001, userAgent: 'curl/8',
  })
  const failed = JSON.parse(line('json', {
    pool: Buffer.alloc(0), member: Buffer.alloc(0), route: Buffer.alloc(0), error: 'no-route', status: 404, firstByteMs: -1, connectMs: 0, queueMs: 3, retries: 2,
    tlsVersion: 'TLSv1.3', sni: 'www.example.org', note: noteOf({ requestId: 'abc' }),
  })) as object
  t.deepEqual(failed, {
    time: '2026-11-24T16:20:05.037Z', listener: 'front', client: '192.0.2.7', method: 'GET', host: 'www.example.org', target: '/', status: 404,
    bytesIn: 78, bytesOut: 12345, queueMs: 3, totalMs: 2.001, retries: 2, error: 'no-route', requestId: 'abc', tls: 'TLSv1.3', sni: 'www.example.org',
  })
  t.is((JSON.parse(line('json', { protocol: 'tcp', note: undefined })) as { protocol: string }).protocol, 'tcp')
})

test('common and combined', (t) => {
  t.is(line('common', {}), '192.0.2.7 - - [24/Nov/2026:16:20:05 +0000] "GET /a?b=1 HTTP/1.1" 200 12345\n')
  t.is(line('combined', {}), '192.0.2.7 - - [24/Nov/2026:16:20:05 +0000] "GET /a?b=1 HTTP/1.1" 200 12345 "-" "curl/8"\n')
  t.is(line('common', { note: undefined, status: 0 }), '192.0.2.7 - - [24/Nov/2026:16:20:05 +0000] "-" - 12345\n')
  t.is(line('common', { protocol: 'tcp', note: undefined, status: 0 }), '192.0.2.7 - - [24/Nov/2026:16:20:05 +0000] "tcp" - 12345\n')
})

test('whatever a client sends, it is one line, and JSON gives it back byte for byte', (t) => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array).toString('latin1'))
  fc.assert(
    fc.property(bytes, bytes, bytes, bytes, (target, host, referer, userAgent) => {
      const note = noteOf({ target, host, referer, userAgent })
      const json = line('json', { note })
      if (json.indexOf('\n') !== json.length - 1) throw new Error('lines')
      const read = JSON.parse(json) as Record<string, string>
      if (read['target'] !== target || read['host'] !== host || (read['referer'] ?? '') !== referer || (read['userAgent'] ?? '') !== userAgent) throw new Error(json)
      const combined = line('combined', { note })
      if (!/^[ -~]*\n$/.test(combined)) throw new Error(combined)
      // Quotes only as delimiters.
      if (combined.split('"').length !== 7) throw new Error(combined)
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

test('the longest line fits into the room that is asked for', (t) => {
  const worst = '\u0001'.repeat(4096)
  const note = new RequestNote()
  const put = (at: number, limit: number): number => note.append(at, Buffer.from(worst), 0, 4096, limit)
  note.methodEnd = put(0, 64)
  note.targetEnd = put(note.methodEnd, 2048)
  note.hostEnd = put(note.targetEnd, 512)
  note.refererEnd = put(note.hostEnd, 512)
  note.userAgentEnd = put(note.refererEnd, 512)
  note.requestIdEnd = put(note.userAgentEnd, 128)
  note.traceIdEnd = put(note.requestIdEnd, 32)
  const name = Buffer.from('n'.repeat(63))
  const big = Number.MAX_SAFE_INTEGER
  const lines = new AccessLines(Buffer.alloc(2 * maxLineBytes))
  lines.add('json', {
    ...record, note, listener: name, route: name, pool: name, member: name, client: Buffer.from('f'.repeat(45)), error: 'member-connect-timeout',
    bytesIn: big, bytesOut: big, queueMs: 1e12, connectMs: 1e12, firstByteMs: 1e12, totalMs: 1e12, retries: 100, tlsVersion: 'TLSv1.3', sni: '\u0001'.repeat(600),
  })
  t.true(lines.length <= maxLineBytes, String(lines.length))
  t.notThrows(() => JSON.parse(lines.buffer.toString('latin1', 0, lines.length)))
})

test('a ring gives back what went in, in order; what does not fit is dropped whole and counted', (t) => {
  const buffer = allocateRing()
  const [writer, reader] = [new LineRing(buffer), new LineRing(buffer)] as const
  const capacity = buffer.byteLength - 64
  const piece = Buffer.from(`${'x'.repeat(99)}\n`.repeat(1000))
  let written = 0
  let read = 0
  for (let turn = 0; turn < 200; turn++) {
    piece.writeUInt32LE(turn, 0)
    if (writer.write(piece, piece.length, 1000)) written++
    if (turn % 2 === 0) continue
    const data = Buffer.alloc(150_050)
    const length = reader.read(data)
    t.is(data[length - 1], 0x0a, 'whole lines')
    read += length
  }
  t.false(reader.empty)
  const all = Buffer.alloc(capacity)
  read += reader.read(all)
  t.true(reader.empty)
  t.is(read, written * piece.length)
  t.is(reader.dropped, (200 - written) * 1000)
  t.true(reader.dropped > 0)
  t.true(writer.write(Buffer.alloc(capacity, 10), capacity, 1))
  t.false(writer.write(Buffer.from('\n'), 1, 1))
  t.is(reader.read(all), capacity)
})

test('the file has all lines, and is put aside when it is large', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-access-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const rings = [allocateRing(), allocateRing()]
  const writers = rings.map((ring) => new LineRing(ring))
  const path = join(directory, 'access.log')
  const faults: string[] = []
  const log = new AccessLog({ file: rings, stdout: [], path, log: (_level, message) => faults.push(message), fileBytes: 50_000 })
  log.start()
  let count = 0
  for (let i = 0; i < 40; i++) {
    for (const [worker, writer] of writers.entries()) {
      const text = Array.from({ length: 20 }, () => `worker ${worker} line ${count++} ${'.'.repeat(80)}\n`).join('')
      t.true(writer.write(Buffer.from(text), text.length, 20))
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await log.stop()
  const files = readdirSync(directory).toSorted()
  t.true(files.includes('access.log.1'), files.join())
  t.true(files.length <= 5)
  const lines = files.flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n').filter((text) => text !== ''))
  t.is(new Set(lines).size, count)
  for (const text of lines) t.regex(text, /^worker [01] line \d+ \.{80}$/)
  t.deepEqual(faults, [])
})

test('bug: a worker that logged faster than the disk wrote kept the lines of the others from being written', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-access-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const rings = [allocateRing(), allocateRing()]
  const [busy, calm] = rings.map((ring) => new LineRing(ring)) as [LineRing, LineRing]
  const text = `busy ${'.'.repeat(95)}\n`.repeat(40_000)
  t.true(busy.write(Buffer.from(text), text.length, 40_000))
  t.true(calm.write(Buffer.from('calm\n'), 5, 1))
  const path = join(directory, 'access.log')
  const log = new AccessLog({ file: rings, stdout: [], path, log: () => undefined })
  log.start()
  await log.stop()
  const written = readFileSync(path, 'latin1')
  t.is(written.length, text.length + 5)
  t.true(written.indexOf('\ncalm\n') < 300_000, `after ${written.indexOf('\ncalm\n')} bytes of the busy one`)
})

test('a file that cannot be written is said once, and nothing waits for it', async (t) => {
  const ring = allocateRing()
  const faults: string[] = []
  const log = new AccessLog({ file: [ring], stdout: [], path: '/nonexistent/access.log', log: (_level, message) => faults.push(message) })
  const writer = new LineRing(ring)
  writer.write(Buffer.from('a\n'), 2, 1)
  log.start()
  while (faults.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await log.stop()
  t.deepEqual(faults, ['the access log cannot be written'])
})
