/** The session table: which clients persistence keeps on which members; search, and forgetting them. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Center, Group, Select, Text, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useSearch } from 'wouter'
import type { SessionEntryView, SessionPurgeView } from '../../../node/api/types.ts'
import { call } from '../api/client.ts'
import { queries, useConfig, useSessions } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { Confirm } from '../display/Confirm.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { notify } from '../display/notify.ts'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'

/** What is to be forgotten: one client, or what the search shows. */
interface Purge {
  readonly query: URLSearchParams
  readonly title: string
}

export function Sessions() {
  const { t } = useTranslation()
  const format = useFormat()
  const config = useConfig()
  const [pool, setPool] = useState(new URLSearchParams(useSearch()).get('pool') ?? '')
  const [member, setMember] = useState('')
  const [text, setText] = useState('')
  const [key] = useDebouncedValue(text.trim(), 300)
  const [purge, setPurge] = useState<Purge>()
  const filter = new URLSearchParams()
  if (pool !== '') filter.set('pool', pool)
  if (pool !== '' && member !== '') filter.set('member', member)
  if (key !== '') filter.set('key', key)
  const sessions = useSessions(filter.toString())
  const rows = sessions.data?.pages.flatMap((page) => page.entries) ?? []
  const total = sessions.data?.pages.at(-1)?.total ?? 0
  const pools = (config.data?.document.pools ?? []).filter(({ persistence }) => persistence !== undefined && persistence.type !== 'none' && persistence.type !== 'cookie')
  const members = pools.find(({ name }) => name === pool)?.members ?? []
  const filtered = filter.size > 0
  const remaining = ({ remainingMs }: SessionEntryView) => (remainingMs === null ? '–' : remainingMs === 0 ? t('sessions.expired') : format.span(remainingMs))
  const forgetOne = (row: SessionEntryView) => setPurge({ query: new URLSearchParams({ pool: row.pool, client: row.client }), title: t('sessions.forgetTitle', { client: row.client }) })
  const columns: Column<SessionEntryView>[] = [
    { key: 'client', title: t('sessions.client'), cell: (row) => <span className="h-mono">{row.client}</span> },
    { key: 'type', title: t('sessions.by'), width: 180, cell: (row) => (row.type === 'source' || row.type === 'header' || row.type === 'app-cookie' ? t(`persistence.${row.type}`) : row.type) },
    { key: 'pool', title: t('word.pool'), width: 150, cell: (row) => row.pool },
    { key: 'member', title: t('sessions.member'), width: 150, cell: (row) => row.member },
    { key: 'remaining', title: t('sessions.remaining'), width: 120, numeric: true, cell: remaining },
    {
      key: 'tools',
      title: <span className="h-hidden">{t('column.actions')}</span>,
      width: 100,
      cell: (row) => (
        <RoleButton role="operator" variant="default" size="compact-xs" label={t('sessions.forgetOf', { client: row.client })} onClick={() => forgetOne(row)}>{t('sessions.forget')}</RoleButton>
      ),
    },
  ]
  const all = new URLSearchParams(filtered ? filter : { all: 'true' })
  return (
    <>
      <PageHead title={t('nav.sessions')} note={t('sessions.note')}>
        <RoleButton role="operator" variant="default" blocked={rows.length === 0 ? t('sessions.nothing') : undefined} onClick={() => setPurge({ query: all, title: filtered ? t('sessions.purgeTitle') : t('sessions.purgeAllTitle') })} testId="purge-sessions">
          {filtered ? t('sessions.purge') : t('sessions.purgeAll')}
        </RoleButton>
      </PageHead>
      <Panel flush>
        <Group p="sm" gap="sm" align="end">
          <Select
            label={t('word.pool')}
            data={pools.map(({ name }) => name)}
            value={pool === '' ? null : pool}
            placeholder={t('sessions.everyPool')}
            clearable
            searchable
            nothingFoundMessage={t('table.noMatch')}
            onChange={(value) => { setPool(value ?? ''); setMember('') }}
          />
          <Select
            label={t('sessions.member')}
            data={members.map(({ name }) => name)}
            value={member === '' ? null : member}
            placeholder={t('sessions.everyMember')}
            disabled={pool === ''}
            clearable
            onChange={(value) => setMember(value ?? '')}
          />
          <TextInput label={t('sessions.client')} description={t('sessions.clientHint')} value={text} onChange={(event) => setText(event.currentTarget.value)} spellCheck={false} autoComplete="off" maxLength={128} classNames={{ input: 'h-mono' }} data-testid="session-search" />
          <Text c="dimmed" size="sm" pb={6}>{t('sessions.total', { count: total })}</Text>
        </Group>
        {sessions.error !== null ? <FailureNote error={sessions.error} retry={() => void sessions.refetch()} />
        : sessions.isPending ? <Waiting />
        : rows.length === 0 ? <EmptyState title={filtered ? t('table.noMatch') : t('sessions.none')} next={filtered ? '' : t('sessions.noneNext')} />
        : <DataTable caption={t('nav.sessions')} columns={columns} rows={rows} rowKey={(row) => row.key} pageSize={1000} minWidth={760} testId="session-list" />}
        {sessions.hasNextPage && (
          <Center py="sm">
            <Button variant="default" loading={sessions.isFetchingNextPage} onClick={() => void sessions.fetchNextPage()}>{t('sessions.more')}</Button>
          </Center>
        )}
      </Panel>
      {purge !== undefined && (
        <Confirm
          opened
          title={purge.title}
          action={t('sessions.forget')}
          dangerous
          close={() => setPurge(undefined)}
          run={async () => {
            const { removed } = await call<SessionPurgeView>('DELETE', `/sessions?${purge.query.toString()}`)
            notify(t('sessions.removed', { count: removed }))
            void queries.invalidateQueries({ queryKey: ['sessions'] })
            void queries.invalidateQueries({ queryKey: ['audit'] })
          }}
        >
          <Text>{t('sessions.forgetText')}</Text>
        </Confirm>
      )}
    </>
  )
}
