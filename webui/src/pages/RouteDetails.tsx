/** Editor of one route beyond hosts and paths: its further rules, what becomes of a request, and what is changed on the way. */
import { useState, type ReactNode } from 'react'
import type { TFunction } from 'i18next'
import { useTranslation } from 'react-i18next'
import { ActionIcon, Group, SimpleGrid, Text, Title } from '@mantine/core'
import { IconPlus, IconTrash } from '@tabler/icons-react'
import type { ConfigurationDocument, Listener, Route } from '../../../node/api/types.ts'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, DurationField, ListField, LongTextField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPart } from '../draft/Fold.tsx'
import { fieldLines, fieldsOf, ruleLines, rulesOf } from '../draft/lines.ts'
import { withOptional } from '../draft/operations.ts'
import { RouteLimits } from './TrafficLimits.tsx'

type Match = NonNullable<Route['match']>
type Retries = NonNullable<Route['retries']>
type Redirect = NonNullable<Route['redirect']>
type Rewrite = NonNullable<Route['rewrite']>
type Timeouts = NonNullable<Route['timeouts']>
type Edits = NonNullable<Listener['headers']>

// As the schema has them: what is begun here begins with the node's own defaults.
const noMatch: Match = { pathsExact: [], methods: [], headers: [], cookies: [], query: [], sources: [] }
const noEdits: Edits = { setRequest: [], removeRequest: [], setResponse: [], removeResponse: [] }
const newRetries: Retries = { attempts: 1, after: ['connect-failure', 'reset'], statuses: [], budgetPercent: 20, maxBodyBytes: 0 }
const newRedirect: Redirect = { status: 302, keepQuery: true }
const newRespond: NonNullable<Route['respond']> = { status: 200, contentType: 'text/plain; charset=utf-8', body: '' }

export const actionKinds = ['pool', 'pools', 'redirect', 'respond'] as const
export type ActionKind = (typeof actionKinds)[number]
export const actionOf = (route: Route): ActionKind => actionKinds.find((kind) => route[kind] !== undefined) ?? 'pool'

const given = (text: string): string | undefined => (text === '' ? undefined : text)
const cols = { base: 1, xs: 2, lg: 4 }

interface Part {
  readonly route: Route
  readonly pointer: string
  readonly document: ConfigurationDocument
  /** `field`: what changes, as a pointer below the route. */
  readonly onChange: (field: string, route: Route) => void
}

