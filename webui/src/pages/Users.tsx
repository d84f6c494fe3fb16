/** Users and their roles; for administrators. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Group, Modal, NativeSelect, PasswordInput, Stack, Text, TextInput } from '@mantine/core'
import { IconPlus } from '@tabler/icons-react'
import { useForm } from '@mantine/form'
import type { UserRole, UserView } from '../../../node/api/types.ts'
import { call } from '../api/client.ts'
import { queries, useUsers } from '../api/queries.ts'
import { currentUserName, useMay } from '../api/session.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { Confirm } from '../display/Confirm.tsx'
import { DataTable, type Column } from '../display/DataTable.tsx'
import { notify } from '../display/notify.ts'
import { EmptyState, FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { minimumPasswordLength } from './ChangePassword.tsx'

const roles: readonly UserRole[] = ['viewer', 'operator', 'administrator']

type Dialog = { readonly kind: 'add' } | { readonly kind: 'role' | 'password' | 'remove'; readonly user: UserView }

export function Users() {
  const { t } = useTranslation()
  const may = useMay('administrator')
  const users = useUsers(may)
  const [dialog, setDialog] = useState<Dialog>()
  const close = () => setDialog(undefined)
  const own = currentUserName()
  const columns: Column<UserView>[] = [
    { key: 'name', title: t('column.name'), cell: (user) => <span className="h-inline"><strong>{user.name}</strong>{user.name === own && <span className="h-tag">{t('user.you')}</span>}</span> },
    { key: 'role', title: t('user.role'), cell: (user) => <>{t(`role.${user.role}`)} <span className="h-dim">{t(`role.${user.role}Hint`)}</span></> },
    { key: 'password', title: t('user.password'), cell: (user) => (user.mustChangePassword ? <Status kind="warn">{t('user.mustChange')}</Status> : <Status kind="ok">{t('user.ownPassword')}</Status>) },
    {
      key: 'tools',
      title: <span className="h-hidden">{t('column.actions')}</span>,
      cell: (user) => (
        <Group gap={6} justify="flex-end" wrap="nowrap">
          <Button variant="default" size="compact-xs" onClick={() => setDialog({ kind: 'role', user })} aria-label={t('user.roleOf', { name: user.name })}>{t('user.changeRole')}</Button>
          <Button variant="default" size="compact-xs" onClick={() => setDialog({ kind: 'password', user })} aria-label={t('user.resetOf', { name: user.name })}>{t('user.reset')}</Button>
          <RoleButton role="administrator" variant="default" size="compact-xs" label={t('user.removeOf', { name: user.name })} blocked={user.name === own ? t('user.notYourself') : undefined} onClick={() => setDialog({ kind: 'remove', user })}>{t('action.remove')}</RoleButton>
        </Group>
      ),
    },
  ]
  return (
    <>
      <PageHead title={t('nav.users')} note={t('user.note')}>
        <RoleButton role="administrator" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setDialog({ kind: 'add' })} testId="new-user">{t('user.add')}</RoleButton>
      </PageHead>
      <Panel flush>
        {!may ? <EmptyState title={t('user.notAllowed')} next={t('role.needed', { role: t('role.administrator') })} />
        : users.error !== null ? <FailureNote error={users.error} retry={() => void users.refetch()} />
        : users.isPending ? <Waiting />
        : <DataTable caption={t('nav.users')} columns={columns} rows={users.data} rowKey={(user) => user.name} searchText={(user) => `${user.name} ${user.role}`} minWidth={760} testId="user-list" />}
      </Panel>
      <AddUser opened={dialog?.kind === 'add'} users={users.data ?? []} close={close} />
      {dialog?.kind === 'role' && <ChangeRole user={dialog.user} close={close} />}
      {dialog?.kind === 'password' && <ResetPassword user={dialog.user} close={close} />}
      {dialog?.kind === 'remove' && (
        <Confirm opened title={t('user.removeTitle', { name: dialog.user.name })} action={t('user.removeAction')} dangerous close={close} run={async () => { await call('DELETE', `/users/${encodeURIComponent(dialog.user.name)}`); refresh() }}>
          <Text>{t('user.removeText')}</Text>
        </Confirm>
      )}
    </>
  )
}

function refresh(): void {
  void queries.invalidateQueries({ queryKey: ['users'] })
  void queries.invalidateQueries({ queryKey: ['audit'] })
}

function RoleSelect({ value, onChange }: { readonly value: UserRole; readonly onChange: (role: UserRole) => void }) {
  const { t } = useTranslation()
  return (
    <NativeSelect label={t('user.role')} description={t(`role.${value}Hint`)} value={value} onChange={(event) => onChange(event.currentTarget.value as UserRole)} data={roles.map((role) => ({ value: role, label: t(`role.${role}`) }))} />
  )
}

function AddUser({ opened, users, close }: { readonly opened: boolean; readonly users: readonly UserView[]; readonly close: () => void }) {
  const { t } = useTranslation()
  return (
    <Modal opened={opened} onClose={close} title={t('user.add')} closeButtonProps={{ 'aria-label': t('action.close') }}>
      {opened && <AddUserForm users={users} close={close} />}
    </Modal>
  )
}

function AddUserForm({ users, close }: { readonly users: readonly UserView[]; readonly close: () => void }) {
  const { t } = useTranslation()
  const [failure, setFailure] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  const form = useForm({
    initialValues: { name: '', role: 'operator' as UserRole, password: '' },
    validate: {
      name: (name) =>
        !/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/.test(name) ? t('user.nameRule') : users.some((user) => user.name === name) ? t('check.duplicateName', { value: name }) : null,
      password: (password) => (password.length < minimumPasswordLength ? t('password.short', { min: minimumPasswordLength }) : null),
    },
  })
  const submit = form.onSubmit(async ({ name, role, password }) => {
    setBusy(true)
    setFailure(undefined)
    try {
      await call('PUT', `/users/${encodeURIComponent(name)}`, { body: { role, password, mustChangePassword: true } })
      refresh()
      notify(t('user.added', { name }))
      close()
    } catch (error) {
      setFailure(error)
    } finally {
      setBusy(false)
    }
  })
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <TextInput label={t('column.name')} description={t('user.nameHint')} autoComplete="off" data-autofocus data-testid="user-name" {...form.getInputProps('name')} />
        <RoleSelect value={form.values.role} onChange={(role) => form.setFieldValue('role', role)} />
        <PasswordInput label={t('user.firstPassword')} description={t('user.firstPasswordHint', { min: minimumPasswordLength })} autoComplete="new-password" visibilityToggleButtonProps={{ 'aria-label': t('signIn.show') }} {...form.getInputProps('password')} />
        {failure !== undefined && <FailureNote error={failure} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>{t('action.cancel')}</Button>
          <Button type="submit" loading={busy} data-testid="user-add">{t('user.add')}</Button>
        </Group>
      </Stack>
    </form>
  )
}

function ChangeRole({ user, close }: { readonly user: UserView; readonly close: () => void }) {
  const { t } = useTranslation()
  const [role, setRole] = useState(user.role)
  return (
    <Confirm opened title={t('user.roleTitle', { name: user.name })} action={t('user.changeRole')} disabled={role === user.role} close={close} run={async () => { await call('PUT', `/users/${encodeURIComponent(user.name)}`, { body: { role } }); refresh() }}>
      <RoleSelect value={role} onChange={setRole} />
      <Text c="dimmed">{t('user.sessionsEnd')}</Text>
    </Confirm>
  )
}

function ResetPassword({ user, close }: { readonly user: UserView; readonly close: () => void }) {
  const { t } = useTranslation()
  const [password, setPassword] = useState('')
  const short = password !== '' && password.length < minimumPasswordLength
  return (
    <Confirm opened title={t('user.resetTitle', { name: user.name })} action={t('user.reset')} disabled={password.length < minimumPasswordLength} close={close} run={async () => { await call('PUT', `/users/${encodeURIComponent(user.name)}`, { body: { password, mustChangePassword: true } }); refresh() }}>
      <PasswordInput label={t('user.firstPassword')} description={t('user.firstPasswordHint', { min: minimumPasswordLength })} error={short ? t('password.short', { min: minimumPasswordLength }) : undefined} autoComplete="new-password" value={password} onChange={(event) => setPassword(event.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': t('signIn.show') }} data-autofocus />
      <Text c="dimmed">{t('user.sessionsEnd')}</Text>
    </Confirm>
  )
}
