/** The audit log: who did what, from where, through which node. Append-only; newest first. */
import { useTranslation } from 'react-i18next'
import { Anchor, Button, Center } from '@mantine/core'
import { Link } from 'wouter'
import type { AuditView } from '../../../node/api/types.ts'
import { useAudit } from '../api/queries.ts'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Instant } from '../display/Values.tsx'

export function Audit() {
  const { t, i18n } = useTranslation()
  const audit = useAudit()
  const rows = audit.data?.pages.flat() ?? []
  // An action that this console does not know yet is shown by its code.
  const actionText = (action: string) => (i18n.exists(`auditAction.${action.replaceAll('.', '_')}`) ? t(`auditAction.${action.replaceAll('.', '_')}` as 'auditAction.config_apply') : action)
  const columns: Column<AuditView>[] = [
    { key: 'when', title: t('column.when'), width: 160, cell: (row) => <Instant at={row.atEpochMs} /> },
    { key: 'who', title: t('column.who'), width: 120, cell: (row) => <strong>{row.actor.name}</strong> },
    { key: 'action', title: t('audit.action'), width: 190, cell: (row) => <span title={row.action}>{actionText(row.action)}</span> },
    {
      key: 'detail',
      title: t('audit.detail'),
      cell: (row) => (
        <>
          {row.revision !== null && <Anchor component={Link} href={`/revisions/${row.revision}`} underline="always">{t('diff.revision', { revision: row.revision })}</Anchor>} <span className="h-lines">{row.detail}</span>
        </>
      ),
    },
    { key: 'from', title: t('audit.from'), width: 150, cell: (row) => <span className="h-mono">{row.actor.from === '' ? '–' : row.actor.from}</span> },
    { key: 'node', title: t('audit.node'), width: 110, cell: (row) => row.actor.node },
    { key: 'index', title: t('audit.index'), width: 90, numeric: true, cell: (row) => row.index },
  ]
  return (
    <>
      <PageHead title={t('nav.audit')} note={t('audit.note')} />
      <Panel flush>
        {audit.error !== null ? <FailureNote error={audit.error} retry={() => void audit.refetch()} />
        : audit.isPending ? <Waiting />
        : rows.length === 0 ? <EmptyState title={t('audit.none')} next={t('audit.noneNext')} />
        : (
          <DataTable
            caption={t('nav.audit')}
            columns={columns}
            rows={rows}
            rowKey={(row) => String(row.index)}
            searchText={(row) => `${row.actor.name} ${row.actor.from} ${row.actor.node} ${row.action} ${actionText(row.action)} ${row.detail}`}
            pageSize={1000} alwaysFilter top
            minWidth={900}
            testId="audit-list"
          />
        )}
        {audit.hasNextPage && (
          <Center py="sm">
            <Button variant="default" loading={audit.isFetchingNextPage} onClick={() => void audit.fetchNextPage()}>{t('table.older')}</Button>
          </Center>
        )}
      </Panel>
    </>
  )
}
