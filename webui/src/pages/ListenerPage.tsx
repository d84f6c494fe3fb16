/** Editor of one listener: where it listens, its ordered routes, timeouts and limits. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ActionIcon, Group, SimpleGrid, Text, Tooltip } from '@mantine/core'
import { IconAdjustments, IconArrowDown, IconArrowUp, IconPlus, IconTrash } from '@tabler/icons-react'
import type { ConfigurationDocument, Listener, Route } from '../../../node/api/types.ts'
import { useOverviewPart } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { EmptyState, Panel } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Rate, Speed } from '../display/Values.tsx'
import { useEditing, useProblem } from '../draft/document.tsx'
import { ChoiceField, DurationField, ListField, NumberField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel } from '../draft/Fold.tsx'
import { ObjectPage } from '../draft/ObjectPage.tsx'
import { ListenerLayer4, withoutForeignLayer4 } from './ListenerLayer4.tsx'
import { actionOf, ListenerRequests, RouteDetails } from './RouteDetails.tsx'
import { ListenerTlsPanel, withProtocol } from './Tls.tsx'
import { ListenerAccess, ListenerObservation } from './TrafficLimits.tsx'
import { changeListener, freeName, newListener, newRoute, removeListener, renameListener } from '../draft/operations.ts'

type Set = (field: string, change: (listener: Listener) => Listener) => void
interface Part {
  readonly listener: Listener
  readonly pointer: string
  readonly set: Set
}

export function ListenerPage({ name }: { readonly name: string }) {
  const { t } = useTranslation()
  const { document, edit } = useEditing()
  return (
    <ObjectPage part="listeners" name={name} note={t('listener.pageNote')} usedBy={[]} rename={(next) => renameListener(name, next)} remove={removeListener(name)}>
      {(index) => {
        const listener = document?.listeners[index]
        if (document === undefined || listener === undefined) return null
        const pointer = `/listeners/${index}`
        const set: Set = (field, change) => edit(field === '' ? '' : `${pointer}/${field}`, changeListener(name, change))
        return (
          <>
            <Now name={name} />
            <Place listener={listener} pointer={pointer} set={set} document={document} />
            <ListenerTlsPanel listener={listener} pointer={pointer} set={set} />
            {hasRoutes(listener) && <Routes listener={listener} pointer={pointer} set={set} document={document} />}
            {isHttp(listener) && (
              <FoldingPanel
                title={t('route.requests')}
                note={t('route.requestsNote')}
                testId="listener-requests"
                pointers={['normalizePath', 'redirectToHttps', 'headers'].map((field) => `${pointer}/${field}`)}
                holds={[
                  listener.normalizePath !== undefined && t('route.normalizePath'),
                  listener.redirectToHttps !== undefined && t('route.toHttps'),
                  listener.headers !== undefined && t('route.headerFields'),
                ]}
              >
                <ListenerRequests listener={listener} pointer={pointer} set={set} />
              </FoldingPanel>
            )}
            <ListenerLayer4 listener={listener} pointer={pointer} set={set} />
            <Limits listener={listener} pointer={pointer} set={set} />
            <ListenerAccess listener={listener} pointer={pointer} set={set} />
            <ListenerObservation listener={listener} pointer={pointer} set={set} />
          </>
        )
      }}
    </ObjectPage>
  )
}

function Now({ name }: { readonly name: string }) {
  const { t } = useTranslation()
  const format = useFormat()
  const live = useOverviewPart((overview) => overview.listeners.find((listener) => listener.name === name))
  return (
    <Panel title={t('listener.now')}>
      <dl className="h-facts">
        <div>
          <dt>{t('column.state')}</dt>
          <dd>
            {live === undefined ? <Status kind="off">{t('state.notApplied')}</Status>
            : live.problems.length === 0 ? <Status kind="ok">{t('listener.listening')}</Status>
            : <Status kind="bad">{live.problems.join(' · ')}</Status>}
          </dd>
        </div>
        <div><dt>{t('column.connections')}</dt><dd>{format.count(live?.connections ?? 0)}</dd></div>
        <div><dt>{t('column.requests')}</dt><dd><Rate value={live?.requestsPerSecond ?? 0} /></dd></div>
        <div><dt>{t('column.errors')}</dt><dd><Rate value={live?.errorsPerSecond ?? 0} /></dd></div>
        <div><dt>{t('column.in')}</dt><dd><Speed value={live?.bytesInPerSecond ?? 0} /></dd></div>
        <div><dt>{t('column.out')}</dt><dd><Speed value={live?.bytesOutPerSecond ?? 0} /></dd></div>
      </dl>
    </Panel>
  )
}

const noPool = ''

const isHttp = ({ protocol }: Listener): boolean => protocol === 'http' || protocol === 'https'
const hasRoutes = (listener: Listener): boolean => isHttp(listener) || listener.protocol === 'tls-passthrough'

function Place({ listener, pointer, set, document }: Part & { readonly document: ConfigurationDocument }) {
  const { t } = useTranslation()
  const onVip = listener.address === undefined
  const pools = document.pools.map((pool) => ({ value: pool.name, label: pool.name }))
  return (
    <Panel title={t('listener.place')}>
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="sm" verticalSpacing="sm">
        <ChoiceField
          pointer={onVip ? `${pointer}/vip` : `${pointer}/on`}
          label={t('listener.on')}
          hint={!onVip ? t('listener.ownAddressHint') : document.vips.length === 0 ? t('listener.vipFirst') : t('listener.vipHint')}
          value={onVip ? `vip ${listener.vip ?? ''}` : 'address'}
          choices={[
            ...document.vips.map((vip) => ({ value: `vip ${vip.name}`, label: t('listener.onVip', { name: vip.name, address: vip.address === '' ? '?' : vip.address }) })),
            { value: 'address', label: t('listener.ownAddress') },
          ]}
          onChange={(value) =>
            set('', (old) => {
              const { vip: _vip, address: _address, ...rest } = old
              return value === 'address' ? { ...rest, address: '' } : { ...rest, vip: value.slice('vip '.length) }
            })
          }
          testId="listener-on"
        />
        {!onVip && (
          <TextField mono pointer={`${pointer}/address`} label={t('column.address')} hint={t('listener.addressHint')} placeholder="0.0.0.0" value={listener.address ?? ''} onChange={(value) => set('address', (old) => ({ ...old, address: value.trim() }))} testId="listener-address" />
        )}
        <NumberField pointer={`${pointer}/port`} label={t('column.port')} hint={t('listener.portHint')} value={listener.port} onChange={(port) => set('port', (old) => ({ ...old, port }))} testId="listener-port" />
        <ChoiceField
          pointer={`${pointer}/protocol`}
          label={t('column.protocol')}
          hint={t(`protocol.${listener.protocol}Hint`)}
          value={listener.protocol}
          choices={(['http', 'https', 'tcp', 'tls-passthrough', 'udp'] as const).map((value) => ({ value, label: value.toUpperCase() }))}
          onChange={(value) => set('protocol', (old) => withoutForeignLayer4(withProtocol(old, value as Listener['protocol'])))}
        />
        <ChoiceField
          pointer={`${pointer}/pool`}
          label={hasRoutes(listener) ? t('listener.defaultPool') : t('word.pool')}
          hint={isHttp(listener) ? t('listener.defaultPoolHint') : hasRoutes(listener) ? t('listener.passthroughPoolHint') : t('listener.tcpPoolHint')}
          value={listener.pool ?? noPool}
          searchable
          choices={hasRoutes(listener) ? [{ value: noPool, label: t('listener.noPool') }, ...pools] : pools}
          onChange={(value) =>
            set('pool', (old) => {
              const { pool: _, ...rest } = old
              return value === noPool ? rest : { ...rest, pool: value }
            })
          }
          testId="listener-pool"
        />
      </SimpleGrid>
    </Panel>
  )
}

/** Fields of a route that stand in its row. */
const inRow = /\/routes\/\d+\/(name|hosts|paths|pool)(\/\d+)?$/

