/** Changing the own password: as a page when it must be changed, as a dialog when one wants to. */
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Group, Modal, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core'
import { useForm } from '@mantine/form'
import { ApiFailure } from '../api/client.ts'
import { changePassword, signOut } from '../api/session.ts'
import { notify } from '../display/notify.ts'
import { useFailureText } from '../display/Panel.tsx'
import { LanguageMenu, Mark, ThemeMenu } from '../shell/Menus.tsx'

/** Fewer are refused by the node. */
export const minimumPasswordLength = 10

export function ChangePassword({ name }: { readonly name: string }) {
  const { t } = useTranslation()
  useEffect(() => {
    document.title = `${t('password.mustTitle')} · Haechi`
  }, [t])
  return (
    <main className="h-sign-in">
      <Group className="h-sign-in-tools" gap={4}>
        <LanguageMenu />
        <ThemeMenu />
      </Group>
      <Paper className="h-sign-in-card">
        <Stack gap="sm">
          <Group gap="xs">
            <Mark />
            <Title order={1}>{t('password.mustTitle')}</Title>
          </Group>
          <Text c="dimmed">{t('password.mustNext')}</Text>
          <PasswordForm name={name} cancel={t('header.signOut')} onCancel={() => void signOut()} done={() => undefined} />
        </Stack>
      </Paper>
    </main>
  )
}

export function ChangePasswordDialog(props: { readonly name: string; readonly opened: boolean; readonly close: () => void }) {
  const { t } = useTranslation()
  return (
    <Modal opened={props.opened} onClose={props.close} title={t('password.title')} closeButtonProps={{ 'aria-label': t('action.close') }}>
      <Text c="dimmed" mb="sm">
        {t('password.note')}
      </Text>
      <PasswordForm name={props.name} cancel={t('action.cancel')} onCancel={props.close} done={props.close} />
    </Modal>
  )
}

function PasswordForm(props: { readonly name: string; readonly cancel: string; readonly onCancel: () => void; readonly done: () => void }) {
  const { t } = useTranslation()
  const failureText = useFailureText()
  const [busy, setBusy] = useState(false)
  const form = useForm({
    initialValues: { current: '', next: '', again: '' },
    validate: {
      next: (next, { current }) =>
        next.length < minimumPasswordLength ? t('password.short', { min: minimumPasswordLength }) : next === current ? t('password.same') : null,
      again: (again, { next }) => (again === next ? null : t('password.differs')),
    },
  })
  const submit = form.onSubmit(async ({ current, next }) => {
    setBusy(true)
    try {
      await changePassword(current, next)
      notify(t('password.done'))
      props.done()
    } catch (error) {
      const wrong = error instanceof ApiFailure && (error.status === 401 || error.status === 403)
      const faults = error instanceof ApiFailure ? (error.problem?.problems ?? []).map((problem) => problem.message).join(' ') : ''
      if (wrong) form.setFieldError('current', t('password.wrong'))
      else form.setFieldError('next', faults === '' ? failureText(error) : faults)
    } finally {
      setBusy(false)
    }
  })
  const toggle = { visibilityToggleButtonProps: { 'aria-label': t('signIn.show') } }
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <input type="text" name="username" autoComplete="username" value={props.name} readOnly hidden />
        <PasswordInput label={t('password.current')} autoComplete="current-password" data-autofocus {...toggle} {...form.getInputProps('current')} />
        <PasswordInput
          label={t('password.next')}
          description={t('password.rule', { min: minimumPasswordLength })}
          autoComplete="new-password"
          {...toggle}
          {...form.getInputProps('next')}
        />
        <PasswordInput label={t('password.again')} autoComplete="new-password" {...toggle} {...form.getInputProps('again')} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={props.onCancel}>
            {props.cancel}
          </Button>
          <Button type="submit" loading={busy} data-testid="change-password">
            {t('password.action')}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
