/** Parts of the editors of listeners and pools: TLS that ends at a listener, and TLS to members. */
import { useTranslation } from 'react-i18next'
import { MultiSelect, SimpleGrid } from '@mantine/core'
import type { Listener, Pool } from '../../../node/api/types.ts'
import { useCertificates } from '../api/queries.ts'
import { Panel } from '../display/Panel.tsx'
import { useEditing, useProblem } from '../draft/document.tsx'
import { ChoiceField, DurationField, ListField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel } from '../draft/Fold.tsx'
import { editPool, withOptional } from '../draft/operations.ts'

type ListenerTls = NonNullable<Listener['tls']>
type PoolTls = NonNullable<Pool['tls']>

const newListenerTls: ListenerTls = {
  certificates: [], strictSni: false, profile: 'compatible', alpn: [], sessionTickets: true, clientAuth: { mode: 'none', forwardHeaders: false },
  handshakeTimeout: '10s', maxHandshakes: 1000,
}
const newPoolTls: PoolTls = { enabled: true, verify: true, serverName: '', alpn: [], sessionReuse: true, profile: 'compatible' }
const profiles = ['modern', 'compatible'] as const
const none = ''

/** With another protocol: https begins with TLS, and where TLS has no meaning it goes. */
export function withProtocol(listener: Listener, protocol: Listener['protocol']): Listener {
  const tls = protocol === 'https' ? (listener.tls ?? newListenerTls) : protocol === 'tcp' ? listener.tls : undefined
  return withOptional({ ...listener, protocol }, 'tls', tls)
}

/** Names in the store; one that is not there stays to be seen. */
function useNames(kind: 'key-pair' | 'authority', chosen: readonly string[]): string[] {
  const { data } = useCertificates()
  const known = (data ?? []).filter((one) => one.kind === kind).map(({ name }) => name)
  return [...new Set([...known, ...chosen.filter((name) => name !== none)])].sort()
}

interface Part {
  readonly listener: Listener
  readonly pointer: string
  readonly set: (field: string, change: (listener: Listener) => Listener) => void
}

export function ListenerTlsPanel({ listener, pointer, set }: Part) {
  const { t } = useTranslation()
  const { tls } = listener
  if (listener.protocol !== 'https' && listener.protocol !== 'tcp') return null
  return (
    <Panel title={t('tls.title')} note={t('tls.note')} testId="listener-tls">
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="sm" verticalSpacing="sm">
        {listener.protocol === 'tcp' && (
          <SwitchField pointer={`${pointer}/tls`} label={t('tls.ends')} hint={t('tls.endsHint')} value={tls !== undefined} onChange={(on) => set('tls', (old) => withOptional(old, 'tls', on ? newListenerTls : undefined))} />
        )}
        {tls !== undefined && <Termination tls={tls} listener={listener} pointer={`${pointer}/tls`} put={(field, next) => set(`tls/${field}`, (old) => ({ ...old, tls: next }))} />}
      </SimpleGrid>
    </Panel>
  )
}

function Termination({ tls, listener, pointer, put }: { readonly tls: ListenerTls; readonly listener: Listener; readonly pointer: string; readonly put: (field: string, tls: ListenerTls) => void }) {
  const { t } = useTranslation()
  const { mayEdit } = useEditing()
  const problemOf = useProblem()
  const pairs = useNames('key-pair', tls.certificates)
  const authorities = useNames('authority', [tls.clientAuth.authority ?? none])
  const https = listener.protocol === 'https'
  const { clientAuth } = tls
  const auth = (field: string, next: ListenerTls['clientAuth']) => put(`clientAuth/${field}`, { ...tls, clientAuth: next })
  const fault = problemOf(`${pointer}/certificates`) ?? tls.certificates.map((_, at) => problemOf(`${pointer}/certificates/${at}`)).find((text) => text !== undefined)
  return (
    <>
      <MultiSelect
        label={t('tls.certificates')}
        description={t('tls.certificatesHint')}
        data={pairs}
        value={[...tls.certificates]}
        error={fault}
        disabled={!mayEdit}
        searchable
        nothingFoundMessage={t('table.noMatch')}
        onChange={(certificates) => put('certificates', { ...tls, certificates })}
        data-testid="tls-certificates"
      />
      <ChoiceField pointer={`${pointer}/profile`} label={t('tls.profile')} hint={t(`tls.${tls.profile}Hint`)} value={tls.profile} choices={profiles.map((value) => ({ value, label: t(`tls.${value}`) }))} onChange={(value) => put('profile', { ...tls, profile: value as ListenerTls['profile'] })} />
      <SwitchField pointer={`${pointer}/strictSni`} label={t('tls.strict')} hint={t('tls.strictHint')} value={tls.strictSni} onChange={(strictSni) => put('strictSni', { ...tls, strictSni })} />
      <SwitchField pointer={`${pointer}/sessionTickets`} label={t('tls.tickets')} hint={t('tls.ticketsHint')} value={tls.sessionTickets} onChange={(sessionTickets) => put('sessionTickets', { ...tls, sessionTickets })} />
      {!https && <ListField pointer={`${pointer}/alpn`} label={t('tls.alpn')} hint={t('tls.alpnHint')} placeholder="mqtt" values={tls.alpn} onChange={(alpn) => put('alpn', { ...tls, alpn })} />}
      <ChoiceField
        pointer={`${pointer}/clientAuth/mode`}
        label={t('tls.clients')}
        hint={t(`tls.clients-${clientAuth.mode}Hint`)}
        value={clientAuth.mode}
        choices={(['none', 'optional', 'required'] as const).map((value) => ({ value, label: t(`tls.clients-${value}`) }))}
        onChange={(value) => auth('mode', value === 'none' ? { mode: 'none', forwardHeaders: false } : { ...clientAuth, mode: value as 'optional' | 'required' })}
        testId="tls-client-auth"
      />
      {clientAuth.mode !== 'none' && (
        <ChoiceField pointer={`${pointer}/clientAuth/authority`} label={t('tls.authority')} hint={t('tls.clientAuthorityHint')} value={clientAuth.authority ?? none} searchable choices={authorities.map((name) => ({ value: name, label: name }))} onChange={(authority) => auth('authority', { ...clientAuth, authority })} />
      )}
      {clientAuth.mode !== 'none' && https && (
        <SwitchField pointer={`${pointer}/clientAuth/forwardHeaders`} label={t('tls.forward')} hint={t('tls.forwardHint')} value={clientAuth.forwardHeaders} onChange={(forwardHeaders) => auth('forwardHeaders', { ...clientAuth, forwardHeaders })} />
      )}
      <DurationField pointer={`${pointer}/handshakeTimeout`} label={t('tls.handshake')} hint={t('tls.handshakeHint')} value={tls.handshakeTimeout} onChange={(handshakeTimeout) => put('handshakeTimeout', { ...tls, handshakeTimeout })} />
      <NumberField pointer={`${pointer}/maxHandshakes`} label={t('tls.handshakes')} hint={t('tls.handshakesHint')} value={tls.maxHandshakes} onChange={(maxHandshakes) => put('maxHandshakes', { ...tls, maxHandshakes })} />
    </>
  )
}

