/** The cluster's nodes: their part in consensus, how they are, and how one joins or leaves. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ActionIcon, Alert, Button, Group, Modal, NativeSelect, Radio, SimpleGrid, Stack, Text, TextInput, Tooltip } from '@mantine/core'
import { IconCrown, IconExternalLink, IconPlus, IconTrash } from '@tabler/icons-react'
import type { ClusterOverview, JoinToken, NodeView } from '../../../node/api/types.ts'
import { call } from '../api/client.ts'
import { queries, useOverview, useOverviewPart } from '../api/queries.ts'
import { useMay } from '../api/session.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { Confirm } from '../display/Confirm.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { CodeLine, Instant, Since, Unit } from '../display/Values.tsx'
import { isAddress, isName } from '../draft/checks.ts'
import { logLag } from '../overview/attention.ts'
import { NodeState } from '../overview/health.tsx'
import { consoleOf } from '../shell/ConnectionBanner.tsx'

/** A few entries behind is what replication looks like at work. */
const worthNoticing = 100

export function Nodes() {
  const { t } = useTranslation()
  const status = useOverview()
  const [adding, setAdding] = useState(false)
  return (
    <>
      <PageHead title={t('nav.nodes')} note={t('node.note')}>
        <RoleButton role="administrator" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setAdding(true)} testId="new-token">
          {t('node.add')}
        </RoleButton>
      </PageHead>
      <Panel flush>
        {status.data !== undefined ? <List overview={status.data} />
        : status.error !== null ? <FailureNote error={status.error} retry={() => void status.refetch()} />
        : <Waiting />}
      </Panel>
      <AddNode opened={adding} close={() => setAdding(false)} />
    </>
  )
}

