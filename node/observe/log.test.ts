import test from 'ava'
import { createLog, redact } from './log.ts'

test('a line is one JSON object with level, name, time and fields', (t) => {
  const lines: string[] = []
  const log = createLog('proxy', { level: 'info', format: 'json', write: (line) => lines.push(line) })
  log('debug', 'not written')
  log('warn', 'member down', { pool: 'web', member: 'a' })
  t.is(lines.length, 1)
  t.true(lines[0]!.endsWith('\n'))
  const line = JSON.parse(lines[0]!)
  t.like(line, { level: 'warn', name: 'proxy', msg: 'member down', pool: 'web', member: 'a' })
  t.false(Number.isNaN(Date.parse(line.time)))
})

test('plain form is one line, whatever the message holds', (t) => {
  const lines: string[] = []
  const log = createLog('node', { level: 'debug', format: 'plain', write: (line) => lines.push(line) })
  log('info', 'first\nsecond', { reason: 'two words', count: 3 })
  t.is(lines.length, 1)
  t.regex(lines[0]!, /^\d\d:\d\d:\d\d\.\d{3} info {2}node {3}first ⏎ second reason="two words" count=3\n$/)
})

test('secrets are taken out at every depth, in any spelling', (t) => {
  const lines: string[] = []
  const log = createLog('api', { format: 'json', write: (line) => lines.push(line) })
  log('error', 'x', {
    body: { name: 'kim', password: 'hunter2-a', Next: 'hunter2-b' },
    headers: { 'set-cookie': 'hunter2-c', AUTHORIZATION: 'Bearer hunter2-d', 'x-csrf-token': 'hunter2-e' },
    list: [{ user: { passwordHash: 'hunter2-f', session_key: 'hunter2-g' } }],
  })
  t.notRegex(lines[0]!, /hunter2/)
  t.regex(lines[0]!, /"name":"kim"/)
})

test('what is logged is bounded', (t) => {
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  t.notThrows(() => JSON.stringify(redact(loop)))
  t.true(String(redact('x'.repeat(100_000))).length < 5000)
  t.is((redact(Array.from({ length: 5000 }, (_, index) => index)) as unknown[]).length, 100)
  t.is(redact(new Uint8Array(12)), '[12 bytes]')
  t.like(redact(new Error('boom', { cause: new Error('why') })), { message: 'boom', cause: { message: 'why' } })
})
