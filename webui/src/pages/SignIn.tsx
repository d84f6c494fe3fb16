/** Sign-in. Says what went wrong and, when there were too many attempts, how long to wait. */
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Alert, Button, Group, Paper, PasswordInput, Stack, Text, TextInput, Title } from '@mantine/core'
import { useForm } from '@mantine/form'
import { ApiFailure } from '../api/client.ts'
import { signIn } from '../api/session.ts'
import { useFailureText } from '../display/Panel.tsx'
import { LanguageMenu, Mark, ThemeMenu } from '../shell/Menus.tsx'

export function SignIn({ ended }: { readonly ended: boolean }) {
  const { t } = useTranslation()
  const failureText = useFailureText()
  const form = useForm({ initialValues: { name: '', password: '' } })
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<unknown>()
  const [waitSeconds, setWaitSeconds] = useState(0)
  const waiting = waitSeconds > 0
  useEffect(() => {
    document.title = `${t('signIn.title')} · Haechi`
  }, [t])
  useEffect(() => {
    if (!waiting) return
    const timer = setInterval(() => setWaitSeconds((seconds) => seconds - 1), 1000)
    return () => clearInterval(timer)
  }, [waiting])

  const submit = form.onSubmit(async ({ name, password }) => {
    setBusy(true)
    setFailure(undefined)
    try {
      await signIn(name.trim(), password)
    } catch (error) {
      setFailure(error)
      if (error instanceof ApiFailure && error.status === 429) setWaitSeconds(Math.max(1, error.retryAfterSeconds))
      form.setFieldValue('password', '')
    } finally {
      setBusy(false)
    }
  })
  const message =
    waiting ? t('signIn.wait', { seconds: waitSeconds })
    : failure instanceof ApiFailure && failure.status === 401 ? t('signIn.wrong')
    : failure instanceof ApiFailure && failure.status === 429 ? ''
    : failure === undefined ? ''
    : failureText(failure)

  return (
    <main className="h-sign-in">
      <Group className="h-sign-in-tools" gap={4}>
        <LanguageMenu />
        <ThemeMenu />
      </Group>
      <Paper component="form" onSubmit={submit} className="h-sign-in-card" aria-label={t('signIn.title')}>
        <Stack gap="sm">
          <Group gap="xs">
            <Mark />
            <Title order={1}>{t('signIn.heading')}</Title>
          </Group>
          <Text c="dimmed">{t('signIn.node', { host: location.host })}</Text>
          {ended && message === '' && (
            <Alert color="steel" variant="light" role="status" className="h-alert-info">
              {t('signIn.ended')}
            </Alert>
          )}
          {message !== '' && (
            <Alert color="red" variant="light" role="alert" className="h-alert-bad" data-testid="sign-in-error">
              {message}
            </Alert>
          )}
          <TextInput label={t('signIn.name')} autoComplete="username" autoFocus required withAsterisk={false} {...form.getInputProps('name')} />
          <PasswordInput
            label={t('signIn.password')}
            autoComplete="current-password"
            required
            withAsterisk={false}
            visibilityToggleButtonProps={{ 'aria-label': t('signIn.show') }}
            {...form.getInputProps('password')}
          />
          <Button type="submit" size="sm" mt={4} loading={busy} disabled={waiting} data-testid="sign-in">
            {t('signIn.action')}
          </Button>
          <Text c="dimmed" size="xs">
            {t('signIn.help')}
          </Text>
        </Stack>
      </Paper>
    </main>
  )
}