function List({ overview }: { readonly overview: ClusterOverview }) {
  const { t } = useTranslation()
  const format = useFormat()
  const mayRemove = useMay('administrator')
  const [removing, setRemoving] = useState<NodeView>()
  const memory = (bytes: number | undefined) => (bytes === undefined || bytes === 0 ? '–' : <Unit {...format.memory(bytes)} />)
  const columns: Column<NodeView>[] = [
    {
      key: 'id',
      title: t('word.node'),
      cell: (node) => (
        <>
          <span className="h-inline">
            <strong>{node.id}</strong>
            {node.self && <span className="h-tag">{t('node.self')}</span>}
          </span>
          <div className="h-mono h-dim">{node.address}</div>
        </>
      ),
    },
    {
      key: 'raft',
      title: t('node.raft'),
      cell: (node) => (
        <span className="h-inline">
          {node.leader ? <span className="h-nowrap"><IconCrown size={14} aria-hidden className="h-status-info" /> {t('node.leader')}</span> : node.voter ? t('node.follower') : t('node.learner')}
          {node.role === 'witness' && <span className="h-tag">{t('node.witness')}</span>}
        </span>
      ),
    },
    { key: 'state', title: t('column.state'), cell: (node) => <NodeState node={node} revision={overview.revision} /> },
    { key: 'heard', title: t('node.heard'), numeric: true, cell: (node) => (node.self ? '–' : node.lastHeardAgoMs === null ? t('node.never') : t('node.ago', { span: format.span(node.lastHeardAgoMs) })) },
    { key: 'revision', title: t('node.revision'), numeric: true, cell: (node) => (node.role === 'witness' ? '–' : (node.report?.revisionInForce ?? '–')) },
    {
      key: 'log',
      title: t('node.position'),
      numeric: true,
      cell: (node) => {
        const at = node.matchIndex ?? node.report?.appliedIndex
        const lag = logLag(overview, node.id)
        if (at === undefined) return '–'
        return (
          <>
            {format.count(at)}
            {lag !== null && <div className={lag > worthNoticing ? 'h-status-warn' : 'h-dim'}>{t('node.behindBy', { count: lag })}</div>}
          </>
        )
      },
    },
    {
      key: 'memory',
      title: <Tooltip label={t('node.memoryHint')}><span tabIndex={0}>{t('node.memory')}</span></Tooltip>,
      numeric: true,
      cell: (node) => (
        <>
          {memory(node.report?.heartResidentBytes)}
          {node.role === 'node' && <div>{memory(node.report?.residentBytes)}</div>}
        </>
      ),
    },
    {
      key: 'gap',
      title: <Tooltip label={t('node.gapHint')}><span tabIndex={0}>{t('node.gap')}</span></Tooltip>,
      numeric: true,
      cell: (node) => (node.report === null ? '–' : <Unit value={format.count(Math.round(node.report.heartLoopGapMs))} unit="ms" />),
    },
    { key: 'up', title: t('node.running'), numeric: true, cell: (node) => (node.report === null ? '–' : <Since at={node.report.startedEpochMs} />) },
    { key: 'version', title: t('node.version'), cell: (node) => node.report?.version ?? '–' },
    {
      key: 'tools',
      title: <span className="h-hidden">{t('column.actions')}</span>,
      cell: (node) => (
        <Group gap={2} wrap="nowrap" justify="flex-end">
          {!node.self && node.apiAddress !== '' && node.role === 'node' && (
            <Tooltip label={t('node.console', { name: node.id })}>
              <ActionIcon component="a" href={consoleOf(node.apiAddress)} aria-label={t('node.console', { name: node.id })}><IconExternalLink size={16} stroke={1.7} /></ActionIcon>
            </Tooltip>
          )}
          {mayRemove && (
            <Tooltip label={t('node.removeOf', { name: node.id })}>
              <ActionIcon aria-label={t('node.removeOf', { name: node.id })} onClick={() => setRemoving(node)}><IconTrash size={16} stroke={1.7} /></ActionIcon>
            </Tooltip>
          )}
        </Group>
      ),
    },
  ]
  const voters = overview.nodes.filter((node) => node.voter).length
  const after = removing?.voter === true ? voters - 1 : voters
  return (
    <>
      <DataTable
        caption={t('nav.nodes')}
        columns={columns}
        rows={overview.nodes}
        rowKey={(node) => node.id}
        minWidth={980}
        testId="node-list"
        below={(node) => (node.report !== null && node.report.degraded !== '' ? <Status kind="warn">{node.report.degraded}</Status> : null)}
      />
      <Confirm
        opened={removing !== undefined}
        title={t('node.removeTitle', { name: removing?.id ?? '' })}
        action={t('node.removeAction')}
        typed={removing?.id ?? ''}
        dangerous
        run={async () => {
          await call('DELETE', `/nodes/${encodeURIComponent(removing?.id ?? '')}`)
          void queries.invalidateQueries({ queryKey: ['status'] })
        }}
        close={() => setRemoving(undefined)}
      >
        <Text>{t('node.removeText')}</Text>
        <Text>{t('node.removeQuorum', { after, majority: Math.floor(after / 2) + 1, spare: Math.max(0, Math.ceil(after / 2) - 1) })}</Text>
        {removing?.leader === true && <Status kind="warn">{t('node.removeLeader')}</Status>}
      </Confirm>
    </>
  )
}

const lifetimes = [15, 60, 240, 1440]
/** Where the packages put it. */
const dataDirectory = '/var/lib/haechi'

function AddNode({ opened, close }: { readonly opened: boolean; readonly close: () => void }) {
  const { t } = useTranslation()
  return (
    <Modal opened={opened} onClose={close} title={t('node.add')} size={680} closeButtonProps={{ 'aria-label': t('action.close') }}>
      {opened && <AddNodeBody close={close} />}
    </Modal>
  )
}

/** Port of `host:port`. */
function portOf(address: string | undefined, fallback: string): string {
  return /:(\d+)$/.exec(address ?? '')?.[1] ?? fallback
}

