/** The cluster at a glance, live: what needs attention first, then traffic, then every part of the line. */
import { Suspense, lazy, useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Anchor, Button, Text, UnstyledButton } from '@mantine/core'
import { IconArrowsExchange, IconChevronDown, IconChevronRight, IconCrown, IconPlus } from '@tabler/icons-react'
import { Link, useLocation, useSearch } from 'wouter'
import type { ClusterOverview, ListenerView, MemberView, NodeView, PoolView, VipView } from '../../../node/api/types.ts'
import { useOverview } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status, StatusIcon } from '../display/Status.tsx'
import { Rate, Since, Speed, Unit } from '../display/Values.tsx'
import { attentionOf, logLag } from '../overview/attention.ts'
import { HandOver, targetsOf } from '../overview/HandOver.tsx'
import { Health, NodeState, PoolState } from '../overview/health.tsx'
import type { Line } from '../overview/TrafficPlot.tsx'

const TrafficPlot = lazy(() => import('../overview/TrafficPlot.tsx'))

export function Overview() {
  const { t } = useTranslation()
  const status = useOverview()
  if (status.data === undefined) {
    return (
      <>
        <PageHead title={t('nav.overview')} />
        <Panel>{status.error === null ? <Waiting /> : <FailureNote error={status.error} retry={() => void status.refetch()} />}</Panel>
      </>
    )
  }
  return <Loaded overview={status.data} />
}

function Loaded({ overview }: { readonly overview: ClusterOverview }) {
  const { t } = useTranslation()
  const search = useSearch()
  const [, navigate] = useLocation()
  const handingOver = search === 'hand-over'
  return (
    <>
      <PageHead title={t('nav.overview')} note={t('overview.cluster', { id: overview.clusterId })} />
      <Strip overview={overview} />
      <AttentionList overview={overview} />
      <Traffic overview={overview} />
      <div className="h-columns">
        <Vips overview={overview} handOver={() => navigate('/?hand-over')} />
        <Nodes overview={overview} />
      </div>
      <Listeners listeners={overview.listeners} hasPools={overview.pools.length > 0} />
      <Pools pools={overview.pools} />
      <HandOver overview={overview} opened={handingOver} close={() => navigate('/', { replace: true })} />
    </>
  )
}

function Strip({ overview }: { readonly overview: ClusterOverview }) {
  const { t } = useTranslation()
  const format = useFormat()
  const attention = attentionOf(overview)
  const serving = overview.nodes.filter((node) => node.role === 'node')
  const inForce = serving.filter((node) => (node.report?.revisionInForce ?? -1) >= overview.revision).length
  const reachable = overview.nodes.filter((node) => node.reachable || node.self).length
  const held = overview.vips.filter((vip) => vip.holder !== '').length
  const last = overview.traffic.at(-1)
  const state = !overview.quorum ? 'noQuorum' : attention.some((item) => item.severity === 'bad') ? 'failing' : attention.length > 0 ? 'degraded' : 'healthy'
  const kind = state === 'healthy' ? 'ok' : state === 'degraded' ? 'warn' : 'bad'
  return (
    <dl className="h-strip" data-testid="cluster-state" data-state={state}>
      <div className="h-strip-lead">
        <dt>{t('overview.state')}</dt>
        <dd><Status kind={kind}>{t(`overview.${state}`)}</Status></dd>
        <dd className="h-strip-note">{t('overview.reachable', { reachable, all: overview.nodes.length })}</dd>
      </div>
      <div>
        <dt>{t('overview.leader')}</dt>
        <dd>{overview.leader === '' ? <Status kind="bad">{t('overview.noLeader')}</Status> : overview.leader}</dd>
        <dd className="h-strip-note">{t('overview.term', { term: format.count(overview.term) })}</dd>
      </div>
      <div>
        <dt>{t('overview.revision')}</dt>
        <dd><Anchor component={Link} href={`/revisions/${overview.revision}`} inherit>{overview.revision}</Anchor></dd>
        <dd className="h-strip-note">{t('overview.inForce', { count: inForce, all: serving.length })}</dd>
      </div>
      <div>
        <dt>{t('overview.vips')}</dt>
        <dd>{held} / {overview.vips.length}</dd>
        <dd className="h-strip-note">{t('overview.vipsHeld')}</dd>
      </div>
      <div>
        <dt>{t('overview.requests')}</dt>
        <dd><Rate value={last?.requestsPerSecond ?? 0} /></dd>
        <dd className="h-strip-note">{t('overview.errors', { rate: format.rate(last?.errorsPerSecond ?? 0) })}</dd>
      </div>
      <div>
        <dt>{t('overview.throughput')}</dt>
        <dd><Speed value={last?.bytesOutPerSecond ?? 0} /></dd>
        <dd className="h-strip-note">{t('overview.in')} <Speed value={last?.bytesInPerSecond ?? 0} /></dd>
      </div>
      <div>
        <dt>{t('overview.connections')}</dt>
        <dd>{format.count(last?.connections ?? 0)}</dd>
        <dd className="h-strip-note">{t('overview.open')}</dd>
      </div>
    </dl>
  )
}

