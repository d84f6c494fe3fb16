/** All pools: what is configured beside what is happening. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Anchor } from '@mantine/core'
import { IconPlus } from '@tabler/icons-react'
import { Link, useLocation } from 'wouter'
import type { Pool } from '../../../node/api/types.ts'
import { useOverviewPart } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { EmptyState, PageHead, Panel } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Latency, Rate } from '../display/Values.tsx'
import { useEditing } from '../draft/document.tsx'
import { NameDialog } from '../draft/NameDialog.tsx'
import { DraftMark, ReadOnlyNote, WithDocument } from '../draft/ObjectPage.tsx'
import { freeName, newPool, putPool, usersOfPool } from '../draft/operations.ts'
import { PoolState } from '../overview/health.tsx'

export function Pools() {
  const { t } = useTranslation()
  const format = useFormat()
  const { edit } = useEditing()
  const [, navigate] = useLocation()
  const [creating, setCreating] = useState(false)
  const live = new Map((useOverviewPart((overview) => overview.pools) ?? []).map((pool) => [pool.name, pool]))
  const create = (
    <RoleButton role="operator" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)} testId="new-pool">
      {t('pool.create')}
    </RoleButton>
  )
  return (
    <WithDocument title={t('nav.pools')}>
      {(document) => {
        const columns: Column<Pool>[] = [
          {
            key: 'name',
            title: t('word.pool'),
            cell: (pool) => (
              <span className="h-inline">
                <Anchor component={Link} href={`/pools/${pool.name}`} fw={600}>{pool.name}</Anchor>
                <DraftMark path={`pools/${pool.name}`} />
              </span>
            ),
          },
          {
            key: 'health',
            title: t('pool.health'),
            cell: (pool) => {
              const now = live.get(pool.name)
              return now === undefined ? <Status kind="off">{t('state.notApplied')}</Status> : <PoolState up={now.up} members={now.members.length} />
            },
          },
          { key: 'balance', title: t('pool.balance'), cell: (pool) => t(`balance.${pool.balance}`) },
          {
            key: 'check',
            title: t('pool.check'),
            cell: (pool) => {
              const probe = pool.healthCheck
              if (probe.type === 'none') return <span className="h-dim">{t('probe.none')}</span>
              return `${probe.type === 'http' ? `HTTP ${probe.path}` : 'TCP'} · ${t('probe.every', { interval: probe.interval })}`
            },
          },
          {
            key: 'usedBy',
            title: t('pool.usedBy'),
            cell: (pool) => {
              const users = usersOfPool(document, pool.name)
              return users.length === 0 ? <span className="h-dim">{t('pool.unused')}</span> : users.map((name, at) => (
                <span key={name}>{at > 0 && ', '}<Anchor component={Link} href={`/listeners/${name}`}>{name}</Anchor></span>
              ))
            },
          },
          { key: 'active', title: t('column.active'), numeric: true, cell: (pool) => format.count(live.get(pool.name)?.active ?? 0) },
          { key: 'requests', title: t('column.requests'), numeric: true, cell: (pool) => <Rate value={live.get(pool.name)?.requestsPerSecond ?? 0} /> },
          { key: 'latency', title: <span title={t('observe.latencyHint')}>{t('observe.latency')}</span>, numeric: true, cell: (pool) => <Latency of={live.get(pool.name)?.latency ?? null} /> },
        ]
        return (
          <>
            <PageHead title={t('nav.pools')} note={t('pool.note')}>{create}</PageHead>
            <ReadOnlyNote />
            <Panel flush>
              {document.pools.length === 0 ? (
                <EmptyState title={t('pool.none')} next={t('pool.noneNext')}>{create}</EmptyState>
              ) : (
                <DataTable
                  caption={t('nav.pools')}
                  columns={columns}
                  rows={document.pools}
                  rowKey={(pool) => pool.name}
                  searchText={(pool) => `${pool.name} ${pool.members.map((member) => `${member.name} ${member.address}`).join(' ')}`}
                  minWidth={760}
                  testId="pool-list"
                />
              )}
            </Panel>
            <NameDialog
              opened={creating}
              title={t('pool.create')}
              action={t('action.create')}
              note={t('pool.createNote')}
              initial={document.pools.length === 0 ? 'web' : freeName('pool', document.pools)}
              taken={document.pools}
              close={() => setCreating(false)}
              done={(name) => {
                edit('', putPool(newPool(name)))
                navigate(`/pools/${name}`)
              }}
            />
          </>
        )
      }}
    </WithDocument>
  )
}