export function RouteDetails(props: Part) {
  const { t } = useTranslation()
  const { route, pointer, document, onChange } = props
  const kind = actionOf(route)
  const first = document.pools[0]?.name ?? ''
  const choose = (next: ActionKind) => {
    const { pool, pools, split: _split, redirect: _redirect, respond: _respond, ...rest } = route
    const { rewrite: _rewrite, mirror: _mirror, timeouts: _timeouts, retries: _retries, ...alone } = rest
    if (next === 'pool') onChange('pool', { ...rest, pool: pools?.[0]?.pool ?? pool ?? first })
    else if (next === 'pools') onChange('pools', { ...rest, pools: [{ pool: pool ?? first, weight: 100 }] })
    // No member is asked: what is for members means nothing any more.
    else if (next === 'redirect') onChange('redirect', { ...alone, redirect: newRedirect })
    else onChange('respond', { ...alone, respond: newRespond })
  }
  const edits = (headers: Edits | undefined) => onChange('headers', withOptional(route, 'headers', headers))
  return (
    <div data-testid="route-details">
      <MatchFields {...props} />
      <Heading>{t('route.becomes')}</Heading>
      <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
        <ChoiceField
          pointer={`${pointer}/action`}
          label={t('route.action')}
          hint={t(`route.${kind}Hint`)}
          value={kind}
          choices={actionKinds.map((value) => ({ value, label: t(`route.${value}`) }))}
          onChange={(value) => choose(value as ActionKind)}
          testId="route-action"
        />
        {kind === 'pool' && (
          <ChoiceField searchable pointer={`${pointer}/pool`} label={t('word.pool')} value={route.pool ?? ''} choices={document.pools.map(({ name }) => ({ value: name, label: name }))} onChange={(pool) => onChange('pool', { ...route, pool })} />
        )}
        {kind === 'pools' && (
          <ChoiceField
            pointer={`${pointer}/split`}
            label={t('route.split')}
            hint={t('route.splitHint')}
            value={route.split ?? 'request'}
            choices={(['request', 'source'] as const).map((value) => ({ value, label: t(`route.${value}`) }))}
            onChange={(value) => onChange('split', withOptional(route, 'split', value === 'source' ? 'source' : undefined))}
          />
        )}
        {route.redirect !== undefined && <RedirectFields {...props} redirect={route.redirect} />}
        {route.respond !== undefined && (
          <>
            <NumberField pointer={`${pointer}/respond/status`} label={t('route.status')} value={route.respond.status} onChange={(status) => onChange('respond/status', { ...route, respond: { ...newRespond, ...route.respond, status } })} />
            <TextField mono pointer={`${pointer}/respond/contentType`} label={t('route.contentType')} value={route.respond.contentType} onChange={(contentType) => onChange('respond/contentType', { ...route, respond: { ...newRespond, ...route.respond, contentType } })} />
          </>
        )}
      </SimpleGrid>
      {route.respond !== undefined && <LongTextField mono apart rows={4} pointer={`${pointer}/respond/body`} label={t('route.body')} hint={t('route.bodyHint')} value={route.respond.body} onChange={(body) => onChange('respond/body', { ...route, respond: { ...newRespond, ...route.respond, body } })} />}
      {kind === 'pools' && <Weights {...props} />}
      {(kind === 'pool' || kind === 'pools') && <OnTheWay {...props} />}
      <FoldingPart title={t('limit.ofRoute')} pointers={[`${pointer}/priority`, `${pointer}/rateLimit`]} holds={[route.priority !== undefined && t('limit.priority'), route.rateLimit !== undefined && t('limit.rate')]}>
        <RouteLimits route={route} pointer={pointer} onChange={onChange} />
      </FoldingPart>
      <FoldingPart title={t('route.headerFields')} pointers={[`${pointer}/headers`]} holds={editLabels(t, route.headers)}>
        <HeaderEditFields edits={route.headers} pointer={`${pointer}/headers`} requests={kind === 'pool' || kind === 'pools'} onChange={edits} />
      </FoldingPart>
    </div>
  )
}

function Heading({ children }: { readonly children: ReactNode }) {
  return <Title order={3} fz="sm" mt="sm" mb={6}>{children}</Title>
}

function MatchFields({ route, pointer, onChange }: Part) {
  const { t } = useTranslation()
  const match: Match = { ...noMatch, ...route.match }
  const at = `${pointer}/match`
  const put = <K extends keyof Match>(field: K, value: Match[K] | undefined) => {
    const next = withOptional(match, field, value)
    onChange(`match/${field}`, withOptional(route, 'match', JSON.stringify({ ...noMatch, ...next }) === JSON.stringify(noMatch) ? undefined : next))
  }
  return (
    <FoldingPart
      title={t('route.further')}
      pointers={[at]}
      holds={[
        match.methods.length > 0 && t('route.methods'),
        match.pathsExact.length > 0 && t('route.pathsExact'),
        match.pathRegex !== undefined && t('route.pathRegex'),
        match.hostRegex !== undefined && t('route.hostRegex'),
        match.headers.length > 0 && t('route.headers'),
        match.cookies.length > 0 && t('route.cookies'),
        match.query.length > 0 && t('route.query'),
        match.sources.length > 0 && t('route.sources'),
      ]}
    >
      <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
        <ListField pointer={`${at}/methods`} label={t('route.methods')} hint={t('route.methodsHint')} placeholder="GET" values={match.methods} onChange={(values) => put('methods', values.map((value) => value.toUpperCase()))} />
        <ListField pointer={`${at}/pathsExact`} label={t('route.pathsExact')} hint={t('route.pathsExactHint')} placeholder="/" values={match.pathsExact} onChange={(values) => put('pathsExact', values)} />
        <TextField mono pointer={`${at}/pathRegex`} label={t('route.pathRegex')} hint={t('route.regexHint')} value={match.pathRegex ?? ''} onChange={(value) => put('pathRegex', given(value))} testId="route-path-regex" />
        <TextField mono pointer={`${at}/hostRegex`} label={t('route.hostRegex')} hint={t('route.regexHint')} value={match.hostRegex ?? ''} onChange={(value) => put('hostRegex', given(value))} />
        <Lines pointer={`${at}/headers`} label={t('route.headers')} hint={t('route.rulesHint')} values={match.headers} write={ruleLines} read={rulesOf} onChange={(value) => put('headers', value)} />
        <Lines pointer={`${at}/cookies`} label={t('route.cookies')} hint={t('route.rulesHint')} values={match.cookies} write={ruleLines} read={rulesOf} onChange={(value) => put('cookies', value)} />
        <Lines pointer={`${at}/query`} label={t('route.query')} hint={t('route.rulesHint')} values={match.query} write={ruleLines} read={rulesOf} onChange={(value) => put('query', value)} />
        <ListField pointer={`${at}/sources`} label={t('route.sources')} hint={t('route.sourcesHint')} placeholder="10.0.0.0/8" values={match.sources} onChange={(values) => put('sources', values)} />
      </SimpleGrid>
    </FoldingPart>
  )
}