const attentionShown = 6

function AttentionList({ overview }: { readonly overview: ClusterOverview }) {
  const { t } = useTranslation()
  const format = useFormat()
  const [all, setAll] = useState(false)
  const found = attentionOf(overview)
  if (found.length === 0) return null
  return (
    <Panel title={t('attention.title')} note={t('attention.count', { count: found.length })} flush className="h-attention" testId="attention">
      <ul>
        {found.slice(0, all ? undefined : attentionShown).map((item) => {
          const { ms } = item.values
          const values = { ...item.values, ago: typeof ms !== 'number' ? '' : ms < 0 ? t('attention.never') : format.span(ms) }
          return (
            <li key={`${item.code} ${Object.values(item.values).join()}`}>
              <StatusIcon kind={item.severity} size={16} />
              <div>
                <strong>{t(`attention.${item.code}`, values)}</strong> <span className="h-dim">{t(`attention.${item.code}Next`, values)}</span>
              </div>
              {item.href !== '' && (
                <Anchor component={Link} href={item.href} size="sm">
                  {t('attention.open')}
                </Anchor>
              )}
            </li>
          )
        })}
      </ul>
      {found.length > attentionShown && (
        <Button variant="subtle" size="compact-xs" m={6} onClick={() => setAll(!all)}>
          {all ? t('attention.fewer') : t('attention.more', { count: found.length - attentionShown })}
        </Button>
      )}
    </Panel>
  )
}

function Traffic({ overview }: { readonly overview: ClusterOverview }) {
  const { t } = useTranslation()
  const format = useFormat()
  const lines = useMemo(() => {
    const requests: Line[] = [{ label: t('traffic.requests'), value: (p) => p.requestsPerSecond, color: '--h-plot-1' }]
    const errors: Line[] = [{ label: t('traffic.errors'), value: (p) => p.errorsPerSecond, color: '--h-plot-2' }]
    const bytes: Line[] = [
      { label: t('traffic.out'), value: (p) => p.bytesOutPerSecond, color: '--h-plot-3' },
      { label: t('traffic.in'), value: (p) => p.bytesInPerSecond, color: '--h-plot-4' },
    ]
    return { requests, errors, bytes }
  }, [t])
  const rate = (value: number) => ({ value: format.rate(value), unit: '/s' })
  const shared = { points: overview.traffic, nowEpochMs: overview.atEpochMs }
  return (
    <Panel title={t('traffic.title')} note={t('traffic.note')} className="h-traffic">
      <Suspense fallback={<Waiting lines={6} />}>
        <div className="h-plots" data-testid="traffic">
          <TrafficPlot title={t('traffic.requests')} lines={lines.requests} format={rate} leastTop={10} {...shared} />
          <TrafficPlot title={t('traffic.errors')} lines={lines.errors} format={rate} leastTop={1} {...shared} />
          <TrafficPlot title={t('traffic.bytes')} lines={lines.bytes} format={format.speed} leastTop={1000} {...shared} />
        </div>
      </Suspense>
    </Panel>
  )
}

function Vips({ overview, handOver }: { readonly overview: ClusterOverview; readonly handOver: () => void }) {
  const { t } = useTranslation()
  const format = useFormat()
  const columns: Column<VipView>[] = [
    { key: 'name', title: t('word.vip'), cell: (vip) => <Anchor component={Link} href={`/vips/${vip.name}`}>{vip.name}</Anchor> },
    { key: 'address', title: t('column.address'), cell: (vip) => <span className="h-mono">{vip.address}</span> },
    {
      key: 'holder',
      title: t('vip.holder'),
      cell: (vip) =>
        vip.error !== '' ? <Status kind="bad">{vip.error}</Status>
        : vip.holder === '' ? <Status kind="bad">{t('vip.nobody')}</Status>
        : <Status kind="ok">{vip.holder}</Status>,
    },
    { key: 'since', title: t('vip.since'), numeric: true, wide: true, cell: (vip) => (vip.holder === '' ? '–' : <Since at={vip.sinceEpochMs} />) },
    { key: 'lease', title: t('vip.lease'), numeric: true, wide: true, cell: (vip) => (vip.holder === '' ? '–' : <Unit value={format.count(vip.leaseRemainingMs)} unit="ms" />) },
  ]
  const blocked = overview.vips.length === 0 ? t('handOver.noVip') : !overview.quorum ? t('handOver.noQuorum') : targetsOf(overview).length === 0 ? t('handOver.noTarget') : undefined
  return (
    <Panel
      title={t('nav.vips')}
      flush
      testId="vips"
      actions={
        <RoleButton role="operator" variant="default" size="compact-sm" leftSection={<IconArrowsExchange size={15} aria-hidden />} blocked={blocked} onClick={handOver} testId="hand-over">
          {t('handOver.open')}
        </RoleButton>
      }
    >
      {overview.vips.length === 0 ? (
        <EmptyState title={t('vip.none')} next={t('vip.noneNext')}>
          <Button component={Link} href="/vips" variant="default">{t('vip.goTo')}</Button>
        </EmptyState>
      ) : (
        <DataTable caption={t('nav.vips')} columns={columns} rows={overview.vips} rowKey={(vip) => vip.name} searchText={(vip) => `${vip.name} ${vip.address} ${vip.holder}`} pageSize={10} />
      )}
    </Panel>
  )
}

