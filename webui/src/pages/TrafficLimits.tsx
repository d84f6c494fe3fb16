/** Parts of the editors about limits and observation: who may connect and how often, the queue of a pool, the access log. */
import { useTranslation } from 'react-i18next'
import { SimpleGrid } from '@mantine/core'
import type { Listener, Pool, Route } from '../../../node/api/types.ts'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, DurationField, ListField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel } from '../draft/Fold.tsx'
import { editPool, withOptional } from '../draft/operations.ts'

type RateLimit = NonNullable<Listener['rateLimit']>

const cols = { base: 1, xs: 2, lg: 4 }
const newRateLimit: RateLimit = { requests: 100, per: '1s', key: 'source' }
const newAccessLog: NonNullable<Listener['accessLog']> = { format: 'json', sample: 100, destination: 'file' }
const newRequestId: NonNullable<Listener['requestId']> = { header: 'X-Request-Id', trust: false, respond: false }
const newQueue: NonNullable<Pool['queue']> = { maxLength: 1000, timeout: '10s' }

/** No number, or 0, stands for none. */
const given = (value: number): number | undefined => (value === 0 || value === null ? undefined : value)

/** A rate limit, which need not be there. `requests`: there are header fields to count by. */
export function RateLimitFields({ limit, pointer, requests, onChange, testId }: {
  readonly limit: RateLimit | undefined
  readonly pointer: string
  readonly requests: boolean
  readonly onChange: (field: string, limit: RateLimit | undefined) => void
  readonly testId?: string
}) {
  const { t } = useTranslation()
  const now = { ...newRateLimit, ...limit }
  const put = <K extends keyof RateLimit>(field: K, value: RateLimit[K] | undefined) => onChange(field, withOptional(now, field, value))
  return (
    <>
      <SwitchField pointer={pointer} label={t('limit.rate')} hint={t('limit.rateHint')} value={limit !== undefined} onChange={(on) => onChange('', on ? newRateLimit : undefined)} {...(testId === undefined ? {} : { testId })} />
      {limit !== undefined && (
        <>
          <NumberField pointer={`${pointer}/requests`} label={t('limit.requests')} hint={t('limit.requestsHint')} value={now.requests} onChange={(value) => put('requests', value)} />
          <DurationField pointer={`${pointer}/per`} label={t('limit.per')} hint={t('limit.perHint')} value={now.per} onChange={(value) => put('per', value.trim())} />
          <NumberField pointer={`${pointer}/burst`} label={t('limit.burst')} hint={t('limit.burstHint')} value={now.burst ?? 0} onChange={(value) => put('burst', given(value))} />
          {requests && (
            <ChoiceField
              pointer={`${pointer}/key`}
              label={t('limit.key')}
              hint={t('limit.keyHint')}
              value={now.key}
              choices={(['source', 'header'] as const).map((value) => ({ value, label: t(`limit.${value}`) }))}
              onChange={(key) => onChange('key', key === 'header' ? { ...now, key, header: now.header ?? 'X-Api-Key' } : { ...withOptional(now, 'header', undefined), key: 'source' })}
            />
          )}
          {now.key === 'header' && <TextField mono pointer={`${pointer}/header`} label={t('limit.field')} hint={t('limit.fieldHint')} value={now.header ?? ''} onChange={(value) => put('header', value.trim())} />}
        </>
      )}
    </>
  )
}

interface ListenerPart {
  readonly listener: Listener
  readonly pointer: string
  readonly set: (field: string, change: (listener: Listener) => Listener) => void
}

