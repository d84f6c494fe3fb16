/** Planned switchover: which node takes over, a confirmation, and then what really happens, from the live overview. */
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Group, Modal, Radio, Stack, Text } from '@mantine/core'
import type { ClusterOverview } from '../../../node/api/types.ts'
import { call } from '../api/client.ts'
import { FailureNote } from '../display/Panel.tsx'
import { Status, type StatusKind } from '../display/Status.tsx'
import { useFormat } from '../display/format.ts'

interface Run {
  readonly target: string
  readonly from: ReadonlyMap<string, string>
  readonly startedEpochMs: number
}

/** After this long without the VIPs having moved, it is said that something is wrong, milliseconds. */
const patienceMs = 15_000

export function HandOver({ overview, opened, close }: { readonly overview: ClusterOverview; readonly opened: boolean; readonly close: () => void }) {
  const { t } = useTranslation()
  return (
    <Modal opened={opened} onClose={close} title={t('handOver.title')} size={560} closeButtonProps={{ 'aria-label': t('action.close') }}>
      {opened && <Body overview={overview} close={close} />}
    </Modal>
  )
}

/** Nodes that can take over: serving, reachable and not holding everything already. */
export function targetsOf(overview: ClusterOverview): ClusterOverview['nodes'] {
  const held = overview.vips.filter((vip) => vip.holder !== '')
  return overview.nodes.filter((node) => node.role === 'node' && node.reachable && held.some((vip) => vip.holder !== node.id))
}

function Body({ overview, close }: { readonly overview: ClusterOverview; readonly close: () => void }) {
  const { t } = useTranslation()
  const targets = targetsOf(overview)
  const [target, setTarget] = useState(targets[0]?.id ?? '')
  const [run, setRun] = useState<Run>()
  const [accepted, setAccepted] = useState(false)
  const [failure, setFailure] = useState<unknown>()
  const start = async () => {
    setFailure(undefined)
    setAccepted(false)
    setRun({ target, from: new Map(overview.vips.map((vip) => [vip.name, vip.holder])), startedEpochMs: Date.now() })
    try {
      await call('POST', '/hand-over', { body: { to: target } })
      setAccepted(true)
    } catch (error) {
      setFailure(error)
      setRun(undefined)
    }
  }

  if (run === undefined) {
    return (
      <Stack gap="sm">
        <Text>{t('handOver.text')}</Text>
        {targets.length === 0 ? (
          <Status kind="warn">{t('handOver.noTarget')}</Status>
        ) : (
          <Radio.Group label={t('handOver.to')} value={target} onChange={setTarget}>
            <Stack gap={6} mt={6}>
              {targets.map((node) => (
                <Radio
                  key={node.id}
                  value={node.id}
                  label={`${node.id} (${node.address})`}
                  description={node.report?.degraded === '' || node.report === null ? undefined : t('handOver.degraded', { detail: node.report.degraded })}
                />
              ))}
            </Stack>
          </Radio.Group>
        )}
        {failure !== undefined && <FailureNote error={failure} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            {t('action.cancel')}
          </Button>
          <Button disabled={target === ''} onClick={() => void start()} data-testid="hand-over-confirm">
            {t('handOver.action', { node: target })}
          </Button>
        </Group>
      </Stack>
    )
  }
  return <Progress overview={overview} run={run} accepted={accepted} close={close} />
}

function Progress(props: { readonly overview: ClusterOverview; readonly run: Run; readonly accepted: boolean; readonly close: () => void }) {
  const { overview, run, accepted, close } = props
  const { t } = useTranslation()
  const format = useFormat()
  const [now, setNow] = useState(() => Date.now())
  const moved = overview.vips.filter((vip) => vip.holder === run.target)
  const done = accepted && moved.length === overview.vips.length
  // The clock is read once more when the last step is done and then stops: what it shows is how long it took.
  useEffect(() => {
    const timer = done ? setTimeout(() => setNow(Date.now()), 0) : setInterval(() => setNow(Date.now()), 100)
    return () => clearInterval(timer)
  }, [done])
  const late = !done && now - run.startedEpochMs > patienceMs
  const leads = overview.leader === run.target
  const step = (finished: boolean): StatusKind => (finished ? 'ok' : late ? 'warn' : 'busy')
  return (
    <Stack gap="sm" data-testid="hand-over-progress" data-done={done} role="status" aria-live="polite">
      <ol className="h-steps">
        <li>
          <Status kind={step(accepted)}>{t(accepted ? 'handOver.accepted' : 'handOver.asking', { node: run.target })}</Status>
        </li>
        <li>
          <Status kind={step(leads)}>{t(leads ? 'handOver.leads' : 'handOver.leadership', { node: run.target })}</Status>
        </li>
        {overview.vips.map((vip) => (
          <li key={vip.name}>
            <Status kind={step(vip.holder === run.target)}>
              {t('handOver.vip', { name: vip.name, address: vip.address })}: {run.from.get(vip.name) === '' ? t('vip.nobody') : run.from.get(vip.name)} →{' '}
              {vip.holder === '' ? t('vip.nobody') : vip.holder}
            </Status>
          </li>
        ))}
      </ol>
      <Text c="dimmed">
        {done ? t('handOver.done', { span: format.span(now - run.startedEpochMs) })
        : late ? t('handOver.late')
        : t('handOver.running', { span: format.span(now - run.startedEpochMs) })}
      </Text>
      <Group justify="flex-end">
        <Button onClick={close}>{t('action.close')}</Button>
      </Group>
    </Stack>
  )
}