/** A list, an entry a line. What is being typed is shown as it is typed, as long as it means what the draft has. */
function Lines<T>({ pointer, label, hint, values, write, read, onChange }: {
  readonly pointer: string
  readonly label: string
  readonly hint: string
  readonly values: readonly T[]
  readonly write: (values: readonly T[]) => string
  readonly read: (text: string) => T[]
  readonly onChange: (values: T[]) => void
}) {
  const [typed, setTyped] = useState('')
  const { problems } = useEditing()
  const inner = problems.find(({ field }) => field.startsWith(`${pointer}/`))?.text
  const text = JSON.stringify(read(typed)) === JSON.stringify(values) ? typed : write(values)
  return (
    <div>
      <LongTextField
        mono
        rows={2}
        pointer={pointer}
        label={label}
        hint={hint}
        value={text}
        onChange={(value) => {
          setTyped(value)
          onChange(read(value))
        }}
      />
      {inner !== undefined && <Text c="red" fz="xs">{inner}</Text>}
    </div>
  )
}

function RedirectFields({ route, pointer, onChange, redirect }: Part & { readonly redirect: Redirect }) {
  const { t } = useTranslation()
  const at = `${pointer}/redirect`
  const put = <K extends keyof Redirect>(field: K, value: Redirect[K] | undefined) => onChange(`redirect/${field}`, { ...route, redirect: withOptional({ ...newRedirect, ...redirect }, field, value) })
  return (
    <>
      <ChoiceField pointer={`${at}/status`} label={t('route.status')} value={String(redirect.status)} choices={['301', '302', '303', '307', '308'].map((value) => ({ value, label: value }))} onChange={(value) => put('status', Number(value) as Redirect['status'])} />
      <ChoiceField pointer={`${at}/scheme`} label={t('route.scheme')} value={redirect.scheme ?? ''} choices={[{ value: '', label: t('route.asAsked') }, { value: 'http', label: 'http' }, { value: 'https', label: 'https' }]} onChange={(value) => put('scheme', given(value) as Redirect['scheme'])} />
      <TextField mono pointer={`${at}/host`} label={t('route.toHost')} hint={t('route.asAskedHint')} value={redirect.host ?? ''} onChange={(value) => put('host', given(value.trim()))} />
      <TextField mono pointer={`${at}/port`} label={t('column.port')} hint={t('route.asAskedHint')} value={String(redirect.port ?? '')} onChange={(value) => put('port', numberOf(value))} />
      <TextField mono pointer={`${at}/path`} label={t('route.toPath')} hint={t('route.asAskedHint')} value={redirect.path ?? ''} onChange={(value) => put('path', given(value.trim()))} />
      <TextField mono pointer={`${at}/prefix`} label={t('route.toPrefix')} hint={t('route.prefixHint')} value={redirect.prefix ?? ''} onChange={(value) => put('prefix', given(value.trim()))} />
      <SwitchField pointer={`${at}/keepQuery`} label={t('route.keepQuery')} value={redirect.keepQuery} onChange={(value) => put('keepQuery', value)} />
    </>
  )
}

