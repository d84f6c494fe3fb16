/** When a pool's members get traffic: the active check, what live traffic says, the circuit breaker, and what clients are told when none may. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Group, SimpleGrid } from '@mantine/core'
import type { HealthCheck, Pool } from '../../../node/api/types.ts'
import { useOverviewPart } from '../api/queries.ts'
import { Panel } from '../display/Panel.tsx'
import { Status, type StatusKind } from '../display/Status.tsx'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, DurationField, LongTextField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel, FoldingPart } from '../draft/Fold.tsx'
import { editPool, withOptional } from '../draft/operations.ts'

type Passive = NonNullable<Pool['passiveHealth']>
type Breaker = NonNullable<Pool['circuitBreaker']>
type Maintenance = NonNullable<Pool['maintenance']>
type Headers = NonNullable<HealthCheck['headers']>

const types = ['http', 'https', 'tcp', 'tls', 'udp', 'script', 'none'] as const
const methods = ['GET', 'HEAD', 'OPTIONS', 'POST'] as const
// As the schema has them: what is switched on begins with the node's own defaults.
const newPassive: Passive = { failures: 5, statuses: '500-599', window: '10s', minimumRequests: 20, ejectionTime: '30s', maxEjectionTime: '5m', maxEjected: 50 }
const newBreaker: Breaker = { failures: 20, openTime: '10s', trials: 3 }
const newMaintenance: Maintenance = { enabled: false, status: 503, contentType: 'text/html; charset=utf-8', body: '', retryAfter: 0 }

const given = (text: string): string | undefined => (text === '' ? undefined : text)

export function PoolCheck({ pool, pointer: poolPointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const probe = pool.healthCheck
  const pointer = `${poolPointer}/healthCheck`
  const put = <K extends keyof HealthCheck>(field: K, value: HealthCheck[K] | undefined) =>
    edit(`${pointer}/${field}`, editPool(pool.name, (before) => ({ ...before, healthCheck: withOptional(before.healthCheck, field, value) })))
  const http = probe.type === 'http' || probe.type === 'https'
  const secure = probe.type === 'https' || probe.type === 'tls'
  const bytes = probe.type === 'tcp' || probe.type === 'tls' || probe.type === 'udp'
  return (
    <Panel title={t('pool.check')} testId="health-check">
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
        <ChoiceField
          pointer={`${pointer}/type`}
          label={t('probe.type')}
          hint={t(`probe.${probe.type}Hint`)}
          value={probe.type}
          choices={types.map((value) => ({ value, label: t(`probe.${value}`) }))}
          onChange={(value) => put('type', value as HealthCheck['type'])}
        />
        {http ? (
          <TextField mono pointer={`${pointer}/path`} label={t('probe.path')} hint={t('probe.pathHint')} value={probe.path} onChange={(value) => put('path', value)} />
        ) : probe.type === 'script' ? (
          <TextField mono pointer={`${pointer}/script`} label={t('probe.program')} hint={t('probe.programHint')} value={probe.script ?? ''} onChange={(value) => put('script', given(value.trim()))} />
        ) : (
          <span />
        )}
        {http && (
          <>
            <TextField mono pointer={`${pointer}/host`} label={t('probe.host')} hint={t('probe.hostHint')} placeholder={t('probe.hostDefault')} value={probe.host} onChange={(value) => put('host', value)} />
            <TextField mono pointer={`${pointer}/expectStatus`} label={t('probe.status')} hint={t('probe.statusHint')} value={probe.expectStatus} onChange={(value) => put('expectStatus', value)} />
          </>
        )}
        {bytes && (
          <>
            <TextField mono pointer={`${pointer}/send`} label={t('probe.send')} hint={t('probe.sendHint')} value={probe.send ?? ''} onChange={(value) => put('send', given(value))} />
            <TextField mono pointer={`${pointer}/expect`} label={t('probe.expect')} hint={t(probe.type === 'udp' ? 'probe.expectUdpHint' : 'probe.expectHint')} value={probe.expect ?? ''} onChange={(value) => put('expect', given(value))} />
          </>
        )}
        {secure && (
          <>
            <TextField mono pointer={`${pointer}/sni`} label={t('probe.sni')} hint={t('probe.sniHint')} value={probe.sni ?? ''} onChange={(value) => put('sni', given(value.trim()))} />
            <SwitchField pointer={`${pointer}/verify`} label={t('probe.verify')} hint={t('probe.verifyHint')} value={probe.verify ?? false} onChange={(value) => put('verify', value ? true : undefined)} />
          </>
        )}
        {probe.type !== 'none' && (
          <>
            <DurationField pointer={`${pointer}/interval`} label={t('probe.interval')} hint={t('probe.intervalHint')} value={probe.interval} onChange={(value) => put('interval', value)} />
            <DurationField pointer={`${pointer}/timeout`} label={t('probe.timeout')} hint={t('probe.timeoutHint')} value={probe.timeout} onChange={(value) => put('timeout', value)} />
            <NumberField pointer={`${pointer}/rise`} label={t('probe.rise')} hint={t('probe.riseHint')} value={probe.rise} onChange={(value) => put('rise', value)} />
            <NumberField pointer={`${pointer}/fall`} label={t('probe.fall')} hint={t('probe.fallHint')} value={probe.fall} onChange={(value) => put('fall', value)} />
          </>
        )}
      </SimpleGrid>
      {probe.type !== 'none' && (
        <FoldingPart
          title={t('probe.further')}
          testId="health-check-further"
          pointers={['method', 'expectBody', 'downInterval', 'maxLatency', 'address', 'port', 'headers'].map((field) => `${pointer}/${field}`)}
          holds={[
            probe.method !== undefined && t('probe.method'),
            probe.expectBody !== undefined && t('probe.body'),
            probe.downInterval !== undefined && t('probe.downInterval'),
            probe.maxLatency !== undefined && t('probe.latency'),
            probe.address !== undefined && t('probe.address'),
            probe.port !== undefined && t('probe.port'),
            probe.headers !== undefined && t('probe.headers'),
          ]}
        >
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
            {http && (
              <>
                <ChoiceField
                  pointer={`${pointer}/method`}
                  label={t('probe.method')}
                  hint={t('probe.methodHint')}
                  value={probe.method ?? 'GET'}
                  choices={[...new Set([...methods, probe.method ?? 'GET'])].map((value) => ({ value, label: value }))}
                  onChange={(value) => put('method', value === 'GET' ? undefined : value)}
                />
                <TextField pointer={`${pointer}/expectBody`} label={t('probe.body')} hint={t('probe.bodyHint')} value={probe.expectBody ?? ''} onChange={(value) => put('expectBody', given(value))} />
              </>
            )}
            <DurationField pointer={`${pointer}/downInterval`} label={t('probe.downInterval')} hint={t('probe.downIntervalHint')} value={probe.downInterval ?? ''} onChange={(value) => put('downInterval', given(value))} />
            <DurationField pointer={`${pointer}/maxLatency`} label={t('probe.latency')} hint={t('probe.latencyHint')} value={probe.maxLatency ?? ''} onChange={(value) => put('maxLatency', given(value))} />
            <TextField mono pointer={`${pointer}/address`} label={t('probe.address')} hint={t('probe.addressHint')} value={probe.address ?? ''} onChange={(value) => put('address', given(value.trim()))} />
            <TextField mono pointer={`${pointer}/port`} label={t('probe.port')} hint={t('probe.portHint')} value={String(probe.port ?? '')} onChange={(value) => put('port', portOf(value))} />
          </SimpleGrid>
          {http && <ProbeHeaders pointer={`${pointer}/headers`} headers={probe.headers ?? []} onChange={(headers) => put('headers', headers.length === 0 ? undefined : headers)} />}
        </FoldingPart>
      )}
      {probe.type === 'none' && (
        <Group mt="sm">
          <Status kind="warn">{t('probe.noneWarning')}</Status>
        </Group>
      )}
    </Panel>
  )
}

/** What is no number stays in the draft, so that the checks can say so. */
function portOf(text: string): number | undefined {
  if (text === '') return undefined
  return /^[0-9]{1,6}$/.test(text) ? Number(text) : (text as unknown as number)
}

