/** Editor of one pool: members with their live health, balancing, health check, connections to members. */
import { useTranslation } from 'react-i18next'
import { ActionIcon, SimpleGrid, Tooltip } from '@mantine/core'
import { IconPlus, IconTrash } from '@tabler/icons-react'
import type { Member, MemberView, Pool } from '../../../node/api/types.ts'
import { useOverviewPart } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { EmptyState, Panel } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Rate } from '../display/Values.tsx'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, DurationField, NumberField, TextField } from '../draft/Fields.tsx'
import { ObjectPage } from '../draft/ObjectPage.tsx'
import { changePool, freeName, newMember, removePool, renamePool, usersOfPool } from '../draft/operations.ts'
import { Health } from '../overview/health.tsx'
import { BalanceFields, MemberShares } from './PoolBalancing.tsx'
import { PoolCheck, PoolMaintenance, PoolTraffic } from './PoolHealth.tsx'
import { PoolQueue } from './TrafficLimits.tsx'
import { PoolPersistence } from './PoolPersistence.tsx'
import { PoolTlsPanel } from './Tls.tsx'

export function PoolPage({ name }: { readonly name: string }) {
  const { t } = useTranslation()
  const { document } = useEditing()
  const usedBy = document === undefined ? [] : usersOfPool(document, name)
  return (
    <ObjectPage
      part="pools"
      name={name}
      note={usedBy.length === 0 ? t('pool.notUsed') : t('pool.usedByNames', { names: usedBy.join(', ') })}
      usedBy={usedBy}
      rename={(next) => renamePool(name, next)}
      remove={removePool(name)}
    >
      {(index) => {
        const pool = document?.pools[index]
        return pool === undefined ? null : <Editor pool={pool} pointer={`/pools/${index}`} />
      }}
    </ObjectPage>
  )
}