/** What is no number stays in the draft, so that the checks can say so. */
function numberOf(text: string): number | undefined {
  const trimmed = text.trim()
  if (trimmed === '') return undefined
  return /^[0-9]{1,6}$/.test(trimmed) ? Number(trimmed) : (trimmed as unknown as number)
}

function Weights({ route, pointer, document, onChange }: Part) {
  const { t } = useTranslation()
  const { mayEdit } = useEditing()
  const pools = route.pools ?? []
  const all = pools.reduce((sum, { weight }) => sum + weight, 0)
  const put = (field: string, next: typeof pools) => onChange(field, { ...route, pools: next })
  const free = document.pools.find(({ name }) => !pools.some(({ pool }) => pool === name))
  return (
    <div>
      {pools.map(({ pool, weight }, index) => (
        <Group key={index} gap="sm" mt="xs" wrap="nowrap" align="end">
          <ChoiceField inTable searchable pointer={`${pointer}/pools/${index}/pool`} label={t('route.poolNumber', { n: index + 1 })} value={pool} choices={document.pools.map(({ name }) => ({ value: name, label: name }))} onChange={(value) => put(`pools/${index}/pool`, pools.map((one, i) => (i === index ? { ...one, pool: value } : one)))} />
          <NumberField inTable pointer={`${pointer}/pools/${index}/weight`} label={t('route.weightOf', { name: pool })} value={weight} onChange={(value) => put(`pools/${index}/weight`, pools.map((one, i) => (i === index ? { ...one, weight: value } : one)))} />
          <Text fz="xs" w={60}>{all === 0 ? '–' : `${Math.round((weight / all) * 1000) / 10} %`}</Text>
          {mayEdit && pools.length > 1 && <ActionIcon aria-label={t('route.dropPool', { name: pool })} onClick={() => put('pools', pools.filter((_, i) => i !== index))}><IconTrash size={16} stroke={1.7} /></ActionIcon>}
        </Group>
      ))}
      {mayEdit && free !== undefined && (
        <ActionIcon mt="xs" aria-label={t('route.addPool')} title={t('route.addPool')} onClick={() => put('pools', [...pools, { pool: free.name, weight: 0 }])} data-testid="route-add-pool"><IconPlus size={16} stroke={1.7} /></ActionIcon>
      )}
    </div>
  )
}

