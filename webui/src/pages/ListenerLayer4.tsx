/** Part of the editor of a listener: port range, UDP sessions, the PROXY protocol, and its end. */
import { useTranslation } from 'react-i18next'
import { SimpleGrid } from '@mantine/core'
import type { Listener } from '../../../node/api/types.ts'
import { DurationField, ListField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel } from '../draft/Fold.tsx'

const fields = ['portEnd', 'memberPort', 'proxyProtocol', 'trustedSources', 'udpTimeout', 'udpResponses', 'drainTimeout'] as const
type Optional = (typeof fields)[number]

interface Part {
  readonly listener: Listener
  readonly pointer: string
  readonly set: (field: string, change: (listener: Listener) => Listener) => void
}

function isRaw(protocol: Listener['protocol']): boolean {
  return protocol === 'udp' || protocol === 'tcp' || protocol === 'tls-passthrough'
}

/** After a change of the protocol: without the fields here that have no meaning for it. */
export function withoutForeignLayer4(listener: Listener): Listener {
  const rest = { ...listener }
  if (listener.protocol === 'udp') {
    delete rest.proxyProtocol
    delete rest.trustedSources
  } else {
    delete rest.udpTimeout
    delete rest.udpResponses
  }
  if (!isRaw(listener.protocol)) delete rest.memberPort
  return rest
}

export function ListenerLayer4({ listener, pointer, set }: Part) {
  const { t } = useTranslation()
  /** What is left out means the default, and is not written into the document. */
  const put = <F extends Optional>(field: F, value: Listener[F] | undefined) =>
    set(field, (old) => {
      const { [field]: _, ...rest } = old
      return (value === undefined ? rest : { ...rest, [field]: value }) as Listener
    })
  const given = (text: string) => (text === '' ? undefined : text)
  const udp = listener.protocol === 'udp'
  const raw = isRaw(listener.protocol)
  const accepts = listener.proxyProtocol === 'accept'
  const trust = (on: boolean) =>
    set('proxyProtocol', (old) => {
      const { proxyProtocol: _, trustedSources: __, ...rest } = old
      return on ? { ...rest, proxyProtocol: 'accept' } : rest
    })
  return (
    <FoldingPanel
      title={t('layer4.title')}
      note={t('layer4.note')}
      testId="listener-layer4"
      pointers={fields.map((field) => `${pointer}/${field}`)}
      holds={[
        listener.portEnd !== undefined && t('layer4.portEnd'),
        listener.drainTimeout !== undefined && t('layer4.drain'),
        listener.memberPort === 'same' && t('layer4.samePort'),
        listener.udpTimeout !== undefined && t('layer4.udpTimeout'),
        listener.udpResponses !== undefined && t('layer4.udpResponses'),
        accepts && t('layer4.accept'),
      ]}
    >
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }} spacing="sm" verticalSpacing="sm">
        <TextField mono pointer={`${pointer}/portEnd`} label={t('layer4.portEnd')} hint={t('layer4.portEndHint')} value={String(listener.portEnd ?? '')} onChange={(value) => put('portEnd', portOf(value.trim()))} testId="listener-port-end" />
        <DurationField pointer={`${pointer}/drainTimeout`} label={t('layer4.drain')} hint={t('layer4.drainHint')} value={listener.drainTimeout ?? ''} onChange={(value) => put('drainTimeout', given(value))} />
        {raw && (
          <SwitchField pointer={`${pointer}/memberPort`} label={t('layer4.samePort')} hint={t('layer4.samePortHint')} value={listener.memberPort === 'same'} onChange={(on) => put('memberPort', on ? 'same' : undefined)} />
        )}
        {udp && (
          <>
            <DurationField pointer={`${pointer}/udpTimeout`} label={t('layer4.udpTimeout')} hint={t('layer4.udpTimeoutHint')} value={listener.udpTimeout ?? ''} onChange={(value) => put('udpTimeout', given(value))} testId="listener-udp-timeout" />
            <NumberField pointer={`${pointer}/udpResponses`} label={t('layer4.udpResponses')} hint={t('layer4.udpResponsesHint')} value={listener.udpResponses ?? 0} onChange={(value) => put('udpResponses', value === 0 ? undefined : value)} />
          </>
        )}
        {!udp && <SwitchField pointer={`${pointer}/proxyProtocol`} label={t('layer4.accept')} hint={t('layer4.acceptHint')} value={accepts} onChange={trust} testId="listener-proxy-protocol" />}
        {accepts && (
          <ListField pointer={`${pointer}/trustedSources`} label={t('layer4.trusted')} hint={t('layer4.trustedHint')} placeholder="10.0.0.0/8" values={listener.trustedSources ?? []} onChange={(values) => put('trustedSources', values.length === 0 ? undefined : values)} />
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}

/** What is no number stays in the draft, so that the checks can say so. */
function portOf(text: string): number | undefined {
  if (text === '') return undefined
  return /^[0-9]{1,6}$/.test(text) ? Number(text) : (text as unknown as number)
}