function Nodes({ overview }: { readonly overview: ClusterOverview }) {
  const { t } = useTranslation()
  const format = useFormat()
  const columns: Column<NodeView>[] = [
    {
      key: 'id',
      title: t('word.node'),
      cell: (node) => (
        <span className="h-inline">
          <Anchor component={Link} href="/nodes">{node.id}</Anchor>
          {node.leader && (
            <span className="h-tag" title={t('node.leaderHint')}>
              <IconCrown size={12} aria-hidden /> {t('node.leader')}
            </span>
          )}
          {node.role === 'witness' && <span className="h-tag">{t('node.witness')}</span>}
          {node.self && <span className="h-tag">{t('node.self')}</span>}
        </span>
      ),
    },
    { key: 'state', title: t('column.state'), cell: (node) => <NodeState node={node} revision={overview.revision} /> },
    { key: 'revision', title: t('node.revision'), numeric: true, cell: (node) => (node.role === 'witness' ? '–' : (node.report?.revisionInForce ?? '–')) },
    {
      key: 'lag',
      title: t('node.lag'),
      numeric: true,
      wide: true,
      cell: (node) => {
        const lag = logLag(overview, node.id)
        return lag === null ? '–' : <Unit value={format.count(lag)} unit={t('unit.entries', { count: lag })} />
      },
    },
  ]
  return (
    <Panel title={t('nav.nodes')} flush testId="nodes">
      <DataTable
        caption={t('nav.nodes')}
        columns={columns}
        rows={overview.nodes}
        rowKey={(node) => node.id}
        below={(node) => (node.report !== null && node.report.degraded !== '' ? <Text size="xs" c="dimmed">{node.report.degraded}</Text> : null)}
      />
    </Panel>
  )
}

function Listeners({ listeners, hasPools }: { readonly listeners: readonly ListenerView[]; readonly hasPools: boolean }) {
  const { t } = useTranslation()
  const format = useFormat()
  const columns: Column<ListenerView>[] = [
    { key: 'name', title: t('word.listener'), cell: (listener) => <Anchor component={Link} href={`/listeners/${listener.name}`}>{listener.name}</Anchor> },
    { key: 'place', title: t('column.address'), wide: true, cell: (listener) => <span className="h-mono">{place(listener.address, listener.port)}{listener.portEnd === undefined ? '' : `-${listener.portEnd}`}</span> },
    { key: 'protocol', title: t('column.protocol'), cell: (listener) => listener.protocol.toUpperCase(), wide: true },
    {
      key: 'state',
      title: t('column.state'),
      cell: (listener) => (listener.problems.length === 0 ? <Status kind="ok">{t('listener.listening')}</Status> : <Status kind="bad">{listener.problems.join(' · ')}</Status>),
    },
    { key: 'connections', title: t('column.connections'), numeric: true, wide: true, cell: (listener) => format.count(listener.connections) },
    { key: 'requests', title: t('column.requests'), numeric: true, cell: (listener) => <Rate value={listener.requestsPerSecond} /> },
    { key: 'errors', title: t('column.errors'), numeric: true, cell: (listener) => <span className={listener.errorsPerSecond >= 0.05 ? 'h-status-bad' : ''}><Rate value={listener.errorsPerSecond} /></span> },
    { key: 'in', title: t('column.in'), numeric: true, wide: true, cell: (listener) => <Speed value={listener.bytesInPerSecond} /> },
    { key: 'out', title: t('column.out'), numeric: true, wide: true, cell: (listener) => <Speed value={listener.bytesOutPerSecond} /> },
  ]
  return (
    <Panel title={t('nav.listeners')} flush testId="listeners">
      {listeners.length === 0 ? (
        <EmptyState title={t('listener.none')} next={hasPools ? t('listener.noneNext') : t('listener.nonePoolFirst')}>
          <Button component={Link} href={hasPools ? '/listeners' : '/pools'} variant={hasPools ? 'filled' : 'default'}>{hasPools ? t('listener.goTo') : t('pool.goTo')}</Button>
        </EmptyState>
      ) : (
        <DataTable
          caption={t('nav.listeners')}
          columns={columns}
          rows={listeners}
          rowKey={(listener) => listener.name}
          searchText={(listener) => `${listener.name} ${listener.address} ${listener.port} ${listener.protocol}`}
          pageSize={10}
        />
      )}
    </Panel>
  )
}

