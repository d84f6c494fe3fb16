/** Certificates: what there is, when it expires, and putting new ones in their place. Keys go in and never come back. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Alert, Button, FileButton, Group, List, Modal, PasswordInput, SegmentedControl, Stack, Text, Textarea, TextInput } from '@mantine/core'
import { IconFileUpload, IconPlus } from '@tabler/icons-react'
import type { CertificateResult, CertificateView } from '../../../node/api/types.ts'
import { call } from '../api/client.ts'
import { queries, useCertificates } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { Confirm } from '../display/Confirm.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { notify } from '../display/notify.ts'
import { useFormat } from '../display/format.ts'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status, type StatusKind } from '../display/Status.tsx'

type Dialog = { readonly kind: 'put'; readonly known: CertificateView | undefined } | { readonly kind: 'remove'; readonly known: CertificateView }

const dayMs = 86_400_000
const kinds: Readonly<Record<CertificateView['state'], StatusKind>> = { ok: 'ok', 'not-yet-valid': 'info', soon: 'warn', urgent: 'bad', expired: 'bad' }

export function Certificates() {
  const { t } = useTranslation()
  const format = useFormat()
  const certificates = useCertificates()
  const [dialog, setDialog] = useState<Dialog>()
  const close = () => setDialog(undefined)
  const add = () => setDialog({ kind: 'put', known: undefined })
  const columns: Column<CertificateView>[] = [
    { key: 'name', title: t('column.name'), cell: ({ name, kind }) => <span className="h-inline"><strong>{name}</strong>{kind === 'authority' && <span className="h-tag">{t('certificate.authority')}</span>}</span> },
    { key: 'for', title: t('certificate.for'), cell: (one) => <Names names={namesOf(one)} /> },
    { key: 'issuer', title: t('certificate.issuer'), wide: true, cell: (one) => <span className="h-dim">{one.certificates[0]?.issuer ?? ''}</span> },
    { key: 'left', title: t('certificate.left'), cell: (one) => <Left certificate={one} now={certificates.dataUpdatedAt} /> },
    { key: 'until', title: t('certificate.until'), wide: true, cell: (one) => <span className="h-nowrap" title={format.instant(one.notAfterEpochMs)}>{format.instant(one.notAfterEpochMs).slice(0, 10)}</span> },
    { key: 'used', title: t('certificate.usedBy'), cell: ({ usedBy }) => (usedBy.length === 0 ? <span className="h-dim">{t('certificate.unused')}</span> : <span title={usedBy.join('\n')}>{t('certificate.uses', { count: usedBy.length })}</span>) },
    {
      key: 'tools',
      title: <span className="h-hidden">{t('column.actions')}</span>,
      cell: (known) => (
        <Group gap={6} justify="flex-end" wrap="nowrap">
          <RoleButton role="operator" variant="default" size="compact-xs" label={t('certificate.replaceOf', { name: known.name })} onClick={() => setDialog({ kind: 'put', known })}>{t('certificate.replace')}</RoleButton>
          <RoleButton role="operator" variant="default" size="compact-xs" label={t('certificate.removeOf', { name: known.name })} blocked={known.usedBy.length > 0 ? t('certificate.inUse', { field: known.usedBy[0] ?? '' }) : undefined} onClick={() => setDialog({ kind: 'remove', known })}>{t('action.remove')}</RoleButton>
        </Group>
      ),
    },
  ]
  return (
    <>
      <PageHead title={t('nav.certificates')} note={t('certificate.note')}>
        <RoleButton role="operator" leftSection={<IconPlus size={15} aria-hidden />} onClick={add} testId="new-certificate">{t('certificate.add')}</RoleButton>
      </PageHead>
      <Panel flush>
        {certificates.error !== null ? <FailureNote error={certificates.error} retry={() => void certificates.refetch()} />
        : certificates.isPending ? <Waiting />
        : certificates.data.length === 0 ? <EmptyState title={t('certificate.none')} next={t('certificate.noneNext')} />
        : <DataTable caption={t('nav.certificates')} columns={columns} rows={certificates.data} rowKey={({ name }) => name} searchText={(one) => `${one.name} ${namesOf(one).join(' ')} ${one.certificates[0]?.issuer ?? ''}`} minWidth={820} testId="certificate-list" />}
      </Panel>
      <Modal opened={dialog?.kind === 'put'} onClose={close} size="lg" title={dialog?.known === undefined ? t('certificate.add') : t('certificate.replaceTitle', { name: dialog.known.name })} closeButtonProps={{ 'aria-label': t('action.close') }}>
        {dialog?.kind === 'put' && <PutForm known={dialog.known} taken={(certificates.data ?? []).map(({ name }) => name)} close={close} />}
      </Modal>
      {dialog?.kind === 'remove' && (
        <Confirm
          opened
          title={t('certificate.removeTitle', { name: dialog.known.name })}
          action={t('certificate.removeAction')}
          dangerous
          close={close}
          run={async () => {
            await call('DELETE', `/certificates/${encodeURIComponent(dialog.known.name)}`, { ifMatch: dialog.known.version })
            refresh()
          }}
        >
          <Text>{dialog.known.kind === 'key-pair' ? t('certificate.removePair') : t('certificate.removeAuthority')}</Text>
        </Confirm>
      )}
    </>
  )
}

function refresh(): void {
  for (const key of ['certificates', 'audit']) void queries.invalidateQueries({ queryKey: [key] })
}

/** Whom it is for: hosts, else subjects. */
function namesOf({ kind, certificates }: CertificateView): readonly string[] {
  const first = certificates[0]
  if (kind === 'key-pair' && first !== undefined && first.names.length > 0) return first.names
  return certificates.slice(0, kind === 'key-pair' ? 1 : undefined).map(({ subject }) => subject)
}