/** Who may connect, how many at once, how often. */
export function ListenerAccess({ listener, pointer, set }: ListenerPart) {
  const { t } = useTranslation()
  const { document } = useEditing()
  const lists = (document?.accessLists ?? []).map(({ name }) => name)
  const put = <K extends keyof Listener>(field: K, value: Listener[K] | undefined) => set(field, (old) => withOptional(old, field, value))
  const names = (field: 'allow' | 'deny') => (
    <ListField
      pointer={`${pointer}/${field}`}
      label={t(`limit.${field}`)}
      hint={t(`limit.${field}Hint`)}
      placeholder={lists[0] ?? t('limit.noLists')}
      values={listener[field] ?? []}
      onChange={(values) => put(field, values.length === 0 ? undefined : values)}
    />
  )
  return (
    <FoldingPanel
      title={t('limit.title')}
      note={t('limit.note')}
      testId="listener-access"
      pointers={['allow', 'deny', 'maxConnectionsPerSource', 'rateLimit'].map((field) => `${pointer}/${field}`)}
      holds={[
        listener.allow !== undefined && t('limit.allow'),
        listener.deny !== undefined && t('limit.deny'),
        listener.maxConnectionsPerSource !== undefined && t('limit.perSource'),
        listener.rateLimit !== undefined && t('limit.rate'),
      ]}
    >
      <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
        {names('allow')}
        {names('deny')}
        <NumberField pointer={`${pointer}/maxConnectionsPerSource`} label={t('limit.perSource')} hint={t('limit.perSourceHint')} value={listener.maxConnectionsPerSource ?? 0} onChange={(value) => put('maxConnectionsPerSource', given(value))} testId="listener-per-source" />
        <RateLimitFields
          limit={listener.rateLimit}
          pointer={`${pointer}/rateLimit`}
          requests={listener.protocol === 'http' || listener.protocol === 'https'}
          onChange={(field, limit) => set(field === '' ? 'rateLimit' : `rateLimit/${field}`, (old) => withOptional(old, 'rateLimit', limit))}
          testId="listener-rate-limit"
        />
      </SimpleGrid>
    </FoldingPanel>
  )
}

