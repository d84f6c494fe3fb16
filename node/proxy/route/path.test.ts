/** Normal forms of paths: against the platform's URL reader, and what only some servers would read as `..`. */
import test from 'ava'
import fc from 'fast-check'
import { randomness } from '../../config/fixture/documents.ts'
import { isNormal, normalize } from './path.ts'

/** The normal form; undefined: refused. */
function form(path: string, resolve: boolean): string | undefined {
  const bytes = Buffer.from(path, 'latin1')
  const out = Buffer.alloc(bytes.length + 1)
  const length = normalize(bytes, 0, bytes.length, out, resolve)
  return length < 0 ? undefined : out.toString('latin1', 0, length)
}

const cases: readonly (readonly [string, string | undefined, string | undefined])[] = [
  // As it came, for matching, resolved.
  ['/', '/', '/'],
  ['/a/b', '/a/b', '/a/b'],
  ['/%61dmin', '/admin', '/admin'],
  ['/a%2fb', '/a%2Fb', '/a%2Fb'],
  ['/a%2Fb', '/a%2Fb', '/a%2Fb'],
  ['//a///b/', '/a/b/', '/a/b/'],
  ['/a%', '/a%', '/a%'],
  ['/a%zz', '/a%zz', '/a%zz'],
  ['/a%2', '/a%2', '/a%2'],
  ['/%7Euser', '/~user', '/~user'],
  ['/a/../b', undefined, '/b'],
  ['/a/./b', undefined, '/a/b'],
  ['/a/..', undefined, '/'],
  ['/a/.', undefined, '/a/'],
  ['/..', undefined, '/'],
  ['/../../x', undefined, '/x'],
  ['/a/%2e%2E/b', undefined, '/b'],
  ['/a/.%2e/b', undefined, '/b'],
  ['/a//../b', undefined, '/b'],
  ['/a/..%2fb', undefined, undefined],
  ['/a%2F..%2Fb', undefined, undefined],
  ['/a/..;x=1/b', undefined, undefined],
  ['/a/..\\b', undefined, undefined],
  ['/a\\..\\b', undefined, undefined],
  ['/a%5c..%5Cb', undefined, undefined],
  ['/a/...', '/a/...', '/a/...'],
  ['/a/..b/.c', '/a/..b/.c', '/a/..b/.c'],
  ['/a/%252e%252e/b', '/a/%252e%252e/b', '/a/%252e%252e/b'],
]
for (const [path, matched, resolved] of cases) {
  test(`path ${path}`, (t) => {
    t.is(form(path, false), matched)
    t.is(form(path, true), resolved)
  })
}

const segment = fc.oneof(fc.constantFrom('', '.', '..', 'a', 'b.c', '%41', '%2e', '%2E.', '~', '%7e', ';', 'x;y', '...'), fc.stringMatching(/^[a-z0-9._~-]{0,5}$/))
const paths = fc.array(segment, { minLength: 1, maxLength: 6 }).map((list) => `/${list.join('/')}`)

test('resolved paths are what the URL Standard makes of them, apart from empty segments and escapes', (t) => {
  fc.assert(
    fc.property(paths, (path) => {
      t.pass()
      const mine = form(path, true)
      if (mine === undefined) return /%2f|%5c|\\|\.;/i.test(path)
      const merged = path.replaceAll(/\/+/g, '/').replaceAll(/%([0-9A-Fa-f]{2})/g, (all, hex: string) => {
        const char = String.fromCharCode(Number.parseInt(hex, 16))
        return /[-._~0-9A-Za-z]/.test(char) ? char : all.toUpperCase()
      })
      return mine === new URL(`http://h${merged}`).pathname
    }),
    randomness(t, 2000),
  )
})

test('a normal form is its own, and what is normal is left alone', (t) => {
  fc.assert(
    fc.property(fc.oneof(paths, fc.stringMatching(/^\/[!-~]{0,20}$/)), (path) => {
      t.pass()
      const once = form(path, true)
      const bytes = Buffer.from(path, 'latin1')
      if (isNormal(bytes, 0, bytes.length) && once !== path) return false
      return once === undefined || form(once, true) === once
    }),
    randomness(t, 2000),
  )
})
