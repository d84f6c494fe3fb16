/** What is shown: the sign-in, the forced password change, or the console. */
import { useEffect } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Center, Loader, Stack, Text } from '@mantine/core'
import { queries } from './api/queries.ts'
import { openSession, useSession } from './api/session.ts'
import { StatusIcon } from './display/Status.tsx'
import { ChangePassword } from './pages/ChangePassword.tsx'
import { SignIn } from './pages/SignIn.tsx'
import { Shell } from './shell/Shell.tsx'

export function App() {
  const { t } = useTranslation()
  const session = useSession()
  useEffect(() => void openSession(), [])
  useEffect(() => {
    // What one user was shown is not left in memory for the next one.
    if (session.phase === 'signed-out') queries.clear()
  }, [session.phase])

  if (session.phase === 'loading') {
    return (
      <Center h="100vh">
        <Loader aria-label={t('state.loading')} />
      </Center>
    )
  }
  if (session.phase === 'unreachable') {
    return (
      <Center h="100vh" component="main">
        <Stack align="center" gap="xs" maw={440} role="alert">
          <StatusIcon kind="bad" size={28} />
          <Text fw={600}>{t('unreachable.title')}</Text>
          <Text c="dimmed" ta="center">
            {t('unreachable.next')}
          </Text>
          <Text c="dimmed" size="xs">
            {session.detail}
          </Text>
          <Button onClick={() => void openSession()}>{t('action.retry')}</Button>
        </Stack>
      </Center>
    )
  }
  if (session.phase === 'signed-out') return <SignIn ended={session.ended} />
  if (session.info.user.mustChangePassword) return <ChangePassword name={session.info.user.name} />
  return <Shell />
}
