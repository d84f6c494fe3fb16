/** What the console calls for attention to: certificates, by how urgent they are. */
import test from 'ava'
import type { ClusterOverview, ExpiringCertificate } from '../../../node/api/types.ts'
import { attentionOf } from './attention.ts'

const dayMs = 86_400_000
const overview = (expiring: readonly ExpiringCertificate[]): ClusterOverview => ({
  clusterId: 'c', self: 'n1', atEpochMs: 1_000 * dayMs, revision: 1, leader: 'n1', term: 1, quorum: true, nodes: [], vips: [], listeners: [], pools: [], traffic: [], expiring,
})
const certificate = (name: string, state: ExpiringCertificate['state'], days: number): ExpiringCertificate => ({ name, kind: 'key-pair', state, notAfterEpochMs: (1_000 + days) * dayMs, what: `CN=${name}` })

test('certificates that expire are told of, the expired and urgent ones first and in red', (t) => {
  t.deepEqual(attentionOf(overview([])), [])
  const found = attentionOf(overview([certificate('later', 'soon', 20.5), certificate('old', 'expired', -3), certificate('now', 'urgent', 0.5)]))
  t.deepEqual(found, [
    { code: 'certificateExpired', severity: 'bad', values: { name: 'old', what: 'CN=old' }, href: '/certificates' },
    { code: 'certificateExpires', severity: 'bad', values: { name: 'now', what: 'CN=now', days: 0 }, href: '/certificates' },
    { code: 'certificateExpires', severity: 'warn', values: { name: 'later', what: 'CN=later', days: 20 }, href: '/certificates' },
  ])
})
