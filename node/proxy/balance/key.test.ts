import test from 'ava'
import * as fc from 'fast-check'
import { ascii } from '../http/bytes.ts'
import { Head } from '../http/head.ts'
import { xxHash32 } from './hash.ts'
import { cookieKey, headerKey, noKey, pathKey, uriKey } from './key.ts'

function parsed(target: string, ...fields: string[]): [Head, Buffer] {
  const buffer = Buffer.from(`xx GET ${target} HTTP/1.1\r\nHost: a\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`, 'latin1')
  const head = new Head()
  if (head.parseRequest(buffer, 3, buffer.length, 100) !== 0) throw new Error('not parsed')
  return [head, buffer]
}
const of = (text: string): number => xxHash32(ascii(text), 0, text.length, 0)

test('the URI is path and query, the path is without it', (t) => {
  const [head, buffer] = parsed('/a/b?c=d?e')
  t.is(uriKey(head, buffer), of('/a/b?c=d?e'))
  t.is(pathKey(head, buffer), of('/a/b'))
  const [plain, bytes] = parsed('/a/b')
  t.is(pathKey(plain, bytes), uriKey(plain, bytes))
})

test('a header field is found whatever its case; the first one counts; empty or none is no key', (t) => {
  const [head, buffer] = parsed('/', 'X-Other: 1', 'X-TENANT:  blue ', 'x-tenant: green', 'X-Empty:')
  t.is(headerKey(head, buffer, ascii('x-tenant')), of('blue'))
  t.is(headerKey(head, buffer, ascii('x-empty')), noKey)
  t.is(headerKey(head, buffer, ascii('x-tenan')), noKey)
})

test('a cookie is found by its whole name, in any of the fields', (t) => {
  const [head, buffer] = parsed('/', 'Cookie: asid=1; sidx=2; SID=3;sid', 'Cookie: a=b;  sid=v=w ; sid=late')
  t.is(cookieKey(head, buffer, ascii('sid')), of('v=w'))
  t.is(cookieKey(head, buffer, ascii('SID')), of('3'))
  t.is(cookieKey(head, buffer, ascii('none')), noKey)
  const [empty, bytes] = parsed('/', 'Cookie: sid=; other=1')
  t.is(cookieKey(empty, bytes, ascii('sid')), noKey)
})

test('cookies are read as a plain reader reads them', (t) => {
  const name = fc.constantFrom('a', 'ab', 'b', 'sid')
  const value = fc.stringMatching(/^[a-c=]{0,4}$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value, fc.constantFrom(';', '; ', ' ; ')), { maxLength: 6 }), name, (cookies, wanted) => {
      const line = cookies.map(([key, text, separator]) => `${key}=${text}${separator}`).join('')
      const [head, buffer] = parsed('/', `Cookie: ${line}x=y`)
      const found = cookies.find(([key, text]) => key === wanted && text !== '')
      const first = cookies.find(([key]) => key === wanted)
      const expected = first === undefined || first[1] === '' ? noKey : of(found![1])
      return cookieKey(head, buffer, ascii(wanted)) === expected
    }),
  )
  t.pass()
})