function OnTheWay({ route, pointer, document, onChange }: Part) {
  const { t } = useTranslation()
  const { rewrite, timeouts, mirror, retries } = route
  const putRewrite = (field: keyof Rewrite, value: string | undefined) => {
    const next = withOptional(rewrite ?? {}, field, value)
    onChange(`rewrite/${field}`, withOptional(route, 'rewrite', Object.keys(next).length === 0 ? undefined : next))
  }
  const putTimeout = (field: keyof Timeouts, value: string | undefined) => {
    const next = withOptional(timeouts ?? {}, field, value)
    onChange(`timeouts/${field}`, withOptional(route, 'timeouts', Object.keys(next).length === 0 ? undefined : next))
  }
  const putRetries = <K extends keyof Retries>(field: K, value: Retries[K]) => onChange(`retries/${field}`, { ...route, retries: { ...newRetries, ...retries, [field]: value } })
  const after = retries?.after ?? newRetries.after
  return (
    <>
      <FoldingPart
        title={t('route.rewrite')}
        pointers={[`${pointer}/rewrite`]}
        holds={[rewrite?.prefix !== undefined && t('route.toPrefix'), rewrite?.regex !== undefined && t('route.pathRegex'), rewrite?.host !== undefined && t('route.toHost')]}
      >
        <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
          <TextField mono pointer={`${pointer}/rewrite/prefix`} label={t('route.toPrefix')} hint={t('route.prefixHint')} value={rewrite?.prefix ?? ''} onChange={(value) => putRewrite('prefix', given(value.trim()))} />
          <TextField mono pointer={`${pointer}/rewrite/regex`} label={t('route.pathRegex')} hint={t('route.rewriteRegexHint')} value={rewrite?.regex ?? ''} onChange={(value) => putRewrite('regex', given(value))} />
          <TextField mono pointer={`${pointer}/rewrite/replacement`} label={t('route.replacement')} hint={t('route.replacementHint')} value={rewrite?.replacement ?? ''} onChange={(value) => putRewrite('replacement', given(value.trim()))} />
          <TextField mono pointer={`${pointer}/rewrite/host`} label={t('route.toHost')} hint={t('route.asAskedHint')} value={rewrite?.host ?? ''} onChange={(value) => putRewrite('host', given(value.trim()))} />
        </SimpleGrid>
      </FoldingPart>
      <FoldingPart
        title={t('route.timeoutsAndRetries')}
        pointers={[`${pointer}/timeouts`, `${pointer}/retries`]}
        holds={[...(['request', 'serverIdle', 'tunnel'] as const).map((field) => timeouts?.[field] !== undefined && t(`route.${field}Time`)), retries !== undefined && t('route.retries')]}
      >
        <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
          {(['request', 'serverIdle', 'tunnel'] as const).map((field) => (
            <DurationField key={field} pointer={`${pointer}/timeouts/${field}`} label={t(`route.${field}Time`)} hint={t(`route.${field}TimeHint`)} value={timeouts?.[field] ?? ''} onChange={(value) => putTimeout(field, given(value))} />
          ))}
          <SwitchField pointer={`${pointer}/retries`} label={t('route.retries')} hint={t('route.retriesHint')} value={retries !== undefined} onChange={(value) => onChange('retries', withOptional(route, 'retries', value ? newRetries : undefined))} testId="route-retries" />
          {retries !== undefined && (
            <>
              <NumberField pointer={`${pointer}/retries/attempts`} label={t('route.attempts')} value={retries.attempts} onChange={(value) => putRetries('attempts', value)} />
              {(['connect-failure', 'reset', 'timeout'] as const).map((reason) => (
                <SwitchField key={reason} pointer={`${pointer}/retries/after/${reason}`} label={t(`route.${reason}`)} value={after.includes(reason)} onChange={(value) => putRetries('after', value ? [...after, reason] : after.filter((one) => one !== reason))} />
              ))}
              <ListField pointer={`${pointer}/retries/statuses`} label={t('route.statuses')} hint={t('route.statusesHint')} placeholder="503" values={retries.statuses.map(String)} onChange={(values) => putRetries('statuses', values.map((value) => numberOf(value) ?? 0))} />
              <NumberField pointer={`${pointer}/retries/budgetPercent`} label={t('route.budget')} hint={t('route.budgetHint')} unit="%" value={retries.budgetPercent} onChange={(value) => putRetries('budgetPercent', value)} />
              <NumberField pointer={`${pointer}/retries/maxBodyBytes`} label={t('route.keptBody')} hint={t('route.keptBodyHint')} unit={t('unit.bytes')} value={retries.maxBodyBytes} onChange={(value) => putRetries('maxBodyBytes', value)} />
            </>
          )}
        </SimpleGrid>
      </FoldingPart>
      <FoldingPart title={t('route.mirror')} pointers={[`${pointer}/mirror`]} holds={[mirror !== undefined && `${mirror.pool} ${mirror.percent} %`]}>
        <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
          <ChoiceField
            searchable
            pointer={`${pointer}/mirror/pool`}
            label={t('route.mirrorPool')}
            hint={t('route.mirrorHint')}
            value={mirror?.pool ?? ''}
            choices={[{ value: '', label: t('route.noMirror') }, ...document.pools.map(({ name }) => ({ value: name, label: name }))]}
            onChange={(pool) => onChange('mirror', withOptional(route, 'mirror', pool === '' ? undefined : { percent: 100, maxBodyBytes: 0, ...mirror, pool }))}
          />
          {mirror !== undefined && (
            <>
              <NumberField pointer={`${pointer}/mirror/percent`} label={t('route.share')} unit="%" value={mirror.percent} onChange={(percent) => onChange('mirror/percent', { ...route, mirror: { ...mirror, percent } })} />
              <NumberField pointer={`${pointer}/mirror/maxBodyBytes`} label={t('route.keptBody')} hint={t('route.mirrorBodyHint')} unit={t('unit.bytes')} value={mirror.maxBodyBytes} onChange={(maxBodyBytes) => onChange('mirror/maxBodyBytes', { ...route, mirror: { ...mirror, maxBodyBytes } })} />
            </>
          )}
        </SimpleGrid>
      </FoldingPart>
    </>
  )
}

