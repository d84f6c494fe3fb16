/** The status line: whole, in pieces, and everything that is none. */
import test from 'ava'
import { StatusReader, statusExpected } from './status-line.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

const good: readonly (readonly [string, number])[] = [
  ['HTTP/1.1 200 OK\r\n', 200],
  ['HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n', 404],
  ['HTTP/1.1 503 \r\n', 503],
  ['HTTP/1.1 204\r\n', 204],
  ['HTTP/1.1 200 \xe9t\xe9 \t!\r\n', 200],
  ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n', 200],
  ['HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX: y\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 301 Moved\r\n', 301],
  ['HTTP/1.1 101 Switching Protocols\r\n', 101],
]
for (const [text, status] of good) {
  test(`status ${status}: ${JSON.stringify(text)}`, (t) => {
    t.deepEqual(new StatusReader().push(bytes(text)), { kind: 'status', status })
    // Byte by byte the answer is the same, and comes as soon as the line ends.
    const reader = new StatusReader()
    const results = [...text].map((character) => reader.push(bytes(character))).filter((result) => result.kind !== 'more')
    t.deepEqual(results[0], { kind: 'status', status })
  })
}

const bad: readonly (readonly [string, RegExp])[] = [
  ['SSH-2.0-OpenSSH_9.2\r\n', /not an HTTP status line: "SSH-2.0/],
  ['S', /not HTTP: "S"/],
  ['\x00\x1b[2J\xff', /not HTTP: "\.\.\[2J\."/],
  ['HTTP/2 200 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.2 200 OK\r\n', /not an HTTP status line/],
  ['http/1.1 200 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 200 OK\n', /not an HTTP status line/],
  ['HTTP/1.1  200 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 20 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 2000 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 000 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 600 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 +20 OK\r\n', /not an HTTP status line/],
  ['HTTP/1.1 200 O\x00K\r\n', /not an HTTP status line/],
  ['HTTP/1.1 200 O\rK\r\n', /not an HTTP status line/],
  ['\r\nHTTP/1.1 200 OK\r\n', /not an HTTP status line/],
  [`HTTP/1.1 200 ${'x'.repeat(5000)}`, /a status line without end/],
  [`HTTP/1.1 100 C\r\n${'X: y\r\n'.repeat(4000)}`, /interim responses without end/],
  [`${'HTTP/1.1 100 C\r\n\r\n'.repeat(2000)}`, /without end/],
]
for (const [text, reason] of bad) {
  test(`refused: ${JSON.stringify(text.slice(0, 60))}`, (t) => {
    const result = new StatusReader().push(bytes(text))
    t.is(result.kind, 'invalid')
    t.regex(result.kind === 'invalid' ? result.reason : '', reason)
  })
}

test('what is incomplete is waited for, and said when nothing more comes', (t) => {
  const reader = new StatusReader()
  t.is(reader.received, 'no answer')
  t.deepEqual(reader.push(bytes('HTTP/1.1 20')), { kind: 'more' })
  t.is(reader.received, 'an incomplete answer: "HTTP/1.1 20"')
})

test('expected statuses', (t) => {
  t.deepEqual([199, 200, 299, 300, 401, 402].map((status) => statusExpected(status, '200-299,401')), [false, true, true, false, true, false])
  t.true(statusExpected(204, '204'))
})
