/** VIPs: which there are and who holds them now; and the editor of one. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Anchor, SimpleGrid } from '@mantine/core'
import { IconPlus } from '@tabler/icons-react'
import { Link, useLocation } from 'wouter'
import type { Failover, Vip } from '../../../node/api/types.ts'
import { useOverviewPart } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { useFormat } from '../display/format.ts'
import { EmptyState, PageHead, Panel } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Since, Unit } from '../display/Values.tsx'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, DurationField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { NameDialog } from '../draft/NameDialog.tsx'
import { DraftMark, ObjectPage, ReadOnlyNote, WithDocument } from '../draft/ObjectPage.tsx'
import { changeFailover, changeVip, freeName, newFailover, newVip, putVip, removeVip, renameVip, usersOfVip } from '../draft/operations.ts'

function Holder({ name }: { readonly name: string }) {
  const { t } = useTranslation()
  const live = useOverviewPart((overview) => overview.vips.find((vip) => vip.name === name))
  if (live === undefined) return <Status kind="off">{t('state.notApplied')}</Status>
  if (live.error !== '') return <Status kind="bad">{live.error}</Status>
  return live.holder === '' ? <Status kind="bad">{t('vip.nobody')}</Status> : <Status kind="ok">{live.holder}</Status>
}

export function Vips() {
  const { t } = useTranslation()
  const format = useFormat()
  const { edit } = useEditing()
  const [, navigate] = useLocation()
  const [creating, setCreating] = useState(false)
  const live = new Map((useOverviewPart((overview) => overview.vips) ?? []).map((vip) => [vip.name, vip]))
  const create = (
    <RoleButton role="operator" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)} testId="new-vip">
      {t('vip.create')}
    </RoleButton>
  )
  return (
    <WithDocument title={t('nav.vips')}>
      {(document) => {
        const columns: Column<Vip>[] = [
          {
            key: 'name',
            title: t('word.vip'),
            cell: (vip) => (
              <span className="h-inline">
                <Anchor component={Link} href={`/vips/${vip.name}`} fw={600}>{vip.name}</Anchor>
                <DraftMark path={`vips/${vip.name}`} />
              </span>
            ),
          },
          { key: 'address', title: t('column.address'), cell: (vip) => <span className="h-mono">{vip.address === '' ? '–' : `${vip.address}/${vip.prefixLength ?? (vip.address.includes(':') ? 128 : 32)}`}</span> },
          { key: 'mode', title: t('vip.mode'), cell: (vip) => t(`vipMode.${vip.mode}`) },
          { key: 'interface', title: t('vip.interface'), cell: (vip) => (vip.interface === '' ? <span className="h-dim">{t('vip.interfaceAuto')}</span> : <span className="h-mono">{vip.interface}</span>) },
          { key: 'holder', title: t('vip.holder'), cell: (vip) => <Holder name={vip.name} /> },
          { key: 'since', title: t('vip.since'), numeric: true, cell: (vip) => ((live.get(vip.name)?.holder ?? '') === '' ? '–' : <Since at={live.get(vip.name)?.sinceEpochMs ?? 0} />) },
          { key: 'lease', title: t('vip.lease'), numeric: true, cell: (vip) => ((live.get(vip.name)?.holder ?? '') === '' ? '–' : <Unit value={format.count(live.get(vip.name)?.leaseRemainingMs ?? 0)} unit="ms" />) },
          {
            key: 'usedBy',
            title: t('nav.listeners'),
            cell: (vip) => {
              const users = usersOfVip(document, vip.name)
              return users.length === 0 ? <span className="h-dim">{t('vip.unused')}</span> : users.map((name, at) => (
                <span key={name}>{at > 0 && ', '}<Anchor component={Link} href={`/listeners/${name}`}>{name}</Anchor></span>
              ))
            },
          },
        ]
        return (
          <>
            <PageHead title={t('nav.vips')} note={t('vip.note')}>{create}</PageHead>
            <ReadOnlyNote />
            <Panel flush>
              {document.vips.length === 0 ? (
                <EmptyState title={t('vip.none')} next={t('vip.noneNext')}>{create}</EmptyState>
              ) : (
                <DataTable caption={t('nav.vips')} columns={columns} rows={document.vips} rowKey={(vip) => vip.name} searchText={(vip) => `${vip.name} ${vip.address}`} minWidth={820} testId="vip-list" />
              )}
            </Panel>
            <FailoverCard failover={document.failover ?? newFailover()} />
            <NameDialog
              opened={creating}
              title={t('vip.create')}
              action={t('action.create')}
              note={t('vip.createNote')}
              initial={document.vips.length === 0 ? 'main' : freeName('vip', document.vips)}
              taken={document.vips}
              close={() => setCreating(false)}
              done={(name) => {
                edit('', putVip(newVip(name)))
                navigate(`/vips/${name}`)
              }}
            />
          </>
        )
      }}
    </WithDocument>
  )
}

/** Which node should hold the VIPs: for all of them together, since the leader holds them. */
function FailoverCard({ failover }: { readonly failover: Failover }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const nodes = (useOverviewPart((overview) => overview.nodes) ?? []).filter(({ role }) => role === 'node').map(({ id }) => id)
  const preferred = failover.preferredNode ?? ''
  const set = <K extends keyof Failover>(field: K, value: Failover[K]) => edit(`/failover/${field}`, changeFailover({ [field]: value }))
  const choices = [
    { value: '', label: t('failover.nobody') },
    ...nodes.map((id) => ({ value: id, label: id })),
    ...(preferred === '' || nodes.includes(preferred) ? [] : [{ value: preferred, label: t('failover.noSuchNode', { name: preferred }) }]),
  ]
  return (
    <Panel title={t('failover.title')} note={<>{t('failover.note')} <DraftMark path="failover" /></>} testId="failover">
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="sm" verticalSpacing="sm">
        <ChoiceField pointer="/failover/preferredNode" label={t('failover.preferred')} hint={t('failover.preferredHint')} value={preferred} choices={choices} onChange={(value) => set('preferredNode', value)} testId="failover-preferred" />
        <SwitchField pointer="/failover/preempt" label={t('failover.preempt')} hint={t('failover.preemptHint')} value={failover.preempt} disabled={preferred === ''} onChange={(value) => set('preempt', value)} testId="failover-preempt" />
        {preferred !== '' && failover.preempt && (
          <DurationField pointer="/failover/preemptDelay" label={t('failover.delay')} hint={t('failover.delayHint')} value={failover.preemptDelay} onChange={(value) => set('preemptDelay', value.trim())} testId="failover-delay" />
        )}
      </SimpleGrid>
    </Panel>
  )
}

