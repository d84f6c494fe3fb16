import test from 'ava'
import { maxGossipBytes } from '../../consensus/transport/wire.ts'
import type { NodeReport } from '../api/types.ts'
import { membersPerPage, ReportReader, ReportWriter } from './gossip.ts'

function report(members: number, revisionInForce = 1): NodeReport {
  return {
    id: 'a', atEpochMs: 1795517727469, startedEpochMs: 1795517693896, revisionInForce, degraded: '', appliedIndex: 9, vips: [],
    listeners: [], heartLoopGapMs: 0, heartResidentBytes: 1, residentBytes: 1, version: '0', stateHash: '',
    members: Array.from({ length: members }, (_, i) => ({
      pool: `pool-${Math.floor(i / 20)}`, member: `member-${i % 20}`, active: (i * 7919) % 1000, requestsTotal: (i * 104729) % 1e9,
      connectFailuresTotal: (i * 31) % 977, errorsTotal: (i * 17) % 991, health: 'up' as const,
      healthSinceEpochMs: 1795517000000 + ((i * 7907) % 1e6), lastProbe: `200 in ${i % 300} ms`,
    })),
  }
}

test('a report of few members arrives as it was', (t) => {
  t.deepEqual(new ReportReader().read('a', new ReportWriter().write(report(3))), report(3))
})

test('a report of 20,000 members fits into gossip, and arrives whole page by page', (t) => {
  const [writer, reader] = [new ReportWriter(), new ReportReader()]
  const whole = report(20_000)
  let got: NodeReport | undefined
  for (let i = 0; i < 20_000 / membersPerPage; i++) {
    const data = writer.write(whole)
    t.true(data.length < maxGossipBytes, `${data.length} bytes`)
    got = reader.read('a', data)
    t.is(got?.members.length, (i + 1) * membersPerPage)
  }
  t.deepEqual(got, whole)
})

test('a page that was lost leaves no wrong member behind when the list changes', (t) => {
  const [writer, reader] = [new ReportWriter(), new ReportReader()]
  for (let i = 0; i < 3; i++) reader.read('a', writer.write(report(10_000)))
  t.deepEqual(reader.read('a', new ReportWriter().write(report(2, 2))), report(2, 2))
})

test('what is no report, or is of somebody else, is ignored', (t) => {
  const reader = new ReportReader()
  t.is(reader.read('a', Buffer.from('garbage')), undefined)
  t.is(reader.read('b', new ReportWriter().write(report(1))), undefined)
})