function AddNodeBody({ close }: { readonly close: () => void }) {
  const { t } = useTranslation()
  const nodes = useOverviewPart((overview) => overview.nodes) ?? []
  const [role, setRole] = useState<'node' | 'witness'>('node')
  const [name, setName] = useState('')
  const [address, setAddress] = useState('')
  const [ttlMinutes, setTtlMinutes] = useState(60)
  const [token, setToken] = useState<JoinToken>()
  const [failure, setFailure] = useState<unknown>()
  const [busy, setBusy] = useState(false)

  const taken = nodes.some((node) => node.id === name)
  const nameFault = name === '' ? undefined : !isName(name) ? t('check.name') : taken ? t('check.duplicateName', { value: name }) : undefined
  const addressFault = address === '' || isAddress(address) ? undefined : t('check.address')
  const ready = name !== '' && address !== '' && nameFault === undefined && addressFault === undefined
  // The new machine listens on the ports that this node uses.
  const self = nodes.find((node) => node.self)
  const at = (port: string) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)
  const create = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      setToken(await call<JoinToken>('POST', '/nodes/tokens', { body: { role, ttlMinutes } }))
    } catch (error) {
      setFailure(error)
    } finally {
      setBusy(false)
    }
  }
  if (token !== undefined) {
    const api = role === 'node' ? ` --api ${at(portOf(self?.apiAddress, '8443'))}` : ''
    const join = `haechi node join ${token.token} --dir ${dataDirectory} --name ${name} --address ${at(portOf(self?.address, '7400'))}${api} --role ${role}`
    return (
      <Stack gap="sm" data-testid="join-token">
        <Alert color="yellow" variant="light" className="h-alert-warn" title={t('token.once')}>
          {t('token.onceText')} <Instant at={token.expiresEpochMs} />
        </Alert>
        <Text fw={600}>{t('token.step')}</Text>
        <CodeLine text={join} label={t('token.copyCommand')} />
        <Text fw={600}>{t('token.start')}</Text>
        <CodeLine text={`haechi ${role === 'node' ? 'start' : 'witness'} --dir ${dataDirectory}`} label={t('token.copyStart')} />
        <Text c="dimmed">{t('token.after')}</Text>
        <Group justify="flex-end">
          <Button onClick={close}>{t('action.close')}</Button>
        </Group>
      </Stack>
    )
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (ready) void create()
      }}
    >
      <Stack gap="sm">
        <Text c="dimmed">{t('token.note')}</Text>
        <Radio.Group label={t('token.role')} value={role} onChange={(value) => setRole(value as 'node' | 'witness')}>
          <Stack gap={6} mt={6}>
            <Radio value="node" label={t('word.node')} description={t('token.nodeHint')} />
            <Radio value="witness" label={t('node.witness')} description={t('token.witnessHint')} />
          </Stack>
        </Radio.Group>
        <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
          <TextInput label={t('token.name')} description={t('field.nameHint')} error={nameFault} value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="off" spellCheck={false} data-autofocus data-testid="node-name" />
          <TextInput label={t('token.address')} description={t('token.addressHint')} error={addressFault} value={address} onChange={(event) => setAddress(event.currentTarget.value.trim())} autoComplete="off" spellCheck={false} data-testid="node-address" />
        </SimpleGrid>
        <NativeSelect
          label={t('token.lifetime')}
          value={String(ttlMinutes)}
          onChange={(event) => setTtlMinutes(Number(event.currentTarget.value))}
          data={lifetimes.map((minutes) => ({ value: String(minutes), label: minutes < 60 ? t('token.minutes', { count: minutes }) : t('token.hours', { count: minutes / 60 }) }))}
        />
        {failure !== undefined && <FailureNote error={failure} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>{t('action.cancel')}</Button>
          <Button type="submit" disabled={!ready} loading={busy} data-testid="create-token">{t('token.create')}</Button>
        </Group>
      </Stack>
    </form>
  )
}
