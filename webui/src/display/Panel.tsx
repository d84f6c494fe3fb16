/** The surfaces that pages are made of: a page head, a titled panel, what to do when there is nothing or it failed. */
import type { ReactNode } from 'react'
import { useEffect } from 'react'
import { useTranslation } from 'react-i18next'
import { Anchor, Breadcrumbs, Button, Group, Skeleton, Stack, Text, Title } from '@mantine/core'
import { Link } from 'wouter'
import { ApiFailure } from '../api/client.ts'
import { StatusIcon } from './Status.tsx'

export interface Crumb {
  readonly label: string
  readonly href: string
}

/** The one h1 of a page; also the title of the browser's tab. */
export function PageHead(props: {
  readonly title: string
  readonly crumbs?: readonly Crumb[]
  readonly note?: ReactNode
  readonly aside?: ReactNode
  readonly children?: ReactNode
}) {
  useEffect(() => {
    document.title = `${props.title} · Haechi`
  }, [props.title])
  return (
    <Group justify="space-between" align="flex-end" gap="sm" mb="sm" className="h-page-head">
      <div>
        {props.crumbs !== undefined && (
          <Breadcrumbs separator="/" separatorMargin={6} fz="xs">
            {props.crumbs.map((crumb) => (
              <Anchor key={crumb.href} component={Link} href={crumb.href} size="xs">
                {crumb.label}
              </Anchor>
            ))}
          </Breadcrumbs>
        )}
        <Group gap="sm" align="center">
          <Title order={1}>{props.title}</Title>
          {props.aside}
        </Group>
        {props.note !== undefined && (
          <Text c="dimmed" size="sm">
            {props.note}
          </Text>
        )}
      </div>
      {props.children !== undefined && <Group gap="xs">{props.children}</Group>}
    </Group>
  )
}

export function Panel(props: {
  readonly title?: ReactNode
  readonly note?: ReactNode
  readonly actions?: ReactNode
  /** Content touches the edges: tables. */
  readonly flush?: boolean
  readonly className?: string
  readonly testId?: string
  readonly children: ReactNode
}) {
  return (
    <section className={`h-panel ${props.className ?? ''}`} data-testid={props.testId}>
      {props.title !== undefined && (
        <header className="h-panel-head">
          <Group gap="xs" align="baseline">
            <Title order={2}>{props.title}</Title>
            {props.note !== undefined && (
              <Text c="dimmed" size="xs">
                {props.note}
              </Text>
            )}
          </Group>
          {props.actions !== undefined && <Group gap="xs">{props.actions}</Group>}
        </header>
      )}
      <div className={props.flush === true ? 'h-panel-flush' : 'h-panel-body'}>{props.children}</div>
    </section>
  )
}

export function EmptyState(props: { readonly title: string; readonly next: string; readonly children?: ReactNode }) {
  return (
    <Stack align="center" gap={6} py="xl" px="md" className="h-empty">
      <Text fw={600} size="md">
        {props.title}
      </Text>
      <Text c="dimmed" ta="center" maw={520}>
        {props.next}
      </Text>
      {props.children !== undefined && (
        <Group gap="xs" mt="xs">
          {props.children}
        </Group>
      )}
    </Stack>
  )
}

/** Why something could not be shown or done, in the operator's language where the code is known, and what to do next. */
export function useFailureText(): (error: unknown) => string {
  const { t, i18n } = useTranslation()
  return (error) => {
    if (!(error instanceof ApiFailure)) return error instanceof Error ? error.message : String(error)
    const known = `failure.${error.code}`
    if (i18n.exists(known)) return t(known as 'failure.unreachable')
    if (error.status === 403) return t('failure.forbidden')
    if (error.status === 429) return t('failure.rate-limited', { seconds: error.retryAfterSeconds })
    return t('failure.other', { detail: error.message, code: error.code })
  }
}

export function FailureNote({ error, retry }: { readonly error: unknown; readonly retry?: () => void }) {
  const { t } = useTranslation()
  const text = useFailureText()
  return (
    <Group gap="sm" p="md" role="alert" wrap="nowrap" align="flex-start">
      <StatusIcon kind="bad" size={18} />
      <div>
        <Text>{text(error)}</Text>
        {retry !== undefined && (
          <Button variant="default" size="xs" mt="xs" onClick={retry}>
            {t('action.retry')}
          </Button>
        )}
      </div>
    </Group>
  )
}

export function Waiting({ lines = 4 }: { readonly lines?: number }) {
  const { t } = useTranslation()
  return (
    <Stack gap="xs" p="md" aria-busy aria-label={t('state.loading')} role="status">
      {Array.from({ length: lines }, (_, at) => (
        <Skeleton key={at} height={14} width={`${92 - at * 11}%`} />
      ))}
    </Stack>
  )
}