function Names({ names }: { readonly names: readonly string[] }) {
  const { t } = useTranslation()
  return <span title={names.join('\n')}>{names.slice(0, 2).join(', ')}{names.length > 2 && <span className="h-dim"> {t('certificate.more', { count: names.length - 2 })}</span>}</span>
}

function Left({ certificate: { state, notAfterEpochMs, revocationsNextUpdateEpochMs }, now }: { readonly certificate: CertificateView; readonly now: number }) {
  const { t } = useTranslation()
  const days = Math.floor((notAfterEpochMs - now) / dayMs)
  const text = state === 'expired' ? t('certificate.expired') : state === 'not-yet-valid' ? t('certificate.notYet') : t('certificate.days', { count: days })
  return (
    <>
      <span className="h-nowrap"><Status kind={kinds[state]}>{text}</Status></span>
      {revocationsNextUpdateEpochMs !== null && revocationsNextUpdateEpochMs <= now && <Status kind="bad">{t('certificate.listOld')}</Status>}
    </>
  )
}

type Form = 'pem' | 'pkcs12' | 'authority'

function PutForm({ known, taken, close }: { readonly known: CertificateView | undefined; readonly taken: readonly string[]; readonly close: () => void }) {
  const { t } = useTranslation()
  const [name, setName] = useState(known?.name ?? '')
  const [form, setForm] = useState<Form>(known?.kind === 'authority' ? 'authority' : 'pem')
  const [texts, setTexts] = useState<{ readonly [field: string]: string }>({})
  const [passphrase, setPassphrase] = useState('')
  const [file, setFile] = useState<File>()
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<unknown>()
  const [warnings, setWarnings] = useState<readonly string[]>([])
  const text = (field: string): string => texts[field] ?? ''
  const set = (field: string, value: string) => setTexts((before) => ({ ...before, [field]: value }))
  const nameFault = known !== undefined || name === '' ? undefined : !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name) ? t('certificate.nameRule') : taken.includes(name) ? t('check.duplicateName', { value: name }) : undefined
  const complete = form === 'pkcs12' ? file !== undefined : text(form === 'authority' ? 'certificates' : 'certificate') !== ''
  const given = (...fields: string[]) => Object.fromEntries(fields.flatMap((field) => (text(field).trim() === '' ? [] : [[field, text(field)]])))
  const run = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      const body =
        form === 'authority' ? { kind: 'authority', ...given('certificates', 'revocations') }
        : { kind: 'key-pair', ...(passphrase === '' ? {} : { passphrase }), ...(form === 'pkcs12' ? { pkcs12: await base64Of(file) } : given('certificate', 'key')) }
      const result = await call<CertificateResult>('PUT', `/certificates/${encodeURIComponent(name)}`, { body, ...(known === undefined ? {} : { ifMatch: known.version }) })
      refresh()
      notify(t('certificate.stored', { name }))
      if (result.warnings.length === 0) close()
      else setWarnings(result.warnings)
    } catch (error) {
      setFailure(error)
    } finally {
      setBusy(false)
    }
  }
  if (warnings.length > 0) {
    return (
      <Stack gap="sm">
        <Alert color="yellow" title={t('certificate.warnings')}>
          <List size="sm">{warnings.map((warning) => <List.Item key={warning}>{warning}</List.Item>)}</List>
        </Alert>
        <Group justify="flex-end"><Button onClick={close} data-autofocus>{t('action.close')}</Button></Group>
      </Stack>
    )
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (complete && name !== '' && nameFault === undefined) void run()
      }}
    >
      <Stack gap="sm">
        {known === undefined && (
          <TextInput label={t('column.name')} description={t('certificate.nameHint')} value={name} error={nameFault} onChange={(event) => setName(event.currentTarget.value)} autoComplete="off" data-autofocus data-testid="certificate-name" />
        )}
        {known?.kind !== 'authority' && (
          <SegmentedControl
            aria-label={t('certificate.form')}
            value={form}
            onChange={(value) => setForm(value as Form)}
            data={[{ value: 'pem', label: t('certificate.pem') }, { value: 'pkcs12', label: t('certificate.pkcs12') }, ...(known === undefined ? [{ value: 'authority', label: t('certificate.authority') }] : [])]}
          />
        )}
        {form === 'pem' && <PemField label={t('certificate.chain')} hint={t('certificate.chainHint')} value={text('certificate')} onChange={(value) => set('certificate', value)} testId="certificate-pem" />}
        {form === 'pem' && <PemField label={t('certificate.key')} hint={known === undefined ? t('certificate.keyHint') : t('certificate.keyStays')} value={text('key')} onChange={(value) => set('key', value)} testId="certificate-key" />}
        {form === 'pkcs12' && (
          <Group gap="xs" align="center">
            <FileButton accept=".p12,.pfx,application/x-pkcs12" onChange={(chosen) => setFile(chosen ?? undefined)}>
              {(props) => <Button {...props} variant="default" leftSection={<IconFileUpload size={15} aria-hidden />}>{t('certificate.chooseFile')}</Button>}
            </FileButton>
            <Text size="sm" c={file === undefined ? 'dimmed' : 'inherit'}>{file?.name ?? t('certificate.noFile')}</Text>
          </Group>
        )}
        {form !== 'authority' && <PasswordInput label={t('certificate.passphrase')} description={t('certificate.passphraseHint')} autoComplete="off" value={passphrase} onChange={(event) => setPassphrase(event.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': t('signIn.show') }} />}
        {form === 'authority' && <PemField label={t('certificate.authorities')} hint={t('certificate.authoritiesHint')} value={text('certificates')} onChange={(value) => set('certificates', value)} testId="certificate-authorities" />}
        {form === 'authority' && <PemField label={t('certificate.revocations')} hint={t('certificate.revocationsHint')} value={text('revocations')} onChange={(value) => set('revocations', value)} testId="certificate-revocations" />}
        {form !== 'authority' && <Text size="xs" c="dimmed">{t('certificate.keyNote')}</Text>}
        {failure !== undefined && <FailureNote error={failure} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>{t('action.cancel')}</Button>
          <Button type="submit" loading={busy} disabled={!complete || name === '' || nameFault !== undefined} data-testid="certificate-put">{known === undefined ? t('certificate.add') : t('certificate.replace')}</Button>
        </Group>
      </Stack>
    </form>
  )
}

/** PEM to paste or to take from a file. */
function PemField(props: { readonly label: string; readonly hint: string; readonly value: string; readonly onChange: (value: string) => void; readonly testId: string }) {
  const { t } = useTranslation()
  return (
    <div>
      <Textarea
        label={props.label}
        description={props.hint}
        value={props.value}
        onChange={(event) => props.onChange(event.currentTarget.value)}
        minRows={3}
        maxRows={8}
        autosize
        spellCheck={false}
        autoComplete="off"
        placeholder="-----BEGIN …-----"
        styles={{ input: { fontFamily: 'monospace', fontSize: 12 } }}
        data-testid={props.testId}
      />
      <FileButton onChange={(file) => void file?.text().then(props.onChange)} accept=".pem,.crt,.cer,.key,.crl,.txt">
        {(button) => <Button {...button} variant="subtle" size="compact-xs" mt={4} leftSection={<IconFileUpload size={13} aria-hidden />} aria-label={t('certificate.fileFor', { field: props.label })}>{t('certificate.chooseFile')}</Button>}
      </FileButton>
    </div>
  )
}

async function base64Of(file: File | undefined): Promise<string> {
  if (file === undefined) return ''
  let text = ''
  for (const byte of new Uint8Array(await file.arrayBuffer())) text += String.fromCharCode(byte)
  return btoa(text)
}
