import test from 'ava'
import { makeFormat } from '../display/format.ts'
import { en } from './en.ts'
import { chooseParticles } from './josa.ts'
import { ko } from './ko.ts'

test('particles follow the sound before them', (t) => {
  t.is(chooseParticles('리비전 3을(를) 적용'), '리비전 3을 적용')
  t.is(chooseParticles('리비전 2을(를) 적용'), '리비전 2를 적용')
  t.is(chooseParticles('리비전 7(으)로 롤백'), '리비전 7로 롤백')
  t.is(chooseParticles('리비전 6(으)로 롤백'), '리비전 6으로 롤백')
  t.is(chooseParticles('서울(으)로'), '서울로')
  t.is(chooseParticles('부산(으)로'), '부산으로')
  t.is(chooseParticles('노드 haechi-1이(가)'), '노드 haechi-1이')
  t.is(chooseParticles('VIP(10.0.0.2)을(를)'), 'VIP(10.0.0.2)를')
  t.is(chooseParticles('풀 web을(를)'), '풀 web을(를)', 'the reading of a Latin word is not known')
})

/** Placeholders of each text, by path. */
function placeholders(words: object, path = ''): Map<string, string> {
  const found = new Map<string, string>()
  for (const [key, value] of Object.entries(words)) {
    if (typeof value === 'string') found.set(`${path}${key}`, [...value.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]).sort().join())
    else for (const [inner, names] of placeholders(value as object, `${path}${key}.`)) found.set(inner, names)
  }
  return found
}

test('every text has the same values in both languages', (t) => {
  const english = placeholders(en)
  for (const [key, names] of placeholders(ko)) t.is(names, english.get(key) ?? '(missing)', key)
})

test('figures have a unit and no false precision', (t) => {
  const format = makeFormat('en', { d: 'd', h: 'h', min: 'min', s: 's', ms: 'ms' })
  t.is(format.rate(0), '0')
  t.is(format.rate(0.01), '<0.1')
  t.is(format.rate(99.94), '99.9')
  t.is(format.rate(99.96), '100')
  t.is(format.rate(12345.6), '12,346')
  t.deepEqual(format.speed(999.96), { value: '1.0', unit: 'kB/s' })
  t.deepEqual(format.memory(64 * 1024 * 1024), { value: '64.0', unit: 'MiB' })
  t.is(format.span(999), '999 ms')
  t.is(format.span(61_000), '1 min 1 s')
  t.is(format.span(3_600_000 * 3 + 60_000 * 12), '3 h 12 min')
  t.is(format.span(86_400_000 * 3), '3 d')
})