/** What is written down of each request. */
export function ListenerObservation({ listener, pointer, set }: ListenerPart) {
  const { t } = useTranslation()
  const { accessLog, requestId, trace } = listener
  const put = <K extends 'accessLog' | 'requestId' | 'trace'>(field: K, inner: string, value: Listener[K] | undefined) =>
    set(inner === '' ? field : `${field}/${inner}`, (old) => withOptional(old, field, value))
  const log = { ...newAccessLog, ...accessLog }
  const id = { ...newRequestId, ...requestId }
  const requests = listener.protocol === 'http' || listener.protocol === 'https'
  return (
    <FoldingPanel
      title={t('observe.title')}
      note={t('observe.note')}
      testId="listener-observation"
      pointers={['accessLog', 'requestId', 'trace'].map((field) => `${pointer}/${field}`)}
      holds={[accessLog !== undefined && log.format !== 'off' && t('observe.log'), requestId !== undefined && t('observe.id'), trace !== undefined && t('observe.trace')]}
    >
      <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
        <ChoiceField
          pointer={`${pointer}/accessLog/format`}
          label={t('observe.log')}
          hint={t('observe.logHint')}
          value={accessLog === undefined ? 'off' : log.format}
          choices={(['off', 'json', 'common', 'combined'] as const).map((value) => ({ value, label: t(`observe.${value}`) }))}
          onChange={(format) => put('accessLog', 'format', format === 'off' ? undefined : { ...log, format: format as typeof log.format })}
          testId="listener-access-log"
        />
        {accessLog !== undefined && log.format !== 'off' && (
          <>
            <NumberField pointer={`${pointer}/accessLog/sample`} label={t('observe.sample')} hint={t('observe.sampleHint')} unit="%" value={log.sample} onChange={(sample) => put('accessLog', 'sample', { ...log, sample })} />
            <ChoiceField
              pointer={`${pointer}/accessLog/destination`}
              label={t('observe.destination')}
              hint={t('observe.destinationHint')}
              value={log.destination}
              choices={(['file', 'stdout'] as const).map((value) => ({ value, label: t(`observe.${value}`) }))}
              onChange={(destination) => put('accessLog', 'destination', { ...log, destination: destination as typeof log.destination })}
            />
          </>
        )}
        {requests && (
          <>
            <SwitchField pointer={`${pointer}/requestId`} label={t('observe.id')} hint={t('observe.idHint')} value={requestId !== undefined} onChange={(on) => put('requestId', '', on ? newRequestId : undefined)} />
            {requestId !== undefined && (
              <>
                <TextField mono pointer={`${pointer}/requestId/header`} label={t('observe.idHeader')} hint={t('observe.idHeaderHint')} value={id.header} onChange={(header) => put('requestId', 'header', { ...id, header: header.trim() })} />
                <SwitchField pointer={`${pointer}/requestId/trust`} label={t('observe.trust')} hint={t('observe.trustHint')} value={id.trust} onChange={(trust) => put('requestId', 'trust', { ...id, trust })} />
                <SwitchField pointer={`${pointer}/requestId/respond`} label={t('observe.respond')} hint={t('observe.respondHint')} value={id.respond} onChange={(respond) => put('requestId', 'respond', { ...id, respond })} />
              </>
            )}
            <SwitchField pointer={`${pointer}/trace`} label={t('observe.trace')} hint={t('observe.traceHint')} value={trace !== undefined} onChange={(on) => put('trace', '', on ? { sample: 100 } : undefined)} />
            {trace !== undefined && <NumberField pointer={`${pointer}/trace/sample`} label={t('observe.traceSample')} hint={t('observe.traceSampleHint')} unit="%" value={trace.sample} onChange={(sample) => put('trace', 'sample', { sample })} />}
          </>
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}

/** Of a route that goes to members: its class in the queue, and its rate limit. */
export function RouteLimits({ route, pointer, onChange }: { readonly route: Route; readonly pointer: string; readonly onChange: (field: string, route: Route) => void }) {
  const { t } = useTranslation()
  return (
    <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
      <ChoiceField
        pointer={`${pointer}/priority`}
        label={t('limit.priority')}
        hint={t('limit.priorityHint')}
        value={route.priority ?? 'normal'}
        choices={(['high', 'normal', 'low'] as const).map((value) => ({ value, label: t(`limit.${value}`) }))}
        onChange={(value) => onChange('priority', withOptional(route, 'priority', value === 'normal' ? undefined : (value as NonNullable<Route['priority']>)))}
      />
      <RateLimitFields limit={route.rateLimit} pointer={`${pointer}/rateLimit`} requests onChange={(field, limit) => onChange(field === '' ? 'rateLimit' : `rateLimit/${field}`, withOptional(route, 'rateLimit', limit))} />
    </SimpleGrid>
  )
}

/** What happens when all members are busy. */
export function PoolQueue({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const { queue } = pool
  const now = { ...newQueue, ...queue }
  const put = <K extends 'queue' | 'maxConnections'>(field: K, inner: string, value: Pool[K] | undefined) =>
    edit(`${pointer}/${field}${inner === '' ? '' : `/${inner}`}`, editPool(pool.name, (before) => withOptional(before, field, value)))
  return (
    <FoldingPanel
      title={t('queue.title')}
      note={t('queue.note')}
      testId="pool-queue"
      pointers={[`${pointer}/maxConnections`, `${pointer}/queue`]}
      holds={[pool.maxConnections !== undefined && t('queue.limit'), queue !== undefined && t('queue.on')]}
    >
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
        <NumberField pointer={`${pointer}/maxConnections`} label={t('queue.limit')} hint={t('queue.limitHint')} value={pool.maxConnections ?? 0} onChange={(value) => put('maxConnections', '', given(value))} testId="pool-max-connections" />
        <SwitchField pointer={`${pointer}/queue`} label={t('queue.on')} hint={t('queue.onHint')} value={queue !== undefined} onChange={(on) => put('queue', '', on ? newQueue : undefined)} />
        {queue !== undefined && (
          <>
            <NumberField pointer={`${pointer}/queue/maxLength`} label={t('queue.length')} hint={t('queue.lengthHint')} value={now.maxLength} onChange={(maxLength) => put('queue', 'maxLength', { ...now, maxLength })} />
            <DurationField pointer={`${pointer}/queue/timeout`} label={t('queue.timeout')} hint={t('queue.timeoutHint')} value={now.timeout} onChange={(timeout) => put('queue', 'timeout', { ...now, timeout: timeout.trim() })} />
            <TextField mono pointer={`${pointer}/queue/priorityHeader`} label={t('queue.header')} hint={t('queue.headerHint')} value={now.priorityHeader ?? ''} onChange={(value) => put('queue', 'priorityHeader', withOptional(now, 'priorityHeader', value.trim() === '' ? undefined : value.trim()))} />
          </>
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}
