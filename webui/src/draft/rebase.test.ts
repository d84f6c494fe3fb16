import test from 'ava'
import fc from 'fast-check'
import type { ConfigurationDocument } from '../../../node/api/types.ts'
import { busyDocument } from '../../fixture/documents.ts'
import { differences, sameValue } from './difference.ts'
import { changeListener, changePool, newPool, putPool, removePool, renamePool } from './operations.ts'
import { rebase } from './rebase.ts'

const base = busyDocument()
const member = (pool: string, name: string, fields: object) => (d: ConfigurationDocument) =>
  changePool(pool, { members: d.pools.find((p) => p.name === pool)!.members.map((m) => (m.name === name ? { ...m, ...fields } : m)) })(d)

test('changes of different fields of one member are both kept', (t) => {
  const { document, overlaps } = rebase(base, member('shop', 'shop-1', { weight: 9 })(base), member('shop', 'shop-1', { port: 81 })(base))
  t.deepEqual(overlaps, [])
  t.like(document.pools[0]?.members[0], { weight: 9, port: 81 })
})

test('the same field changed differently is an overlap, and is decided by the choice', (t) => {
  const mine = member('shop', 'shop-1', { weight: 9 })(base)
  const theirs = member('shop', 'shop-1', { weight: 5 })(base)
  const open = rebase(base, mine, theirs)
  t.deepEqual(open.overlaps, [{ path: 'pools/shop/members/shop-1/weight', base: 1, mine: 9, theirs: 5 }])
  t.is(open.document.pools[0]?.members[0]?.weight, 5, 'until it is decided, nothing of theirs is overwritten')
  t.is(rebase(base, mine, theirs, new Map([['pools/shop/members/shop-1/weight', 'mine']])).document.pools[0]?.members[0]?.weight, 9)
})

test('a pool that one removed and the other changed is an overlap', (t) => {
  const { overlaps } = rebase(base, removePool('static')(base), changePool('static', { retries: 7 })(base))
  t.deepEqual(overlaps.map((overlap) => overlap.path), ['pools/static'])
})

test('pools added by both are both there; under one name their fields are compared', (t) => {
  const apart = rebase(base, putPool(newPool('a'))(base), putPool(newPool('b'))(base))
  t.deepEqual(apart.overlaps, [])
  t.deepEqual(apart.document.pools.slice(-2).map((pool) => pool.name).sort(), ['a', 'b'])
  const same = rebase(base, putPool({ ...newPool('a'), retries: 1 })(base), putPool({ ...newPool('a'), retries: 3 })(base))
  t.deepEqual(same.overlaps.map((overlap) => overlap.path), ['pools/a/retries'])
})

test('the order of routes is kept from the side that changed it, and is an overlap when both did', (t) => {
  const order = (...names: string[]) => changeListener('web', (l) => ({ ...l, routes: names.map((name) => l.routes.find((r) => r.name === name) ?? { name, hosts: [], paths: [], pool: 'api' }) }))
  const three = order('api', 'assets', 'third')(base)
  const moved = rebase(three, order('third', 'api', 'assets')(three), three)
  t.deepEqual(moved.document.listeners[0]?.routes.map((route) => route.name), ['third', 'api', 'assets'])
  const both = rebase(three, order('third', 'api', 'assets')(three), order('assets', 'api', 'third')(three))
  t.deepEqual(both.overlaps.map((overlap) => overlap.path), ['listeners/web/routes/*'])
  const added = rebase(base, order('new', 'api', 'assets')(base), order('assets', 'api')(base))
  t.deepEqual(added.document.listeners[0]?.routes.map((route) => route.name), ['new', 'assets', 'api'])
})

test('a rename takes the references along, and counts as what it is', (t) => {
  const renamed = renamePool('shop', 'store')(base)
  t.is(renamed.listeners[0]?.pool, 'store')
  t.deepEqual(differences(base, renamed).map((difference) => `${difference.kind} ${difference.path}`), [
    'removed pools/shop', 'added pools/store', 'changed listeners/web/pool', 'changed listeners/intranet/pool',
  ])
})

/** Edits of random fields of random members. */
const edits = fc.array(fc.record({ pool: fc.nat(3), member: fc.nat(3), weight: fc.integer({ min: 0, max: 256 }) }), { maxLength: 6 })
const apply = (list: readonly { pool: number; member: number; weight: number }[]) =>
  list.reduce((d, { pool, member: at, weight }) => {
    const target = d.pools[pool]!
    return changePool(target.name, { members: target.members.map((m, index) => (index === at ? { ...m, weight } : m)) })(d)
  }, base)

test('no change of either side is lost unless it is named as an overlap', (t) => {
  fc.assert(
    fc.property(edits, edits, (a, b) => {
      const [mine, theirs] = [apply(a), apply(b)]
      const { document, overlaps } = rebase(base, mine, theirs)
      const open = new Set(overlaps.map((overlap) => overlap.path))
      const result = new Map(differences(base, document).map((difference) => [difference.path, difference.after]))
      for (const side of [mine, theirs]) {
        for (const { path, after } of differences(base, side)) if (!open.has(path) && !sameValue(result.get(path), after)) return false
      }
      return true
    }),
  )
  t.pass()
})