export function PoolTlsPanel({ pool, pointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const { tls } = pool
  const on = tls?.enabled ?? false
  const pairs = useNames('key-pair', [tls?.certificate ?? none])
  const authorities = useNames('authority', [tls?.authority ?? none])
  const put = (field: string, next: PoolTls | undefined) => edit(`${pointer}/tls/${field}`, editPool(pool.name, (old) => withOptional(old, 'tls', next)))
  return (
    <FoldingPanel title={t('tls.toMembers')} note={t('tls.toMembersNote')} testId="pool-tls" pointers={[`${pointer}/tls`]} holds={[on && t('tls.on')]}>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
        <SwitchField
          pointer={`${pointer}/tls/enabled`}
          label={t('tls.on')}
          hint={t('tls.onHint')}
          value={on}
          onChange={(enabled) => put('enabled', tls === undefined ? newPoolTls : { ...tls, enabled })}
          testId="pool-tls-enabled"
        />
        {tls !== undefined && on && (
          <>
            <SwitchField pointer={`${pointer}/tls/verify`} label={t('tls.verify')} hint={t('tls.verifyHint')} value={tls.verify} onChange={(verify) => put('verify', verify ? { ...tls, verify } : withOptional({ ...tls, verify }, 'authority', undefined))} />
            {tls.verify && (
              <ChoiceField
                pointer={`${pointer}/tls/authority`}
                label={t('tls.authority')}
                hint={t('tls.memberAuthorityHint')}
                value={tls.authority ?? none}
                choices={[{ value: none, label: t('tls.system') }, ...authorities.map((name) => ({ value: name, label: name }))]}
                onChange={(name) => put('authority', withOptional(tls, 'authority', name === none ? undefined : name))}
              />
            )}
            <TextField mono pointer={`${pointer}/tls/serverName`} label={t('tls.serverName')} hint={t('tls.serverNameHint')} placeholder="web.example.com" value={tls.serverName} onChange={(serverName) => put('serverName', { ...tls, serverName: serverName.trim() })} />
            <ChoiceField
              pointer={`${pointer}/tls/certificate`}
              label={t('tls.certificate')}
              hint={t('tls.certificateHint')}
              value={tls.certificate ?? none}
              choices={[{ value: none, label: t('tls.clients-none') }, ...pairs.map((name) => ({ value: name, label: name }))]}
              onChange={(name) => put('certificate', withOptional(tls, 'certificate', name === none ? undefined : name))}
            />
            <ChoiceField pointer={`${pointer}/tls/profile`} label={t('tls.profile')} hint={t(`tls.${tls.profile}Hint`)} value={tls.profile} choices={profiles.map((value) => ({ value, label: t(`tls.${value}`) }))} onChange={(value) => put('profile', { ...tls, profile: value as PoolTls['profile'] })} />
            <ListField pointer={`${pointer}/tls/alpn`} label={t('tls.alpn')} hint={t('tls.memberAlpnHint')} placeholder="http/1.1" values={tls.alpn} onChange={(alpn) => put('alpn', { ...tls, alpn })} />
            <SwitchField pointer={`${pointer}/tls/sessionReuse`} label={t('tls.reuse')} hint={t('tls.reuseHint')} value={tls.sessionReuse} onChange={(sessionReuse) => put('sessionReuse', { ...tls, sessionReuse })} />
          </>
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}
