/** What every page has, signed in or not: the mark, the choice of language and of colours. */
import { useTranslation } from 'react-i18next'
import { ActionIcon, Menu, Tooltip, useMantineColorScheme } from '@mantine/core'
import { IconDeviceDesktop, IconLanguage, IconMoon, IconSun } from '@tabler/icons-react'
import { changeLanguage, languages, type Language } from '../words/words.ts'

export function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden focusable="false">
      <rect width="32" height="32" rx="6" fill="#1d5593" />
      <path d="M9.5 7v18M22.5 7v18M9.5 16h13" fill="none" stroke="#fff" strokeWidth="3" strokeLinecap="round" />
    </svg>
  )
}

export function LanguageMenu() {
  const { t, i18n } = useTranslation()
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Tooltip label={t('header.language')}>
          <ActionIcon size="lg" aria-label={t('header.language')} data-testid="language">
            <IconLanguage size={18} stroke={1.7} />
          </ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(languages) as Language[]).map((language) => (
          <Menu.Item
            key={language}
            lang={language}
            onClick={() => void changeLanguage(language)}
            {...(i18n.language === language ? { 'data-chosen': true } : {})}
          >
            {languages[language]}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  )
}

export function ThemeMenu() {
  const { t } = useTranslation()
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const icons = { light: IconSun, dark: IconMoon, auto: IconDeviceDesktop } as const
  const Current = icons[colorScheme]
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Tooltip label={t('header.theme')}>
          <ActionIcon size="lg" aria-label={t('header.theme')} data-testid="theme">
            <Current size={18} stroke={1.7} />
          </ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown>
        {(['light', 'dark', 'auto'] as const).map((scheme) => {
          const Icon = icons[scheme]
          return (
            <Menu.Item
              key={scheme}
              leftSection={<Icon size={15} />}
              onClick={() => setColorScheme(scheme)}
              {...(scheme === colorScheme ? { 'data-chosen': true } : {})}
            >
              {t(`theme.${scheme}`)}
            </Menu.Item>
          )
        })}
      </Menu.Dropdown>
    </Menu>
  )
}
