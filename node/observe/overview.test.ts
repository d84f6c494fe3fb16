import test from 'ava'
import type { NodeReport } from '../api/types.ts'
import { validateDocument } from '../config/validate.ts'
import { balancedTiming, type Peer } from '../../consensus/core/types.ts'
import type { HeartStatus } from '../link.ts'
import { buildOverview, Rates } from './overview.ts'

const validated = validateDocument({
  haechi: 1,
  vips: [{ name: 'main', address: '192.0.2.100' }],
  pools: [
    {
      name: 'web',
      members: [
        { name: 'a', address: '192.0.2.10', port: 80 },
        { name: 'b', address: '192.0.2.11', port: 80, state: 'disabled' },
      ],
    },
  ],
  listeners: [{ name: 'front', vip: 'main', port: 80, pool: 'web' }],
})
if (!validated.ok) throw new Error(JSON.stringify(validated.problems))
const { document } = validated

const peer = (id: string, role: 'node' | 'witness'): Peer => ({
  id,
  role,
  address: `${id}:7400`,
  apiAddress: role === 'node' ? `${id}:8443` : '',
})
const voters = [peer('n2', 'node'), peer('n1', 'node'), peer('w', 'witness')]

function heart(self: string, leader: string, heard: Record<string, number | null>): HeartStatus {
  return {
    consensus: {
      id: self,
      nodeRole: 'node',
      clusterId: 'c',
      role: self === leader ? 'leader' : 'follower',
      term: 4,
      leader,
      commitIndex: 9,
      lastIndex: 9,
      firstIndex: 1,
      snapshotIndex: 0,
      leaseRemainingMs: 0,
      membership: { voters, learners: [] },
      timing: balancedTiming,
      peers: voters
        .filter(({ id }) => id !== self)
        .map((item) => ({
          peer: item,
          voter: true,
          connected: true,
          lastHeardAgoMs: heard[item.id] ?? null,
          matchIndex: self === leader ? 9 : null,
        })),
    },
    vips: [],
    loopGapMs: 0,
    loopGapMaxMs: 0,
    residentBytes: 1,
    heartPid: 1,
  }
}

function report(id: string, more: Partial<NodeReport> = {}): NodeReport {
  return {
    id,
    atEpochMs: 1000,
    startedEpochMs: 0,
    revisionInForce: 3,
    degraded: '',
    appliedIndex: 9,
    vips: [],
    listeners: [],
    members: [],
    heartLoopGapMs: 0,
    heartResidentBytes: 0,
    residentBytes: 0,
    version: '1',
    stateHash: '',
    ...more,
  }
}
const vip = (state: string, sinceEpochMs: number, error = '') => ({
  name: 'main',
  address: '192.0.2.100',
  state,
  sinceEpochMs,
  leaseRemainingMs: 100,
  error,
})
const member = (health: 'up' | 'down', active: number) => ({
  pool: 'web',
  member: 'a',
  active,
  requestsTotal: 0,
  connectFailuresTotal: 0,
  errorsTotal: 0,
  health,
  healthSinceEpochMs: 5,
  lastProbe: health,
})

function overview(self: string, status: HeartStatus | undefined, reports: NodeReport[]) {
  return buildOverview({
    self,
    clusterId: 'c',
    atEpochMs: 2000,
    revision: 3,
    document,
    heart: status,
    reports: new Map(reports.map((item) => [item.id, item])),
    rates: new Rates(),
    history: true,
  })
}

test('nodes: sorted, with leader, self and who is reachable', (t) => {
  const { nodes } = overview('n1', heart('n1', 'n1', { n2: 50, w: 5000 }), [report('n1')])
  t.deepEqual(
    nodes.map(({ id, leader, self, reachable, lastHeardAgoMs }) => [id, leader, self, reachable, lastHeardAgoMs]),
    [
      ['n1', true, true, true, 0],
      ['n2', false, false, true, 50],
      ['w', false, false, false, 5000],
    ],
  )
})

test('a follower knows of the witness through the leader', (t) => {
  const status = heart('n2', 'n1', { n1: 30 })
  t.false(overview('n2', status, [report('n2')]).nodes[2]!.reachable)
  t.true(overview('n2', status, [report('n2'), report('n1', { heard: [{ id: 'w', agoMs: 40 }] })]).nodes[2]!.reachable)
})

test('the later of two claims to a VIP is shown; errors of all', (t) => {
  const reports = [report('n1', { vips: [vip('held', 100)] }), report('n2', { vips: [vip('held', 900)] })]
  t.like(overview('n1', heart('n1', 'n2', {}), reports).vips[0], { holder: 'n2', sinceEpochMs: 900 })
  const failed = [
    report('n1', { vips: [vip('failed', 100, 'no such interface')] }),
    report('n2', { vips: [vip('released', 0)] }),
  ]
  t.like(overview('n1', heart('n1', 'n1', {}), failed).vips[0], {
    holder: '',
    sinceEpochMs: 0,
    error: 'n1: no such interface',
  })
})

test('a member is as the holder of the VIP sees it, with the connections of all', (t) => {
  const reports = [
    report('n1', { members: [member('down', 1)] }),
    report('n2', { members: [member('up', 4)], vips: [vip('held', 1)], circuits: [{ pool: 'web', state: 'open' }] }),
  ]
  const { pools } = overview('n1', heart('n1', 'n1', {}), reports)
  t.like(pools[0], { up: 1, active: 5, circuit: 'open' })
  t.like(pools[0]!.members, [
    { name: 'a', health: 'up', active: 5, lastProbe: 'up' },
    { name: 'b', health: 'disabled' },
  ])
  t.is(
    overview('n1', heart('n1', 'n1', {}), [report('n1')]).pools[0]!.members[0]!.health,
    'checking',
    'nobody has said anything',
  )
})

test('a listener has the address of its VIP and the problems of every node', (t) => {
  const counters = {
    name: 'front',
    connections: 2,
    connectionsTotal: 0,
    requestsTotal: 0,
    responsesTotal: [0, 0, 0, 0, 0] as const,
    bytesInTotal: 0,
    bytesOutTotal: 0,
    errorsTotal: {},
    error: '',
  }
  const reports = [
    report('n1', { listeners: [counters] }),
    report('n2', { listeners: [{ ...counters, error: 'in use' }] }),
  ]
  t.like(overview('n1', heart('n1', 'n1', {}), reports).listeners[0], {
    address: '192.0.2.100',
    port: 80,
    connections: 4,
    problems: ['n2: in use'],
  })
})

test('before the heart has spoken there is no quorum and no node', (t) => {
  t.like(overview('n1', undefined, []), { quorum: false, leader: '', nodes: [], revision: 3 })
  t.false(overview('n1', heart('n1', '', {}), []).quorum)
})

test('certificates that expire are in the overview, the most urgent fifty', (t) => {
  const input = { self: 'n1', clusterId: 'c', atEpochMs: 0, revision: 1, document, heart: heart('n1', 'n1', {}), reports: new Map(), rates: new Rates(), history: false }
  t.false('expiring' in buildOverview({ ...input, expiring: [] }))
  const expiring = Array.from({ length: 60 }, (_, i) => ({ name: `c${i}`, kind: 'key-pair', state: 'soon', notAfterEpochMs: i, what: 'CN=x' }) as const)
  t.deepEqual(buildOverview({ ...input, expiring }).expiring, expiring.slice(0, 50))
})
