import test from 'ava'
import type { NodeReport } from '../api/types.ts'
import { Rates, trafficPoints } from './rates.ts'

function report(id: string, atEpochMs: number, requests: number, more: Partial<NodeReport> = {}): NodeReport {
  return {
    id,
    atEpochMs,
    startedEpochMs: 0,
    revisionInForce: 1,
    degraded: '',
    appliedIndex: 1,
    vips: [],
    listeners: [
      {
        name: 'web',
        connections: 3,
        connectionsTotal: 0,
        requestsTotal: requests,
        responsesTotal: [0, 0, 0, 0, 0],
        bytesInTotal: requests * 10,
        bytesOutTotal: requests * 100,
        errorsTotal: { 'member-timeout': requests / 2 },
        error: '',
      },
    ],
    members: [
      {
        pool: 'p',
        member: 'a',
        active: 1,
        requestsTotal: requests,
        connectFailuresTotal: 0,
        errorsTotal: 0,
        health: 'up',
        healthSinceEpochMs: 0,
        lastProbe: '',
      },
    ],
    heartLoopGapMs: 0,
    heartResidentBytes: 0,
    residentBytes: 0,
    version: '0',
    stateHash: '',
    ...more,
  }
}
const all = (...reports: NodeReport[]) => new Map(reports.map((item) => [item.id, item]))

test('rates are increase over elapsed time, summed over the nodes', (t) => {
  const rates = new Rates()
  rates.add(10_000, all(report('n1', 10_000, 100), report('n2', 10_000, 1000)))
  t.is(rates.listener('web').requestsPerSecond, 0, 'one sample says nothing')
  rates.add(12_000, all(report('n1', 12_000, 140), report('n2', 12_000, 1100)))
  t.deepEqual(rates.listener('web'), {
    requestsPerSecond: 70,
    bytesInPerSecond: 700,
    bytesOutPerSecond: 7000,
    errorsPerSecond: 35,
  })
  t.is(rates.member('p', 'a').requestsPerSecond, 70)
  t.like(rates.traffic(false), [{ atEpochMs: 12_000, requestsPerSecond: 70, connections: 6 }])
})

test('a restarted node counts from zero, and never a negative rate', (t) => {
  const rates = new Rates()
  rates.add(10_000, all(report('n1', 10_000, 5000)))
  rates.add(11_000, all(report('n1', 11_000, 50, { startedEpochMs: 10_500 })))
  t.is(rates.listener('web').requestsPerSecond, 100, '50 in the half second that it has lived')
  rates.add(12_000, all(report('n1', 12_000, 20, { startedEpochMs: 10_500 })))
  t.is(rates.listener('web').requestsPerSecond, 20, 'a worker that started anew')
})

test('a report that has not changed keeps its rate for a moment, then counts as silent', (t) => {
  const rates = new Rates()
  const second = all(report('n1', 11_000, 200))
  rates.add(10_000, all(report('n1', 10_000, 100)))
  rates.add(11_000, second)
  rates.add(12_000, second)
  t.is(rates.listener('web').requestsPerSecond, 100)
  rates.add(15_000, second)
  t.is(rates.listener('web').requestsPerSecond, 0)
  t.like(rates.traffic(false), [{ requestsPerSecond: 0, connections: 0 }])
})

test('a node that is gone no longer counts', (t) => {
  const rates = new Rates()
  rates.add(10_000, all(report('n1', 10_000, 0)))
  rates.add(11_000, all(report('n1', 11_000, 10)))
  rates.add(12_000, all())
  t.is(rates.listener('web').requestsPerSecond, 0)
})

test('the reporting node’s own clock measures, unless it was set in between', (t) => {
  const rates = new Rates()
  rates.add(10_000, all(report('n1', 500_000, 0)))
  rates.add(11_000, all(report('n1', 500_500, 10)))
  t.is(rates.listener('web').requestsPerSecond, 20)
  rates.add(12_000, all(report('n1', 9_000_000, 20)))
  t.is(rates.listener('web').requestsPerSecond, 10)
  rates.add(13_000, all(report('n1', 1000, 30)))
  t.is(rates.listener('web').requestsPerSecond, 10)
})

test('five minutes of traffic are kept, oldest first', (t) => {
  const rates = new Rates()
  for (let second = 0; second <= trafficPoints + 10; second++)
    rates.add(second * 1000, all(report('n1', second * 1000, second)))
  const points = rates.traffic(true)
  t.is(points.length, trafficPoints)
  t.is(points[0]!.atEpochMs, 11_000)
  t.is(points.at(-1)!.atEpochMs, 310_000)
})

test('a listener that is removed and comes back makes no spike of all that it ever counted', (t) => {
  const rates = new Rates()
  rates.add(1000, all(report('n1', 1000, 5000)))
  rates.add(2000, all(report('n1', 2000, 5000, { listeners: [], members: [] })))
  rates.add(3000, all(report('n1', 3000, 5024)))
  t.is(rates.listener('web').requestsPerSecond, 24)
  t.is(rates.member('p', 'a').requestsPerSecond, 24)
  t.is(rates.traffic(false)[0]!.requestsPerSecond, 24)
})
