/** Verdicts: when drills pass, when replicas are equal, when a change is lost, when a cluster is healthy. */
import test from 'ava'
import type { ClusterOverview } from '../../node/api/types.ts'
import { judge } from '../lab/cluster.ts'
import { compareReplicas, lostChanges, type Replica } from './apply-under-kill.ts'
import { drillReport, passes, runInWords, table } from './report.ts'
import type { RunResult } from './run.ts'

const measured = (run: number, blackout: number, dual = 0, dualHttp = 0): RunResult => ({
  run,
  ok: true,
  phase_ms: 1,
  figures: {
    blackout_ms: blackout, dual_holder_ms: dual, dual_holder_replies: dual > 0 ? 1 : 0, dual_http_answers: dualHttp,
    failed_requests: 2, terms_passed: 1,
  },
  details: {
    holder_before: 'node1', holder_after: 'node2', holder_changes: 1, inject_ms: 0, old_holder_silent_ms: 1,
    new_holder_claims_ms: 2, blackout_from_ms: 0, steady_gap_ms: 0, served_again_ms: 3, requests: 4, arp_claims: 5, probe_stall_ms: 0, healthy_again_ms: 6,
  },
})

test('a report holds the figures of the measured runs', (t) => {
  const report = drillReport('freeze', 'x', [measured(1, 300), measured(2, 100), measured(3, 200)])
  t.deepEqual(report.blackout_ms, { n: 3, min: 100, p50: 200, p99: 300, max: 300 })
  t.deepEqual(report.failed_requests, { total: 6, max: 2 })
  t.deepEqual(report.terms_passed, { total: 3, max: 1 })
  t.true(passes([report]))
  t.true(table([report]).includes('freeze'))
})

test('one dual holder, or one run that was not measured, is no pass', (t) => {
  t.false(passes([drillReport('freeze', 'x', [measured(1, 300), measured(2, 300, 0.001)])]))
  t.false(passes([drillReport('freeze', 'x', [measured(1, 300), measured(2, 300, 0, 1)])]))
  const failed: RunResult = { run: 2, ok: false, phase_ms: 1, error: 'no new holder' }
  const report = drillReport('freeze', 'x', [measured(1, 300), failed])
  t.is(report.measured, 1)
  t.false(passes([report]))
  t.true(table([report]).includes('1 of 2'))
  t.true(runInWords(failed).includes('no new holder'))
  t.false(passes([drillReport('freeze', 'x', [])]))
})

const replica = (node: string, change: Partial<Replica> = {}): Replica => ({
  node,
  revision: 2,
  document: { haechi: 1, vips: [], listeners: [], pools: [{ name: 'm1' }] } as unknown as Replica['document'],
  revisions: [{ revision: 2, comment: 'm1' }] as unknown as Replica['revisions'],
  audit: [{ index: 7, revision: 2 }] as unknown as Replica['audit'],
  members: [{ id: 'node1' }],
  stateHash: 'h',
  ...change,
})

test('replicas are compared part by part', (t) => {
  t.deepEqual(compareReplicas([replica('node1'), replica('node2')]).differences, [])
  t.deepEqual(compareReplicas([replica('node1'), replica('node2', { revision: 3, stateHash: 'i' })]).differences, [
    'revision: node1 and node2 differ',
    'stateHash: node1 and node2 differ',
  ])
})

test('an acknowledged change must be in the document, the revisions and the audit log', (t) => {
  const acknowledged = [{ node: 'node1', revision: 2, marker: 'm1' }]
  t.deepEqual(lostChanges(replica('node2'), acknowledged), [])
  t.is(lostChanges(replica('node2', { revisions: [], audit: [] }), acknowledged).length, 2)
  t.is(lostChanges(replica('node2'), [...acknowledged, { node: 'node2', revision: 2, marker: 'm1' }]).length, 1)
  t.is(lostChanges(replica('node2'), [{ node: 'node1', revision: 9, marker: 'm9' }]).length, 3)
})

const view = (self: string, change: object = {}): ClusterOverview => ({
  self,
  quorum: true,
  leader: 'node1',
  term: 3,
  revision: 1,
  nodes: ['node1', 'node2'].map((id) => ({
    id, voter: true, reachable: true, self: id === self,
    report: { degraded: '', revisionInForce: 1, appliedIndex: 9 },
  })),
  vips: [{ name: 'front', holder: 'node1', error: '' }],
  pools: [],
  ...change,
}) as unknown as ClusterOverview

test('health needs the same view on every node', (t) => {
  t.deepEqual(judge([view('node1'), view('node2')], 2), { holder: 'node1', leader: 'node1', term: 3, revision: 1 })
  t.is(typeof judge([view('node1'), view('node2', { leader: 'node2' })], 2), 'string')
  t.is(typeof judge([view('node1'), view('node2', { quorum: false })], 2), 'string')
  t.is(typeof judge([view('node1'), view('node2', { vips: [{ name: 'front', holder: '', error: '' }] })], 2), 'string')
  t.is(typeof judge([view('node1'), view('node2')], 3), 'string')
  t.is(typeof judge([], 2), 'string')
})
