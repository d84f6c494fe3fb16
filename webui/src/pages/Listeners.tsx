/** All listeners: where they listen, where they send, and what goes through them now. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Anchor } from '@mantine/core'
import { IconPlus } from '@tabler/icons-react'
import { Link, useLocation } from 'wouter'
import type { ConfigurationDocument, Listener } from '../../../node/api/types.ts'
import { useOverviewPart } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { EmptyState, PageHead, Panel } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Rate } from '../display/Values.tsx'
import { useEditing } from '../draft/document.tsx'
import { NameDialog } from '../draft/NameDialog.tsx'
import { DraftMark, ReadOnlyNote, WithDocument } from '../draft/ObjectPage.tsx'
import { freeName, newListener, putListener } from '../draft/operations.ts'
import { AccessLists } from './AccessLists.tsx'
import { place } from './Overview.tsx'

/** A new listener stands on the first VIP and sends to the first pool, when there are any: the usual wish. */
function proposedListener(name: string, document: ConfigurationDocument): Listener {
  const vip = document.vips[0]?.name
  const pool = document.pools[0]?.name
  const taken = new Set(document.listeners.filter((listener) => listener.vip === vip).map((listener) => listener.port))
  const port = [80, 8080, 8081, 8082, 8083].find((candidate) => !taken.has(candidate)) ?? 8090
  return { ...newListener(name), port, ...(vip === undefined ? { address: '' } : { vip }), ...(pool === undefined ? {} : { pool }) }
}

export function Listeners() {
  const { t } = useTranslation()
  const format = useFormat()
  const { edit } = useEditing()
  const [, navigate] = useLocation()
  const [creating, setCreating] = useState(false)
  const live = new Map((useOverviewPart((overview) => overview.listeners) ?? []).map((listener) => [listener.name, listener]))
  const create = (
    <RoleButton role="operator" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)} testId="new-listener">
      {t('listener.create')}
    </RoleButton>
  )
  return (
    <WithDocument title={t('nav.listeners')}>
      {(document) => {
        const addresses = new Map(document.vips.map((vip) => [vip.name, vip.address]))
        const pool = (name: string) => <Anchor component={Link} href={`/pools/${name}`}>{name}</Anchor>
        const columns: Column<Listener>[] = [
          {
            key: 'name',
            title: t('word.listener'),
            cell: (listener) => (
              <span className="h-inline">
                <Anchor component={Link} href={`/listeners/${listener.name}`} fw={600}>{listener.name}</Anchor>
                <DraftMark path={`listeners/${listener.name}`} />
              </span>
            ),
          },
          {
            key: 'place',
            title: t('column.address'),
            cell: (listener) => (
              <>
                <span className="h-mono">{place(listener.vip === undefined ? (listener.address ?? '?') : (addresses.get(listener.vip) ?? '?'), listener.port)}{listener.portEnd === undefined ? '' : `-${listener.portEnd}`}</span>
                {listener.vip !== undefined && <span className="h-dim"> {listener.vip}</span>}
              </>
            ),
          },
          { key: 'protocol', title: t('column.protocol'), cell: (listener) => listener.protocol.toUpperCase() },
          {
            key: 'target',
            title: t('listener.target'),
            cell: (listener) => (
              <>
                {listener.pool === undefined ? <span className="h-dim">{t('listener.noPool')}</span> : pool(listener.pool)}
                {listener.routes.length > 0 && <span className="h-dim"> {t('listener.andRoutes', { count: listener.routes.length })}</span>}
              </>
            ),
          },
          {
            key: 'state',
            title: t('column.state'),
            cell: (listener) => {
              const now = live.get(listener.name)
              if (now === undefined) return <Status kind="off">{t('state.notApplied')}</Status>
              return now.problems.length === 0 ? <Status kind="ok">{t('listener.listening')}</Status> : <Status kind="bad">{now.problems.join(' · ')}</Status>
            },
          },
          { key: 'connections', title: t('column.connections'), numeric: true, cell: (listener) => format.count(live.get(listener.name)?.connections ?? 0) },
          { key: 'requests', title: t('column.requests'), numeric: true, cell: (listener) => <Rate value={live.get(listener.name)?.requestsPerSecond ?? 0} /> },
        ]
        return (
          <>
            <PageHead title={t('nav.listeners')} note={t('listener.note')}>{create}</PageHead>
            <ReadOnlyNote />
            <Panel flush>
              {document.listeners.length === 0 ? (
                <EmptyState title={t('listener.none')} next={document.pools.length === 0 ? t('listener.nonePoolFirst') : t('listener.noneNext')}>{create}</EmptyState>
              ) : (
                <DataTable
                  caption={t('nav.listeners')}
                  columns={columns}
                  rows={document.listeners}
                  rowKey={(listener) => listener.name}
                  searchText={(listener) => `${listener.name} ${listener.vip ?? ''} ${listener.address ?? ''} ${listener.port} ${listener.pool ?? ''}`}
                  minWidth={800}
                  testId="listener-list"
                />
              )}
            </Panel>
            <AccessLists document={document} />
            <NameDialog
              opened={creating}
              title={t('listener.create')}
              action={t('action.create')}
              note={t('listener.createNote')}
              initial={document.listeners.length === 0 ? 'web' : freeName('listener', document.listeners)}
              taken={document.listeners}
              close={() => setCreating(false)}
              done={(name) => {
                edit('', putListener(proposedListener(name, document)))
                navigate(`/listeners/${name}`)
              }}
            />
          </>
        )
      }}
    </WithDocument>
  )
}
