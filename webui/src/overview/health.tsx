/** Member health and node state in words, the same on every page. */
import { useTranslation } from 'react-i18next'
import type { ClusterOverview, MemberHealth, NodeView } from '../../../node/api/types.ts'
import { Status, type StatusKind } from '../display/Status.tsx'

const kinds: Readonly<Record<MemberHealth, StatusKind>> = { up: 'ok', down: 'bad', checking: 'busy', draining: 'warn', disabled: 'off', ejected: 'bad' }

export function Health({ health }: { readonly health: MemberHealth }) {
  const { t } = useTranslation()
  return <Status kind={kinds[health]}>{t(`health.${health}`)}</Status>
}

export function NodeState({ node, revision }: { readonly node: NodeView; readonly revision: ClusterOverview['revision'] }) {
  const { t } = useTranslation()
  if (!node.reachable && !node.self) return <Status kind="bad">{t('node.unreachable')}</Status>
  const report = node.report
  if (node.role === 'node' && report !== null) {
    if (report.degraded !== '') return <Status kind="warn">{t('node.degraded')}</Status>
    if (report.revisionInForce < revision) return <Status kind="busy">{t('node.behind')}</Status>
  }
  return <Status kind="ok">{t('node.fit')}</Status>
}

export function PoolState({ up, members }: { readonly up: number; readonly members: number }) {
  const { t } = useTranslation()
  const kind: StatusKind = members === 0 ? 'off' : up === 0 ? 'bad' : up < members ? 'warn' : 'ok'
  return <Status kind={kind}>{members === 0 ? t('pool.empty') : t('pool.up', { up, all: members })}</Status>
}
