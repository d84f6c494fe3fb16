/** Which node this is, how it is connected, and what belongs to the user: language, colours, session. */
import { useTranslation } from 'react-i18next'
import { Burger, Button, Group, Kbd, Menu, Text, Tooltip, UnstyledButton } from '@mantine/core'
import { IconKey, IconLogout, IconSearch, IconUserCircle } from '@tabler/icons-react'
import { useDisclosure } from '@mantine/hooks'
import { spotlight } from '@mantine/spotlight'
import { Link } from 'wouter'
import { useLive } from '../api/live.ts'
import { useOverviewPart } from '../api/queries.ts'
import { signOut, useSession } from '../api/session.ts'
import { Status } from '../display/Status.tsx'
import { ChangePasswordDialog } from '../pages/ChangePassword.tsx'
import { LanguageMenu, Mark, ThemeMenu } from './Menus.tsx'

export function Header({ menuOpen, toggleMenu }: { readonly menuOpen: boolean; readonly toggleMenu: () => void }) {
  const { t } = useTranslation()
  const session = useSession()
  const self = useOverviewPart((overview) => overview.self)
  const [passwordOpen, password] = useDisclosure(false)
  const user = session.phase === 'signed-in' ? session.info.user : undefined
  return (
    <Group h="100%" px="sm" justify="space-between" wrap="nowrap" gap="xs">
      <Group gap="xs" wrap="nowrap">
        <Burger opened={menuOpen} onClick={toggleMenu} hiddenFrom="sm" size="sm" aria-label={t('nav.menu')} />
        <UnstyledButton component={Link} href="/" className="h-brand" aria-label={t('nav.home')}>
          <Mark />
          <span>Haechi</span>
        </UnstyledButton>
        <span className="h-header-line" />
        <Tooltip label={t('header.nodeHint')}>
          <Text size="sm" className="h-header-node" tabIndex={0}>
            <span className="h-label">{t('header.node')}</span> <strong>{self ?? '–'}</strong>
          </Text>
        </Tooltip>
        <ConnectionState />
      </Group>
      <Group gap={4} wrap="nowrap">
        <Button
          variant="default"
          size="xs"
          visibleFrom="md"
          leftSection={<IconSearch size={14} aria-hidden />}
          rightSection={<Kbd size="xs">Ctrl K</Kbd>}
          onClick={spotlight.open}
          className="h-palette-button"
        >
          {t('palette.open')}
        </Button>
        <LanguageMenu />
        <ThemeMenu />
        <Menu position="bottom-end" withinPortal>
          <Menu.Target>
            <Button variant="subtle" color="gray" leftSection={<IconUserCircle size={18} stroke={1.7} aria-hidden />} aria-label={t('header.user', { name: user?.name ?? '' })} data-testid="user-menu" className="h-user">
              {user?.name}
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            {user !== undefined && <Menu.Label>{t(`role.${user.role}`)}</Menu.Label>}
            <Menu.Item leftSection={<IconKey size={15} />} onClick={password.open}>
              {t('header.changePassword')}
            </Menu.Item>
            <Menu.Item leftSection={<IconLogout size={15} />} onClick={() => void signOut()} data-testid="sign-out">
              {t('header.signOut')}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </Group>
      {user !== undefined && <ChangePasswordDialog name={user.name} opened={passwordOpen} close={password.close} />}
    </Group>
  )
}

function ConnectionState() {
  const { t } = useTranslation()
  const live = useLive()
  const kind = live.phase === 'live' ? 'ok' : live.phase === 'lost' ? 'bad' : 'busy'
  return (
    <Tooltip label={t(`live.${live.phase}Hint`)}>
      <span role="status" aria-live="polite" data-testid="connection" data-phase={live.phase} tabIndex={0} className="h-header-state">
        <Status kind={kind}>{t(`live.${live.phase}`)}</Status>
      </span>
    </Tooltip>
  )
}