function Routes({ listener, pointer, set, document }: Part & { readonly document: ConfigurationDocument }) {
  const { t } = useTranslation()
  const { mayEdit, problems } = useEditing()
  const problemOf = useProblem()
  /** The route whose details are shown: its index, -1: none. A problem that the row cannot show opens them. */
  const [chosen, setOpen] = useState(-1)
  const hidden = listener.routes.findIndex((_, at) => problems.some(({ field }) => field.startsWith(`${pointer}/routes/${at}/`) && !inRow.test(field)))
  const open = chosen < 0 ? hidden : chosen
  const put = (field: string, routes: readonly Route[]) => set(field, (old) => ({ ...old, routes: [...routes] }))
  const change = (at: number, field: keyof Route, value: Route[keyof Route]) =>
    put(`routes/${at}/${field}`, listener.routes.map((route, index) => (index === at ? { ...route, [field]: value } : route)))
  const move = (at: number, by: number) => {
    const routes = [...listener.routes]
    const [moved] = routes.splice(at, 1)
    if (moved !== undefined) routes.splice(at + by, 0, moved)
    put('', routes)
    if (open === at) setOpen(at + by)
    else if (open === at + by) setOpen(at)
  }
  const remove = (at: number) => {
    put('', listener.routes.filter((_, index) => index !== at))
    if (open >= at) setOpen(open === at ? -1 : open - 1)
  }
  const opened = listener.routes[open]
  const rows = listener.routes.map((route, at) => ({ route, at }))
  const columns: Column<(typeof rows)[number]>[] = [
    { key: 'order', title: t('route.order'), width: 52, numeric: true, cell: ({ at }) => at + 1 },
    { key: 'name', title: t('column.name'), width: '16%', cell: ({ route, at }) => <TextField inTable pointer={`${pointer}/routes/${at}/name`} label={t('route.nameOf', { n: at + 1 })} value={route.name} onChange={(value) => change(at, 'name', value)} /> },
    { key: 'hosts', title: t('route.hosts'), cell: ({ route, at }) => <ListField inTable pointer={`${pointer}/routes/${at}/hosts`} label={t('route.hostsOf', { name: route.name })} placeholder={t('route.anyHost')} values={route.hosts} onChange={(value) => change(at, 'hosts', value)} /> },
    { key: 'paths', title: t('route.paths'), cell: ({ route, at }) => <ListField inTable pointer={`${pointer}/routes/${at}/paths`} label={t('route.pathsOf', { name: route.name })} placeholder={t('route.anyPath')} values={route.paths} onChange={(value) => change(at, 'paths', value)} /> },
    {
      key: 'pool',
      title: t('route.actionTitle'),
      width: '18%',
      cell: ({ route, at }) =>
        actionOf(route) === 'pool' ? (
          <ChoiceField inTable searchable pointer={`${pointer}/routes/${at}/pool`} label={t('route.poolOf', { name: route.name })} value={route.pool ?? ''} choices={document.pools.map((pool) => ({ value: pool.name, label: pool.name }))} onChange={(value) => change(at, 'pool', value)} />
        ) : (
          <Text fz="xs">{t(`route.${actionOf(route)}`)}</Text>
        ),
    },
    {
      key: 'tools',
      title: <span className="h-hidden">{t('route.tools')}</span>,
      width: 144,
      cell: ({ route, at }) => (
        <Group gap={2} wrap="nowrap" justify="flex-end">
          <Tooltip label={t('route.details', { name: route.name })}>
            <ActionIcon aria-label={t('route.details', { name: route.name })} aria-expanded={open === at} onClick={() => setOpen(open === at ? -1 : at)} data-testid="route-open"><IconAdjustments size={16} stroke={1.7} /></ActionIcon>
          </Tooltip>
          {mayEdit && (<>
            <Tooltip label={t('route.upOf', { name: route.name })}>
              <ActionIcon disabled={at === 0} aria-label={t('route.upOf', { name: route.name })} onClick={() => move(at, -1)}><IconArrowUp size={16} stroke={1.7} /></ActionIcon>
            </Tooltip>
            <Tooltip label={t('route.downOf', { name: route.name })}>
              <ActionIcon disabled={at === listener.routes.length - 1} aria-label={t('route.downOf', { name: route.name })} onClick={() => move(at, 1)}><IconArrowDown size={16} stroke={1.7} /></ActionIcon>
            </Tooltip>
            <Tooltip label={t('route.removeOf', { name: route.name })}>
              <ActionIcon aria-label={t('route.removeOf', { name: route.name })} onClick={() => remove(at)}><IconTrash size={16} stroke={1.7} /></ActionIcon>
            </Tooltip>
          </>)}
        </Group>
      ),
    },
  ]
  const add = (
    <RoleButton
      role="operator"
      variant="default"
      size="compact-sm"
      leftSection={<IconPlus size={14} aria-hidden />}
      blocked={document.pools.length === 0 ? t('route.poolFirst') : undefined}
      onClick={() => put('', [...listener.routes, newRoute(freeName(`route-${listener.routes.length + 1}`, listener.routes), listener.pool ?? document.pools[0]?.name ?? '')])}
      testId="add-route"
    >
      {t('route.add')}
    </RoleButton>
  )
  const fault = problemOf(`${pointer}/routes`)
  return (
    <Panel title={t('route.title')} note={t('route.note')} flush actions={listener.routes.length > 0 && add}>
      {fault !== undefined && <Text c="red" px="sm" py={6}>{fault}</Text>}
      {listener.routes.length === 0 ? (
        <EmptyState title={t('route.none')} next={listener.pool === undefined ? t('route.none404') : t('route.noneNext', { pool: listener.pool })}>{add}</EmptyState>
      ) : (
        <DataTable caption={t('route.title')} columns={columns} rows={rows} rowKey={({ at }) => String(at)} minWidth={860} testId="route-editor" />
      )}
      {opened !== undefined && (
        <div style={{ padding: '0 12px 12px' }}>
          <Text fw={600} my="sm">{t('route.details', { name: opened.name })}</Text>
          <RouteDetails
            key={open}
            route={opened}
            pointer={`${pointer}/routes/${open}`}
            document={document}
            onChange={(field, route) => put(`routes/${open}/${field}`, listener.routes.map((one, index) => (index === open ? route : one)))}
          />
        </div>
      )}
    </Panel>
  )
}

