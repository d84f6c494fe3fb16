import test from 'ava'
import type { NodeReport } from '../api/types.ts'
import { escapeLabel, metricsText } from './metrics.ts'

const report: NodeReport = {
  id: 'n1',
  atEpochMs: 0,
  startedEpochMs: 1_700_000_000_500,
  revisionInForce: 7,
  degraded: 'listener web: address in use',
  appliedIndex: 40,
  vips: [],
  listeners: [
    {
      name: 'web',
      connections: 3,
      connectionsTotal: 12,
      requestsTotal: 1e21,
      responsesTotal: [0, 90, 1, 5, 4],
      bytesInTotal: 1000,
      bytesOutTotal: 2 ** 40,
      errorsTotal: { 'member-timeout': 4, 'no-member': 1 },
      routing: { retriesTotal: 11, retriesRefusedTotal: 12, copiesTotal: 13, copiesSkippedTotal: 14 },
      error: 'address in use',
    },
  ],
  members: [
    {
      pool: 'p',
      member: 'a"b\\c\nd',
      active: 2,
      requestsTotal: 9,
      connectFailuresTotal: 1,
      errorsTotal: 3,
      health: 'down',
      healthSinceEpochMs: 0,
      ejectionsTotal: 6,
      weightFactor: 0.125,
      lastProbe: '',
    },
  ],
  circuits: [{ pool: 'p', state: 'half-open' }],
  heartLoopGapMs: 0,
  heartResidentBytes: 0,
  residentBytes: 1234,
  version: '1.2.3',
  stateHash: '',
}

test('a page is valid exposition text: one HELP and TYPE for each family, before its samples, and no family twice', (t) => {
  const sessionTable = { pools: [{ pool: 'p', entries: 4 }], evictedTotal: 1, fullTotal: 2, busyTotal: 3, notReplicatedTotal: 5 }
  const text = metricsText({ report, heart: undefined, revision: 8, sessionTable })
  t.true(text.includes('haechi_session_table_entries{pool="p"} 4\n'))
  t.true(text.includes('haechi_session_dropped_updates_total{reason="pool-full"} 2\n'))
  t.true(text.includes('haechi_listener_retries_total{listener="web",result="refused"} 12\n'))
  t.true(text.includes('haechi_listener_copies_total{listener="web",result="sent"} 13\n'))
  t.true(text.endsWith('\n'))
  const types = new Map<string, string>()
  let family = ''
  for (const line of text.trimEnd().split('\n')) {
    const help = /^# HELP (\S+) (\S.*)$/.exec(line)
    const type = /^# TYPE (\S+) (gauge|counter)$/.exec(line)
    if (help !== null) {
      family = help[1]!
      t.false(types.has(family), `${family} twice`)
    } else if (type !== null) {
      t.is(type[1], family)
      types.set(family, type[2]!)
    } else {
      const sample =
        /^(haechi_[a-z0-9_]+)(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+)$/.exec(
          line,
        )
      t.is(sample?.[1], family, line)
      t.false(Number.isNaN(Number(sample?.[3])), line)
    }
  }
  for (const [name, type] of types) t.is(name.endsWith('_total'), type === 'counter', name)
})

test('values and labels are what they should be', (t) => {
  const lines = metricsText({ report, heart: undefined, revision: 8, sessions: 12 }).split('\n')
  t.true(lines.includes('haechi_session_entries 12'))
  for (const expected of [
    'haechi_build_info{version="1.2.3",node="n1"} 1',
    'haechi_start_time_seconds 1700000000.5',
    'haechi_degraded 1',
    'haechi_config_revision 8',
    'haechi_config_revision_in_force 7',
    'haechi_listener_up{listener="web"} 0',
    'haechi_listener_connections{listener="web"} 3',
    'haechi_listener_requests_total{listener="web"} 1e+21',
    'haechi_listener_responses_total{listener="web",class="2xx"} 90',
    'haechi_listener_sent_bytes_total{listener="web"} 1099511627776',
    'haechi_listener_errors_total{listener="web",code="member-timeout"} 4',
    'haechi_member_errors_total{pool="p",member="a\\"b\\\\c\\nd"} 3',
    'haechi_member_health{pool="p",member="a\\"b\\\\c\\nd",state="down"} 1',
    'haechi_member_health{pool="p",member="a\\"b\\\\c\\nd",state="up"} 0',
    'haechi_member_ejections_total{pool="p",member="a\\"b\\\\c\\nd"} 6',
    'haechi_member_weight_factor{pool="p",member="a\\"b\\\\c\\nd"} 0.125',
    'haechi_pool_circuit{pool="p",state="half-open"} 1',
    'haechi_pool_circuit{pool="p",state="open"} 0',
  ])
    t.true(lines.includes(expected), expected)
})

test('a node without listeners has no empty families', (t) => {
  t.notRegex(
    metricsText({ report: { ...report, listeners: [], members: [], circuits: [] }, heart: undefined }),
    /haechi_(listener|member|vip|consensus)/,
  )
})

test('label values are escaped', (t) => {
  t.is(escapeLabel('a\\b"c\nd'), 'a\\\\b\\"c\\nd')
})

test('certificates tell the time that they have left, which is negative once they have expired', (t) => {
  const certificates = [{ name: 'www', kind: 'key-pair', notAfterEpochMs: 90_500 }, { name: 'old', kind: 'authority', notAfterEpochMs: -1000 }]
  const text = metricsText({ report, heart: undefined, certificates })
  t.true(text.includes('haechi_certificate_expiry_seconds{name="www",kind="key-pair"} 90.5\n'))
  t.true(text.includes('haechi_certificate_expiry_seconds{name="old",kind="authority"} -1\n'))
  t.false(metricsText({ report, heart: undefined }).includes('haechi_certificate'))
})