function Editor({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const set = (field: keyof Pool, value: Pool[keyof Pool]) => edit(`${pointer}/${field}`, changePool(pool.name, { [field]: value }))
  return (
    <>
      <Members pool={pool} pointer={pointer} />
      <MemberShares pool={pool} pointer={pointer} />
      <div className="h-columns">
        <div>
          <PoolCheck pool={pool} pointer={pointer} />
          <PoolTraffic pool={pool} pointer={pointer} />
          <PoolMaintenance pool={pool} pointer={pointer} />
        </div>
        <div>
          <Panel title={t('pool.connections')}>
            <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
              <BalanceFields pool={pool} pointer={pointer} />
              <NumberField pointer={`${pointer}/retries`} label={t('pool.retries')} hint={t('pool.retriesHint')} value={pool.retries} onChange={(value) => set('retries', value)} />
              <DurationField pointer={`${pointer}/connectTimeout`} label={t('pool.connectTimeout')} hint={t('pool.connectTimeoutHint')} value={pool.connectTimeout} onChange={(value) => set('connectTimeout', value)} />
              <DurationField pointer={`${pointer}/serverIdleTimeout`} label={t('pool.serverIdleTimeout')} hint={t('pool.serverIdleTimeoutHint')} value={pool.serverIdleTimeout} onChange={(value) => set('serverIdleTimeout', value)} />
              <NumberField pointer={`${pointer}/maxIdleConnections`} label={t('pool.maxIdle')} hint={t('pool.maxIdleHint')} value={pool.maxIdleConnections} onChange={(value) => set('maxIdleConnections', value)} />
              <DurationField pointer={`${pointer}/keepAlive`} label={t('pool.keepAlive')} hint={t('pool.keepAliveHint')} value={pool.keepAlive} onChange={(value) => set('keepAlive', value)} />
              <ChoiceField
                pointer={`${pointer}/sendProxyProtocol`}
                label={t('layer4.send')}
                hint={t('layer4.sendHint')}
                value={pool.sendProxyProtocol ?? 'off'}
                choices={(['off', 'v1', 'v2'] as const).map((value) => ({ value, label: t(`layer4.${value}`) }))}
                onChange={(value) => set('sendProxyProtocol', value)}
                testId="pool-send-proxy"
              />
            </SimpleGrid>
          </Panel>
          <PoolQueue pool={pool} pointer={pointer} />
          <PoolTlsPanel pool={pool} pointer={pointer} />
          <PoolPersistence pool={pool} pointer={pointer} />
        </div>
      </div>
    </>
  )
}

function Members({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit, mayEdit } = useEditing()
  const livePool = useOverviewPart((overview) => overview.pools.find((candidate) => candidate.name === pool.name))
  const live = new Map<string, MemberView>((livePool?.members ?? []).map((member) => [member.name, member]))
  const put = (field: string, members: readonly Member[]) => edit(field, changePool(pool.name, { members: [...members] }))
  const set = (at: number, field: keyof Member, value: Member[keyof Member]) =>
    put(`${pointer}/members/${at}/${field}`, pool.members.map((member, index) => (index === at ? { ...member, [field]: value } : member)))
  const addMember = () => put('', [...pool.members, { ...newMember(freeName(`${pool.name}-${pool.members.length + 1}`, pool.members)), port: pool.members.at(-1)?.port ?? 80 }])

  const indexed = pool.members.map((member, at) => ({ member, at }))
  type Row = (typeof indexed)[number]
  const columns: Column<Row>[] = [
    {
      key: 'name',
      title: t('column.name'),
      width: '17%',
      cell: ({ member, at }) => <TextField inTable pointer={`${pointer}/members/${at}/name`} label={t('member.nameOf', { n: at + 1 })} value={member.name} onChange={(value) => set(at, 'name', value)} />,
    },
    {
      key: 'address',
      title: t('member.address'),
      width: '20%',
      cell: ({ member, at }) => (
        <TextField inTable mono pointer={`${pointer}/members/${at}/address`} label={t('member.addressOf', { name: member.name })} placeholder="10.0.0.10" value={member.address} onChange={(value) => set(at, 'address', value.trim())} />
      ),
    },
    {
      key: 'port',
      title: t('column.port'),
      width: 88,
      cell: ({ member, at }) => <NumberField inTable pointer={`${pointer}/members/${at}/port`} label={t('member.portOf', { name: member.name })} value={member.port} onChange={(value) => set(at, 'port', value)} />,
    },
    {
      key: 'weight',
      title: t('member.weight'),
      width: 76,
      cell: ({ member, at }) => <NumberField inTable pointer={`${pointer}/members/${at}/weight`} label={t('member.weightOf', { name: member.name })} value={member.weight} onChange={(value) => set(at, 'weight', value)} />,
    },
    {
      key: 'state',
      title: t('member.state'),
      width: 136,
      cell: ({ member, at }) => (
        <ChoiceField
          inTable
          pointer={`${pointer}/members/${at}/state`}
          label={t('member.stateOf', { name: member.name })}
          value={member.state}
          choices={(['enabled', 'drain', 'disabled'] as const).map((value) => ({ value, label: t(`memberState.${value}`) }))}
          onChange={(value) => set(at, 'state', value as Member['state'])}
        />
      ),
    },
    {
      key: 'health',
      title: t('member.now'),
      cell: ({ member }) => {
        const now = live.get(member.name)
        if (now === undefined) return <Status kind="off">{t('state.notApplied')}</Status>
        return (
          <Tooltip label={now.lastProbe === '' ? t('member.noProbe') : t('member.probe', { text: now.lastProbe })}>
            <span tabIndex={0}><Health health={now.health} /></span>
          </Tooltip>
        )
      },
    },
    { key: 'requests', title: t('column.requests'), numeric: true, cell: ({ member }) => <Rate value={live.get(member.name)?.requestsPerSecond ?? 0} /> },
    {
      key: 'remove',
      title: <span className="h-hidden">{t('action.remove')}</span>,
      width: 44,
      cell: ({ member, at }) =>
        mayEdit && (
          <Tooltip label={t('member.removeOf', { name: member.name })}>
            <ActionIcon aria-label={t('member.removeOf', { name: member.name })} onClick={() => put('', pool.members.filter((_, index) => index !== at))}>
              <IconTrash size={16} stroke={1.7} />
            </ActionIcon>
          </Tooltip>
        ),
    },
  ]
  const add = (
    <RoleButton role="operator" variant="default" size="compact-sm" leftSection={<IconPlus size={14} aria-hidden />} onClick={addMember} testId="add-member">
      {t('member.add')}
    </RoleButton>
  )
  return (
    <Panel title={t('word.members')} note={t('member.note')} flush actions={pool.members.length > 0 && add} testId="members">
      {pool.members.length === 0 ? (
        <EmptyState title={t('member.none')} next={t('member.noneNext')}>{add}</EmptyState>
      ) : (
        <DataTable caption={t('word.members')} columns={columns} rows={indexed} rowKey={({ at }) => String(at)} searchText={({ member }) => `${member.name} ${member.address}:${member.port} ${member.state}`} minWidth={860} testId="member-editor" />
      )}
    </Panel>
  )
}
