/** Languages: which one to start with, loading of its words, changing it. The choice is kept in this browser. */
import i18next, { type PostProcessorModule, type Resource } from 'i18next'
import { initReactI18next } from 'react-i18next'
import type { Words } from './en.ts'
import { chooseParticles } from './josa.ts'

export const languages = { en: 'English', ko: '한국어' } as const
export type Language = keyof typeof languages

const storageKey = 'haechi.language'

declare module 'i18next' {
  interface CustomTypeOptions {
    defaultNS: 'console'
    resources: { console: Words }
  }
}

const load = {
  en: async () => (await import('./en.ts')).en,
  ko: async () => (await import('./ko.ts')).ko,
} as const

const particles: PostProcessorModule = { type: 'postProcessor', name: 'particles', process: (text) => chooseParticles(text) }

function isLanguage(text: string | null | undefined): text is Language {
  return text === 'en' || text === 'ko'
}

function wanted(): Language {
  try {
    const kept = localStorage.getItem(storageKey)
    if (isLanguage(kept)) return kept
  } catch {
    // Storage may be forbidden; then the browser's languages decide.
  }
  for (const tag of navigator.languages) {
    const language = tag.slice(0, 2).toLowerCase()
    if (isLanguage(language)) return language
  }
  return 'en'
}

export async function startWords(): Promise<void> {
  const language = wanted()
  const resources: Resource = { [language]: { console: await load[language]() } }
  await i18next.use(initReactI18next).use(particles).init({
    postProcess: ['particles'],
    lng: language,
    fallbackLng: false,
    defaultNS: 'console',
    resources,
    interpolation: { escapeValue: false },
    returnNull: false,
  })
  document.documentElement.lang = language
}

export async function changeLanguage(language: Language): Promise<void> {
  if (!i18next.hasResourceBundle(language, 'console')) {
    i18next.addResourceBundle(language, 'console', await load[language]())
  }
  await i18next.changeLanguage(language)
  document.documentElement.lang = language
  try {
    localStorage.setItem(storageKey, language)
  } catch {
    // Then it lasts until the page is closed.
  }
}