/** `address:port`, with brackets around IPv6. */
export function place(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Pools that are opened by themselves: the ones with something wrong, and all when there are few. */
const openedByItself = 4
const membersShown = 50

function Pools({ pools }: { readonly pools: readonly PoolView[] }) {
  const { t } = useTranslation()
  const format = useFormat()
  const [toggled, setToggled] = useState<ReadonlyMap<string, boolean>>(new Map())
  const opened = (pool: PoolView) => toggled.get(pool.name) ?? (pool.members.length > 0 && (pools.length <= openedByItself || pool.members.some((member) => member.health === 'down')))
  const columns: Column<PoolView>[] = [
    {
      key: 'name',
      title: t('word.pool'),
      cell: (pool) => (
        <span className="h-inline">
          <UnstyledButton
            aria-expanded={opened(pool)}
            aria-label={t('pool.members', { name: pool.name })}
            className="h-toggle"
            onClick={() => setToggled(new Map(toggled).set(pool.name, !opened(pool)))}
          >
            {opened(pool) ? <IconChevronDown size={15} /> : <IconChevronRight size={15} />}
          </UnstyledButton>
          <Anchor component={Link} href={`/pools/${pool.name}`}>{pool.name}</Anchor>
        </span>
      ),
    },
    { key: 'state', title: t('pool.health'), cell: (pool) => <PoolState up={pool.up} members={pool.members.length} /> },
    { key: 'balance', title: t('pool.balance'), cell: (pool) => t(`balance.${pool.balance as 'round-robin'}`, { defaultValue: pool.balance }), wide: true },
    { key: 'active', title: t('column.active'), numeric: true, wide: true, cell: (pool) => format.count(pool.active) },
    { key: 'requests', title: t('column.requests'), numeric: true, cell: (pool) => <Rate value={pool.requestsPerSecond} /> },
  ]
  return (
    <Panel title={t('overview.poolsAndMembers')} flush testId="pools">
      {pools.length === 0 ? (
        <EmptyState title={t('pool.none')} next={t('pool.noneNext')}>
          <Button component={Link} href="/pools" leftSection={<IconPlus size={15} />}>{t('pool.goTo')}</Button>
        </EmptyState>
      ) : (
        <DataTable
          caption={t('overview.poolsAndMembers')}
          columns={columns}
          rows={pools}
          rowKey={(pool) => pool.name}
          searchText={(pool) => `${pool.name} ${pool.members.map((member) => `${member.name} ${member.address}`).join(' ')}`}
          pageSize={20}
          below={(pool) => opened(pool) && <Members pool={pool} />}
        />
      )}
    </Panel>
  )
}

function Members({ pool }: { readonly pool: PoolView }) {
  const { t } = useTranslation()
  const format = useFormat()
  const columns: Column<MemberView>[] = [
    { key: 'name', title: t('word.member'), cell: (member) => member.name, width: '16%' },
    { key: 'place', title: t('column.address'), wide: true, cell: (member) => <span className="h-mono">{place(member.address, member.port)}</span>, width: '18%' },
    { key: 'health', title: t('pool.health'), cell: (member) => <Health health={member.health} />, width: '11%' },
    { key: 'since', title: t('member.since'), numeric: true, wide: true, cell: (member) => <Since at={member.healthSinceEpochMs} />, width: '11%' },
    { key: 'probe', title: t('member.lastProbe'), cell: (member) => <span className="h-dim">{member.lastProbe === '' ? '–' : member.lastProbe}</span>, wide: true },
    { key: 'weight', title: t('member.weight'), numeric: true, cell: (member) => member.weight, width: '7%', wide: true },
    { key: 'active', title: t('column.active'), numeric: true, wide: true, cell: (member) => format.count(member.active), width: '7%' },
    { key: 'requests', title: t('column.requests'), numeric: true, cell: (member) => <Rate value={member.requestsPerSecond} />, width: '9%' },
    { key: 'errors', title: t('column.errors'), numeric: true, cell: (member) => <span className={member.errorsPerSecond >= 0.05 ? 'h-status-bad' : ''}><Rate value={member.errorsPerSecond} /></span>, width: '9%' },
  ]
  return <DataTable caption={t('pool.members', { name: pool.name })} columns={columns} rows={pool.members} rowKey={(member) => member.name} pageSize={membersShown} testId={`members-${pool.name}`} />
}