/** One line for each field, as in a request. */
function ProbeHeaders({ pointer, headers, onChange }: { readonly pointer: string; readonly headers: Headers; readonly onChange: (headers: Headers) => void }) {
  const { t } = useTranslation()
  const [typed, setTyped] = useState('')
  // What is being typed is shown as it is typed, as long as it means what the draft has.
  const text = JSON.stringify(headersOf(typed)) === JSON.stringify(headers) ? typed : headers.map(({ name, value }) => `${name}: ${value}`).join('\n')
  return (
    <LongTextField
      mono
      apart
      pointer={pointer}
      label={t('probe.headers')}
      hint={t('probe.headersHint')}
      rows={2}
      value={text}
      onChange={(value) => {
        setTyped(value)
        onChange(headersOf(value))
      }}
    />
  )
}

function headersOf(text: string): Headers {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const colon = line.indexOf(':')
      return colon < 0 ? { name: line.trim(), value: '' } : { name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() }
    })
}

const circuitKinds: Readonly<Record<'closed' | 'open' | 'half-open', StatusKind>> = { closed: 'ok', open: 'bad', 'half-open': 'busy' }

/** Passive health, panic, slow start, drain deadline and the circuit breaker. */
export function PoolTraffic({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const circuit = useOverviewPart((overview) => overview.pools.find((candidate) => candidate.name === pool.name)?.circuit) ?? 'none'
  const put = <K extends keyof Pool>(field: K, value: Pool[K] | undefined) => edit(`${pointer}/${field}`, editPool(pool.name, (before) => withOptional(before, field, value)))
  const { passiveHealth: passive, circuitBreaker: breaker } = pool
  const putPassive = (change: Partial<Passive>) => put('passiveHealth', { ...(passive ?? newPassive), ...change })
  const putBreaker = (change: Partial<Breaker>) => put('circuitBreaker', { ...(breaker ?? newBreaker), ...change })
  return (
    <FoldingPanel
      title={t('passive.title')}
      note={t('passive.note')}
      testId="pool-traffic"
      pointers={['passiveHealth', 'panicThreshold', 'slowStart', 'drainTimeout', 'circuitBreaker'].map((field) => `${pointer}/${field}`)}
      holds={[
        passive !== undefined && t('passive.eject'),
        pool.panicThreshold !== undefined && t('passive.panic'),
        pool.slowStart !== undefined && t('passive.slowStart'),
        pool.drainTimeout !== undefined && t('passive.drain'),
        breaker !== undefined && t('passive.breaker'),
      ]}
    >
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
        <SwitchField pointer={`${pointer}/passiveHealth`} label={t('passive.eject')} hint={t('passive.ejectHint')} value={passive !== undefined} onChange={(value) => put('passiveHealth', value ? newPassive : undefined)} testId="eject" />
        <span />
        {passive !== undefined && (
          <>
            <NumberField pointer={`${pointer}/passiveHealth/failures`} label={t('passive.failures')} hint={t('passive.failuresHint')} value={passive.failures} onChange={(failures) => putPassive({ failures })} />
            <TextField mono pointer={`${pointer}/passiveHealth/statuses`} label={t('passive.statuses')} hint={t('passive.statusesHint')} value={passive.statuses} onChange={(statuses) => putPassive({ statuses })} />
            <DurationField pointer={`${pointer}/passiveHealth/ejectionTime`} label={t('passive.time')} hint={t('passive.timeHint')} value={passive.ejectionTime} onChange={(ejectionTime) => putPassive({ ejectionTime })} />
            <DurationField pointer={`${pointer}/passiveHealth/maxEjectionTime`} label={t('passive.maxTime')} hint={t('passive.maxTimeHint')} value={passive.maxEjectionTime} onChange={(maxEjectionTime) => putPassive({ maxEjectionTime })} />
            <NumberField pointer={`${pointer}/passiveHealth/maxEjected`} label={t('passive.share')} hint={t('passive.shareHint')} unit="%" value={passive.maxEjected} onChange={(maxEjected) => putPassive({ maxEjected })} />
            <NumberField pointer={`${pointer}/passiveHealth/errorRate`} label={t('passive.rate')} hint={t('passive.rateHint')} unit="%" value={passive.errorRate ?? 0} onChange={(rate) => put('passiveHealth', withOptional(passive, 'errorRate', rate === 0 ? undefined : rate))} />
            {passive.errorRate !== undefined && (
              <>
                <DurationField pointer={`${pointer}/passiveHealth/window`} label={t('passive.window')} hint={t('passive.windowHint')} value={passive.window} onChange={(window) => putPassive({ window })} />
                <NumberField pointer={`${pointer}/passiveHealth/minimumRequests`} label={t('passive.minimum')} hint={t('passive.minimumHint')} value={passive.minimumRequests} onChange={(minimumRequests) => putPassive({ minimumRequests })} />
              </>
            )}
          </>
        )}
        <NumberField pointer={`${pointer}/panicThreshold`} label={t('passive.panic')} hint={t('passive.panicHint')} unit="%" value={pool.panicThreshold ?? 0} onChange={(value) => put('panicThreshold', value === 0 ? undefined : value)} />
        <DurationField pointer={`${pointer}/slowStart`} label={t('passive.slowStart')} hint={t('passive.slowStartHint')} value={pool.slowStart ?? ''} onChange={(value) => put('slowStart', given(value))} />
        <DurationField pointer={`${pointer}/drainTimeout`} label={t('passive.drain')} hint={t('passive.drainHint')} value={pool.drainTimeout ?? ''} onChange={(value) => put('drainTimeout', given(value))} />
        <span />
        <SwitchField pointer={`${pointer}/circuitBreaker`} label={t('passive.breaker')} hint={t('passive.breakerHint')} value={breaker !== undefined} onChange={(value) => put('circuitBreaker', value ? newBreaker : undefined)} testId="breaker" />
        {circuit === 'none' ? <span /> : <Group><Status kind={circuitKinds[circuit]}>{t(`passive.circuit.${circuit}`)}</Status></Group>}
        {breaker !== undefined && (
          <>
            <NumberField pointer={`${pointer}/circuitBreaker/failures`} label={t('passive.breakerFailures')} hint={t('passive.breakerFailuresHint')} value={breaker.failures} onChange={(failures) => putBreaker({ failures })} />
            <DurationField pointer={`${pointer}/circuitBreaker/openTime`} label={t('passive.openTime')} hint={t('passive.openTimeHint')} value={breaker.openTime} onChange={(openTime) => putBreaker({ openTime })} />
            <NumberField pointer={`${pointer}/circuitBreaker/trials`} label={t('passive.trials')} hint={t('passive.trialsHint')} value={breaker.trials} onChange={(trials) => putBreaker({ trials })} />
          </>
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}

export function PoolMaintenance({ pool, pointer: poolPointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const pointer = `${poolPointer}/maintenance`
  const page = pool.maintenance
  const put = (field: string, value: Maintenance | undefined) => edit(`${pointer}${field}`, editPool(pool.name, (before) => withOptional(before, 'maintenance', value)))
  const change = <K extends keyof Maintenance>(field: K, value: Maintenance[K]) => put(`/${field}`, { ...(page ?? newMaintenance), [field]: value })
  return (
    <FoldingPanel title={t('maintenance.title')} note={t('maintenance.note')} testId="maintenance" pointers={[pointer]} holds={[page !== undefined && t(page.enabled ? 'maintenance.enabled' : 'maintenance.own')]}>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
        <SwitchField pointer={pointer} label={t('maintenance.own')} hint={t('maintenance.ownHint')} value={page !== undefined} onChange={(value) => put('', value ? newMaintenance : undefined)} testId="own-page" />
        {page === undefined ? <span /> : <SwitchField pointer={`${pointer}/enabled`} label={t('maintenance.enabled')} hint={t('maintenance.enabledHint')} value={page.enabled} onChange={(value) => change('enabled', value)} testId="maintenance-enabled" />}
        {page !== undefined && (
          <>
            <NumberField pointer={`${pointer}/status`} label={t('maintenance.status')} hint={t('maintenance.statusHint')} value={page.status} onChange={(value) => change('status', value)} />
            <NumberField pointer={`${pointer}/retryAfter`} label={t('maintenance.retryAfter')} hint={t('maintenance.retryAfterHint')} unit="s" value={page.retryAfter} onChange={(value) => change('retryAfter', value)} />
            <TextField mono pointer={`${pointer}/contentType`} label={t('maintenance.contentType')} hint={t('maintenance.contentTypeHint')} value={page.contentType} onChange={(value) => change('contentType', value)} />
          </>
        )}
      </SimpleGrid>
      {page !== undefined && <LongTextField mono apart pointer={`${pointer}/body`} label={t('maintenance.body')} hint={t('maintenance.bodyHint')} rows={6} value={page.body} onChange={(value) => change('body', value)} />}
    </FoldingPanel>
  )
}