const defaults = newListener('')
const limits = ['requestHeadTimeout', 'clientKeepAlive', 'clientIdleTimeout', 'tunnelTimeout', 'maxConnections', 'maxHeadBytes', 'maxHeaders'] as const

function Limits({ listener, pointer, set }: Part) {
  const { t } = useTranslation()
  const http = isHttp(listener)
  const duration = (field: 'requestHeadTimeout' | 'clientKeepAlive' | 'clientIdleTimeout' | 'tunnelTimeout') => (
    <DurationField pointer={`${pointer}/${field}`} label={t(`listener.${field}`)} hint={t(`listener.${field}Hint`)} value={listener[field]} onChange={(value) => set(field, (old) => ({ ...old, [field]: value }))} />
  )
  const number = (field: 'maxConnections' | 'maxHeadBytes' | 'maxHeaders', unit?: string) => (
    <NumberField pointer={`${pointer}/${field}`} label={t(`listener.${field}`)} hint={t(`listener.${field}Hint`)} value={listener[field]} onChange={(value) => set(field, (old) => ({ ...old, [field]: value }))} {...(unit === undefined ? {} : { unit })} />
  )
  return (
    <FoldingPanel
      title={t('listener.limits')}
      note={t('listener.limitsNote')}
      testId="listener-limits"
      pointers={[...limits, 'forwardedHeaders'].map((field) => `${pointer}/${field}`)}
      holds={[
        ...limits.map((field) => listener[field] !== defaults[field] && t(`listener.${field}`)),
        listener.forwardedHeaders !== defaults.forwardedHeaders && t('listener.forwarded'),
      ]}
    >
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="sm" verticalSpacing="sm">
        {(http || listener.proxyProtocol === 'accept') && duration('requestHeadTimeout')}
        {http && duration('clientKeepAlive')}
        {http && duration('clientIdleTimeout')}
        {listener.protocol !== 'udp' && duration('tunnelTimeout')}
        {number('maxConnections')}
        {http && number('maxHeadBytes', t('unit.bytes'))}
        {http && number('maxHeaders')}
        {http && (
          <ChoiceField
            pointer={`${pointer}/forwardedHeaders`}
            label={t('listener.forwarded')}
            hint={t(`forwarded.${listener.forwardedHeaders}Hint`)}
            value={listener.forwardedHeaders}
            choices={(['replace', 'append'] as const).map((value) => ({ value, label: t(`forwarded.${value}`) }))}
            onChange={(value) => set('forwardedHeaders', (old) => ({ ...old, forwardedHeaders: value as Listener['forwardedHeaders'] }))}
          />
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}
