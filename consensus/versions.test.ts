import test from 'ava'
import { commonProtocol, noCommonProtocol, spokenProtocols, type Versions } from './versions.ts'

test('two nodes use the newest protocol that both speak, whoever asks', (t) => {
  const cases: [[number, number], [number, number], number | undefined][] = [
    [[1, 1], [1, 1], 1], [[1, 1], [1, 2], 1], [[1, 2], [2, 3], 2], [[1, 4], [2, 3], 3], [[1, 1], [2, 3], undefined], [[3, 4], [1, 2], undefined],
  ]
  for (const [a, b, expected] of cases) {
    const [one, other] = [{ min: a[0], max: a[1] }, { min: b[0], max: b[1] }]
    t.is(commonProtocol(one, other), expected)
    t.is(commonProtocol(other, one), expected)
  }
  t.true(spokenProtocols.min <= spokenProtocols.max)
})

test('a refusal names both versions and who is to be upgraded', (t) => {
  const old: Versions = { protocol: { min: 1, max: 2 }, commandLevel: 1, product: '0.4.0' }
  const young: Versions = { protocol: { min: 3, max: 4 }, commandLevel: 2, product: '0.6.0' }
  t.is(
    noCommonProtocol(old, 'b', young),
    'b (version 0.6.0) speaks protocol 3 to 4, this node (version 0.4.0) 1 to 2: no stream between them; upgrade this node to a version that speaks protocol 3, or take the other one back to a version that both understand',
  )
  t.regex(noCommonProtocol(young, 'a', old), /; upgrade a to a version that speaks protocol 3,/)
})
