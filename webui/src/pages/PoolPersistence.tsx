/** What keeps a client of a pool on one member: the kind, and what belongs to it. */
import { useTranslation } from 'react-i18next'
import { Anchor, SimpleGrid } from '@mantine/core'
import { Link } from 'wouter'
import type { Pool } from '../../../node/api/types.ts'
import { useEditing } from '../draft/document.tsx'
import { ChoiceField, DurationField, NumberField, SwitchField, TextField } from '../draft/Fields.tsx'
import { FoldingPanel } from '../draft/Fold.tsx'
import { editPool, withOptional } from '../draft/operations.ts'

type Persistence = NonNullable<Pool['persistence']>
type Cookie = Persistence['cookie']

const types = ['none', 'cookie', 'app-cookie', 'source', 'header'] as const
const secures = ['auto', 'always', 'never'] as const
const sameSites = ['lax', 'strict', 'none', 'unset'] as const
const fresh: Persistence = {
  type: 'none', ttl: '30m', maxEntries: 100_000, ipv6PrefixLength: 64,
  cookie: { path: '/', maxAge: '0s', secure: 'auto', httpOnly: true, sameSite: 'lax', toMember: false },
}

export function PoolPersistence({ pool, pointer: poolPointer }: { readonly pool: Pool; readonly pointer: string }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const pointer = `${poolPointer}/persistence`
  const now = pool.persistence ?? fresh
  const { type } = now
  const put = (field: string, next: Persistence) =>
    edit(`${pointer}/${field}`, editPool(pool.name, (before) => withOptional(before, 'persistence', next.type === 'none' ? undefined : next)))
  const set = <K extends keyof Persistence>(field: K, value: Persistence[K] | undefined) => put(field, withOptional(now, field, value))
  const setCookie = <K extends keyof Cookie>(field: K, value: Cookie[K] | undefined) => put(`cookie/${field}`, { ...now, cookie: withOptional(now.cookie, field, value) })
  const choose = (next: Persistence['type']) => {
    // What belongs to another kind goes: it would be refused.
    const named = withOptional(now, 'cookieName', next === 'app-cookie' ? (now.cookieName ?? '') : next === 'cookie' ? (now.cookieName === '' ? undefined : now.cookieName) : undefined)
    put('type', { ...withOptional(named, 'header', next === 'header' ? (now.header ?? '') : undefined), type: next })
  }
  const entries = type === 'app-cookie' || type === 'source' || type === 'header'
  return (
    <FoldingPanel title={t('persistence.title')} testId="persistence" pointers={[pointer]} holds={[type !== 'none' && t(`persistence.${type}`)]} {...(entries ? { note: <Anchor component={Link} href={`/sessions?pool=${pool.name}`} underline="always">{t('persistence.entries')}</Anchor> } : {})}>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
        <ChoiceField
          pointer={`${pointer}/type`}
          label={t('persistence.type')}
          hint={t(`persistence.${type}Hint`)}
          value={type}
          choices={types.map((value) => ({ value, label: t(`persistence.${value}`) }))}
          onChange={(value) => choose(value as Persistence['type'])}
          testId="persistence-type"
        />
        {type === 'cookie' && (
          <TextField mono pointer={`${pointer}/cookieName`} label={t('persistence.name')} hint={t('persistence.nameHint')} placeholder={`haechi-${pool.name}`} value={now.cookieName ?? ''} onChange={(value) => set('cookieName', value.trim() === '' ? undefined : value.trim())} />
        )}
        {type === 'app-cookie' && (
          <TextField mono pointer={`${pointer}/cookieName`} label={t('persistence.name')} hint={t('persistence.appNameHint')} placeholder="JSESSIONID" value={now.cookieName ?? ''} onChange={(value) => set('cookieName', value.trim())} />
        )}
        {type === 'header' && (
          <TextField mono pointer={`${pointer}/header`} label={t('persistence.header_name')} hint={t('persistence.headerNameHint')} placeholder="X-Session" value={now.header ?? ''} onChange={(value) => set('header', value.trim())} />
        )}
        {type === 'source' && (
          <NumberField pointer={`${pointer}/ipv6PrefixLength`} label={t('persistence.prefix')} hint={t('persistence.prefixHint')} value={now.ipv6PrefixLength} onChange={(value) => set('ipv6PrefixLength', value)} />
        )}
        {entries && (
          <>
            <DurationField pointer={`${pointer}/ttl`} label={t('persistence.ttl')} hint={t('persistence.ttlHint')} value={now.ttl} onChange={(value) => set('ttl', value)} />
            <NumberField pointer={`${pointer}/maxEntries`} label={t('persistence.maxEntries')} hint={t('persistence.maxEntriesHint')} value={now.maxEntries} onChange={(value) => set('maxEntries', value)} />
          </>
        )}
        {type === 'cookie' && (
          <>
            <TextField mono pointer={`${pointer}/cookie/path`} label={t('persistence.path')} hint={t('persistence.pathHint')} value={now.cookie.path} onChange={(value) => setCookie('path', value.trim())} />
            <TextField mono pointer={`${pointer}/cookie/domain`} label={t('persistence.domain')} hint={t('persistence.domainHint')} value={now.cookie.domain ?? ''} onChange={(value) => setCookie('domain', value.trim() === '' ? undefined : value.trim())} />
            <DurationField pointer={`${pointer}/cookie/maxAge`} label={t('persistence.maxAge')} hint={t('persistence.maxAgeHint')} value={now.cookie.maxAge} onChange={(value) => setCookie('maxAge', value)} />
            <ChoiceField pointer={`${pointer}/cookie/secure`} label={t('persistence.secure')} hint={t('persistence.secureHint')} value={now.cookie.secure} choices={secures.map((value) => ({ value, label: t(`cookieSecure.${value}`) }))} onChange={(value) => setCookie('secure', value as Cookie['secure'])} />
            <ChoiceField pointer={`${pointer}/cookie/sameSite`} label={t('persistence.sameSite')} hint={t('persistence.sameSiteHint')} value={now.cookie.sameSite} choices={sameSites.map((value) => ({ value, label: t(`cookieSameSite.${value}`) }))} onChange={(value) => setCookie('sameSite', value as Cookie['sameSite'])} />
            <SwitchField pointer={`${pointer}/cookie/httpOnly`} label={t('persistence.httpOnly')} hint={t('persistence.httpOnlyHint')} value={now.cookie.httpOnly} onChange={(value) => setCookie('httpOnly', value)} />
            <SwitchField pointer={`${pointer}/cookie/toMember`} label={t('persistence.toMember')} hint={t('persistence.toMemberHint')} value={now.cookie.toMember} onChange={(value) => setCookie('toMember', value)} />
          </>
        )}
      </SimpleGrid>
    </FoldingPanel>
  )
}