/** What of the header fields is edited. */
function editLabels(t: TFunction, edits: Edits | undefined): (string | false)[] {
  return (['setRequest', 'removeRequest', 'setResponse', 'removeResponse'] as const).map((field) => (edits?.[field]?.length ?? 0) > 0 && t(`route.${field}`))
}

/** Of a route, or of a listener. `requests`: members are asked at all. */
function HeaderEditFields({ edits: stored, pointer, requests, onChange }: { readonly edits: Edits | undefined; readonly pointer: string; readonly requests: boolean; readonly onChange: (edits: Edits | undefined) => void }) {
  const { t } = useTranslation()
  const edits: Edits = { ...noEdits, ...stored }
  const put = <K extends keyof Edits>(field: K, value: Edits[K]) => {
    const next = { ...edits, [field]: value }
    onChange(Object.values(next).every((list) => list.length === 0) ? undefined : next)
  }
  return (
    <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
      {requests && <Lines pointer={`${pointer}/setRequest`} label={t('route.setRequest')} hint={t('route.fieldsHint')} values={edits.setRequest} write={fieldLines} read={fieldsOf} onChange={(value) => put('setRequest', value)} />}
      {requests && <ListField pointer={`${pointer}/removeRequest`} label={t('route.removeRequest')} hint={t('route.removeHint')} placeholder="X-Debug" values={edits.removeRequest} onChange={(value) => put('removeRequest', value)} />}
      <Lines pointer={`${pointer}/setResponse`} label={t('route.setResponse')} hint={t('route.fieldsHint')} values={edits.setResponse} write={fieldLines} read={fieldsOf} onChange={(value) => put('setResponse', value)} />
      {requests && <ListField pointer={`${pointer}/removeResponse`} label={t('route.removeResponse')} hint={t('route.removeHint')} placeholder="Server" values={edits.removeResponse} onChange={(value) => put('removeResponse', value)} />}
    </SimpleGrid>
  )
}

/** What a listener does with all its requests: how paths are read, a redirect to https, header fields. */
export function ListenerRequests({ listener, pointer, set }: { readonly listener: Listener; readonly pointer: string; readonly set: (field: string, change: (listener: Listener) => Listener) => void }) {
  const { t } = useTranslation()
  const mode = listener.normalizePath ?? 'match'
  return (
    <>
      <SimpleGrid cols={cols} spacing="sm" verticalSpacing="sm">
        <ChoiceField
          pointer={`${pointer}/normalizePath`}
          label={t('route.normalizePath')}
          hint={t(`normalize.${mode}Hint`)}
          value={mode}
          choices={(['match', 'forward', 'off'] as const).map((value) => ({ value, label: t(`normalize.${value}`) }))}
          onChange={(value) => set('normalizePath', (old) => withOptional(old, 'normalizePath', value === 'match' ? undefined : (value as 'forward' | 'off')))}
        />
        <TextField mono pointer={`${pointer}/redirectToHttps`} label={t('route.toHttps')} hint={t('route.toHttpsHint')} placeholder="443" value={String(listener.redirectToHttps ?? '')} onChange={(value) => set('redirectToHttps', (old) => withOptional(old, 'redirectToHttps', numberOf(value)))} testId="listener-redirect-to-https" />
      </SimpleGrid>
      <Heading>{t('route.headerFields')}</Heading>
      <HeaderEditFields requests edits={listener.headers} pointer={`${pointer}/headers`} onChange={(headers) => set('headers', (old) => withOptional(old, 'headers', headers))} />
    </>
  )
}
