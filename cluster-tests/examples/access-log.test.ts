/** The access log in both forms; the id of a request in the log, at the member and in the answer; a trace that is begun. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { startExample, until } from './example.ts'

test('access-log: a line for each request, with its id and trace', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-example-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'access.log')
  const example = await startExample(t, 'access-log', { arguments: ['--access-log', path] })
  const answer = await example.request({ path: '/a?b=1', headers: { 'X-Request-Id': 'mine', 'User-Agent': 'example "1"' } })
  const id = answer.headers['x-request-id']
  t.regex(String(id), /^[0-9a-f]{32}$/)
  t.is(answer.seen?.headers['x-request-id'], id)
  t.is(answer.seen?.headers['traceparent']?.toString().slice(3, 35), String(id))
  const lines = (): Record<string, unknown>[] => {
    try {
      return readFileSync(path, 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>)
    } catch {
      return []
    }
  }
  await until('the line is there', () => lines().length === 1)
  t.like(lines()[0], { listener: 'front', client: '127.0.0.1', method: 'GET', target: '/a?b=1', status: 200, pool: 'web', member: 'web1', requestId: id, userAgent: 'example "1"' })

  await until('one of two is on standard output', async () => {
    await example.request({ listener: 'plain', path: '/plain' })
    return /^127\.0\.0\.1 - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/plain HTTP\/1\.1" 200 \d+ "-" "-"$/m.test(example.log())
  })
})
