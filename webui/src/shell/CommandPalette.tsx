/** Ctrl+K: every page, every VIP, listener and pool by name, and the common actions. */
import { useTranslation } from 'react-i18next'
import { Spotlight, type SpotlightActionGroupData } from '@mantine/spotlight'
import { useMantineColorScheme } from '@mantine/core'
import { IconArrowsSplit2, IconCertificate, IconLanguage, IconLogout, IconNetwork, IconSearch, IconStack2, IconSunMoon } from '@tabler/icons-react'
import { useLocation } from 'wouter'
import { signOut } from '../api/session.ts'
import { useEditing } from '../draft/document.tsx'
import { changeLanguage } from '../words/words.ts'
import { places } from './places.ts'

export function CommandPalette() {
  const { t, i18n } = useTranslation()
  const [, navigate] = useLocation()
  const { document } = useEditing()
  const { setColorScheme } = useMantineColorScheme()
  const other = i18n.language === 'ko' ? 'en' : 'ko'

  const named = (prefix: string, label: string, Icon: typeof IconStack2, list: readonly { readonly name: string }[]) =>
    list.map(({ name }) => ({
      id: `${prefix}/${name}`,
      label: name,
      description: label,
      leftSection: <Icon size={17} stroke={1.7} />,
      onClick: () => navigate(`${prefix}/${encodeURIComponent(name)}`),
    }))
  const groups: SpotlightActionGroupData[] = [
    {
      group: t('palette.pages'),
      actions: places.map((place) => ({
        id: place.href,
        label: t(`nav.${place.word}`),
        leftSection: <place.icon size={17} stroke={1.7} />,
        onClick: () => navigate(place.href),
      })),
    },
    {
      group: t('palette.objects'),
      actions: [
        ...named('/vips', t('word.vip'), IconNetwork, document?.vips ?? []),
        ...named('/listeners', t('word.listener'), IconArrowsSplit2, document?.listeners ?? []),
        ...named('/pools', t('word.pool'), IconStack2, document?.pools ?? []),
      ],
    },
    {
      group: t('palette.actions'),
      actions: [
        { id: 'certificate', label: t('palette.certificates'), leftSection: <IconCertificate size={17} stroke={1.7} />, onClick: () => navigate('/certificates') },
        { id: 'handover', label: t('handOver.open'), leftSection: <IconNetwork size={17} stroke={1.7} />, onClick: () => navigate('/?hand-over') },
        { id: 'light', label: t('palette.light'), leftSection: <IconSunMoon size={17} stroke={1.7} />, onClick: () => setColorScheme('light') },
        { id: 'dark', label: t('palette.dark'), leftSection: <IconSunMoon size={17} stroke={1.7} />, onClick: () => setColorScheme('dark') },
        { id: 'language', label: t('palette.language'), leftSection: <IconLanguage size={17} stroke={1.7} />, onClick: () => void changeLanguage(other) },
        { id: 'sign-out', label: t('header.signOut'), leftSection: <IconLogout size={17} stroke={1.7} />, onClick: () => void signOut() },
      ],
    },
  ]
  return (
    <Spotlight
      actions={groups}
      shortcut={null}
      limit={12}
      nothingFound={t('palette.nothing')}
      searchProps={{ leftSection: <IconSearch size={17} />, placeholder: t('palette.placeholder'), 'aria-label': t('palette.placeholder') }}
    />
  )
}