export function VipPage({ name }: { readonly name: string }) {
  const { t } = useTranslation()
  const format = useFormat()
  const { document, edit } = useEditing()
  const live = useOverviewPart((overview) => overview.vips.find((vip) => vip.name === name))
  const usedBy = document === undefined ? [] : usersOfVip(document, name)
  return (
    <ObjectPage part="vips" name={name} note={usedBy.length === 0 ? t('vip.notUsed') : t('vip.usedByNames', { names: usedBy.join(', ') })} usedBy={usedBy} rename={(next) => renameVip(name, next)} remove={removeVip(name)}>
      {(index) => {
        const vip = document?.vips[index]
        if (vip === undefined) return null
        const pointer = `/vips/${index}`
        const set = (field: string, change: (vip: Vip) => Vip) => edit(`${pointer}/${field}`, changeVip(name, change))
        return (
          <>
            <Panel title={t('vip.now')}>
              <dl className="h-facts">
                <div><dt>{t('vip.holder')}</dt><dd><Holder name={name} /></dd></div>
                <div><dt>{t('vip.since')}</dt><dd>{live === undefined || live.holder === '' ? '–' : <Since at={live.sinceEpochMs} />}</dd></div>
                <div><dt>{t('vip.lease')}</dt><dd>{live === undefined || live.holder === '' ? '–' : <Unit value={format.count(live.leaseRemainingMs)} unit="ms" />}</dd></div>
              </dl>
            </Panel>
            <Panel title={t('object.settings')}>
              <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="sm" verticalSpacing="sm">
                <TextField mono pointer={`${pointer}/address`} label={t('vip.address')} hint={t('vip.addressHint')} placeholder="10.0.0.100" value={vip.address} onChange={(value) => set('address', (old) => ({ ...old, address: value.trim() }))} testId="vip-address" />
                <NumberField
                  pointer={`${pointer}/prefixLength`}
                  label={t('vip.prefix')}
                  hint={t('vip.prefixHint')}
                  value={vip.prefixLength as number}
                  onChange={(value) =>
                    set('prefixLength', (old) => {
                      const { prefixLength: _, ...rest } = old
                      return (value as number | null) === null ? rest : { ...rest, prefixLength: value }
                    })
                  }
                />
                <TextField mono pointer={`${pointer}/interface`} label={t('vip.interface')} hint={t('vip.interfaceHint')} placeholder={t('vip.interfaceAuto')} value={vip.interface} onChange={(value) => set('interface', (old) => ({ ...old, interface: value.trim() }))} />
                <ChoiceField pointer={`${pointer}/mode`} label={t('vip.mode')} hint={t('vip.modeHint')} value={vip.mode} choices={[{ value: 'active-passive', label: t('vipMode.active-passive') }]} onChange={() => undefined} />
              </SimpleGrid>
            </Panel>
          </>
        )
      }}
    </ObjectPage>
  )
}
