/** The cookie that is taken out of a head in place, against a simple reader of cookies. */
import test from 'ava'
import fc from 'fast-check'
import { cookieValue } from '../sessions/keys.ts'
import { FieldKind, fieldStride, Head } from './http/head.ts'
import { Stick, WorkerPersistence } from './persistence.ts'
import type { PoolRuntime } from './pool.ts'
import type { PoolPlan } from './route/table.ts'

const secret = new Uint8Array(32).fill(9)
const name = 'haechi-web'
const members = ['a', 'b', 'c'].map((member, slot) => ({ name: member, slot }))
const values = members.map((member) => cookieValue(secret, 'web', member.name))

function persistence(removed: boolean) {
  const plan = {
    name: 'web', slot: 1, members,
    persistence: { type: 'cookie', cookieName: name, header: '', ttlMs: 1000, maxEntries: 1, ipv6PrefixLength: 64, attributes: '', secure: 'never', removed },
  } as unknown as PoolPlan
  const pool = { plan, persistence: undefined } as unknown as PoolRuntime
  new WorkerPersistence(secret, 0, () => undefined).equip([pool])
  return pool.persistence!
}

/** The pairs of all Cookie fields of a head that go on. */
function pairsOf(head: Head, buffer: Buffer): string[] {
  const pairs: string[] = []
  for (let i = 0; i < head.count; i++) {
    const [start, nameEnd, from, to] = [0, 1, 2, 3].map((at) => head.fields[i * fieldStride + at]!) as [number, number, number, number]
    if (head.kinds[i] === FieldKind.hopByHop || buffer.toString('latin1', start, nameEnd).toLowerCase() !== 'cookie') continue
    pairs.push(...buffer.toString('latin1', from, to).split(';').map((pair) => pair.trim()).filter((pair) => pair !== ''))
  }
  return pairs
}

const pair = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...values.map((value) => `${name}=${value}`), `${name}=`, `${name}="${values[1]!}"`, `${name}=old`) },
  { weight: 3, arbitrary: fc.constantFrom('a=1', 'theme=dark', `x${name}=1`, `${name}x=2`, name, '=', 'b', 'c=a=b', '"', `${name} =1`) },
  fc.constant(''),
)
const separator = fc.constantFrom('; ', ';', ';  ', ' ;\t', ';; ')
const field = fc.array(fc.tuple(pair, separator), { maxLength: 7 }).map((parts) => parts.map(([text, after], i) => text + (i + 1 < parts.length ? after : '')).join(''))

test('the right cookies go, all others stay, and so do all other fields and the length of the head', (t) => {
  const [taking, leaving] = [persistence(true), persistence(false)]
  fc.assert(
    fc.property(fc.array(field, { maxLength: 3 }), fc.boolean(), (cookies, last) => {
      const lines = ['Host: a', ...cookies.flatMap((cookie) => [`Cookie: ${cookie}`, 'X-Between: haechi-web=1; b']), ...(last ? [] : ['Accept: */*'])]
      const text = `GET / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
      const given = cookies.flatMap((cookie) => cookie.split(';').map((one) => one.trim()).filter((one) => one !== ''))
      const own = given.filter((one) => one.startsWith(`${name}=`))
      const named = own.map((one) => values.indexOf(one.slice(name.length + 1).replace(/^"(.*)"$/, '$1'))).find((index) => index >= 0) ?? -1
      for (const persists of [taking, leaving]) {
        const buffer = Buffer.from(`junk${text}junk`, 'latin1')
        const head = new Head()
        if (head.parseRequest(buffer, 4, 4 + text.length, 100) !== 0) throw new Error('not parsed')
        const stick = new Stick()
        persists.read(stick, head, buffer, Buffer.from('192.0.2.1'))
        if (stick.named !== named) return false
        const left = persists === taking ? given.filter((one) => !one.startsWith(`${name}=`)) : given
        if (pairsOf(head, buffer).join('|') !== left.join('|')) return false
        // Nothing outside of the values has changed, and it is still a head.
        const after = buffer.toString('latin1')
        if (after.length !== text.length + 8 || !after.startsWith('junkGET / HTTP/1.1\r\nHost: a\r\n') || !after.endsWith('\r\n\r\njunk')) return false
        if (after.split('X-Between: haechi-web=1; b\r\n').length !== cookies.length + 1) return false
        if (new Head().parseRequest(buffer, 4, 4 + text.length, 100) !== 0) return false
      }
      return true
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

test('bug: each copy of the cookie moved the rest of the head: every byte is moved once', (t) => {
  const text = `GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; ${`${name}=;`.repeat(5000)}b=2\r\n\r\n`
  const buffer = Buffer.from(text, 'latin1')
  let moved = 0
  const counting = new Proxy(buffer, {
    get: (target, property) => {
      if (property === 'copyWithin') return (to: number, from: number, end: number) => void ((moved += end - from), target.copyWithin(to, from, end))
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
  const head = new Head()
  t.is(head.parseRequest(buffer, 0, text.length, 100), 0)
  persistence(true).read(new Stick(), head, counting, Buffer.from('192.0.2.1'))
  t.deepEqual(pairsOf(head, buffer), ['a=1', 'b=2'])
  t.true(moved <= text.length, `${moved} bytes were moved`)
})
