/** Every revision of the configuration, newest first. */
import { useTranslation } from 'react-i18next'
import { Anchor, Button, Center } from '@mantine/core'
import { Link } from 'wouter'
import type { RevisionSummary } from '../../../node/api/types.ts'
import { useOverviewPart, useRevisions } from '../api/queries.ts'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Instant } from '../display/Values.tsx'

const summaryLines = 3

export function Revisions() {
  const { t } = useTranslation()
  const revisions = useRevisions()
  const current = useOverviewPart((overview) => overview.revision) ?? 0
  const rows = revisions.data?.pages.flat() ?? []
  const newest = Math.max(current, rows[0]?.revision ?? 0)
  const columns: Column<RevisionSummary>[] = [
    {
      key: 'revision',
      title: t('word.revision'),
      width: 128,
      cell: (row) => (
        <span className="h-inline">
          <Anchor component={Link} href={`/revisions/${row.revision}`} fw={600}>{row.revision}</Anchor>
          {row.revision === newest && <span className="h-tag h-tag-current">{t('revision.current')}</span>}
        </span>
      ),
    },
    { key: 'when', title: t('column.when'), width: 160, cell: (row) => <Instant at={row.atEpochMs} /> },
    { key: 'who', title: t('column.who'), width: 170, cell: (row) => <>{row.author} {row.from !== '' && <span className="h-dim">{row.from}</span>}</> },
    {
      key: 'comment',
      title: t('column.comment'),
      cell: (row) => (
        <>
          {row.rolledBackTo !== null && <span className="h-tag">{t('revision.rolledBackTo', { revision: row.rolledBackTo })}</span>} {row.comment}
        </>
      ),
    },
    {
      key: 'summary',
      title: t('column.changes'),
      width: '38%',
      cell: (row) => (
        <ul className="h-summary">
          {row.summary.slice(0, summaryLines).map((line) => <li key={line}>{line}</li>)}
          {row.summary.length > summaryLines && <li className="h-dim">{t('revision.more', { count: row.summary.length - summaryLines })}</li>}
        </ul>
      ),
    },
  ]
  return (
    <>
      <PageHead title={t('nav.revisions')} note={t('revision.note')} />
      <Panel flush>
        {revisions.error !== null ? <FailureNote error={revisions.error} retry={() => void revisions.refetch()} />
        : revisions.isPending ? <Waiting />
        : rows.length === 0 ? <EmptyState title={t('revision.none')} next={t('revision.noneNext')} />
        : <DataTable caption={t('nav.revisions')} columns={columns} rows={rows} rowKey={(row) => String(row.revision)} searchText={(row) => `${row.revision} ${row.author} ${row.comment} ${row.summary.join(' ')}`} pageSize={1000} alwaysFilter top minWidth={880} testId="revision-list" />}
        {revisions.hasNextPage && (
          <Center py="sm">
            <Button variant="default" loading={revisions.isFetchingNextPage} onClick={() => void revisions.fetchNextPage()}>{t('table.older')}</Button>
          </Center>
        )}
      </Panel>
    </>
  )
}
