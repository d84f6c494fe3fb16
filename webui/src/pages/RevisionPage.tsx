/** One revision: who made it, what it changed against any other, and the way back to it. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Anchor, Group, NumberInput, SegmentedControl, Text, TextInput } from '@mantine/core'
import { IconRestore } from '@tabler/icons-react'
import { Link, useLocation, useSearchParams } from 'wouter'
import type { ApplyResult } from '../../../node/api/types.ts'
import { call } from '../api/client.ts'
import { queries, useConfig, useDiff, useRevision } from '../api/queries.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { ChangeList, UnifiedDiff } from '../display/Changes.tsx'
import { Confirm } from '../display/Confirm.tsx'
import { FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Instant } from '../display/Values.tsx'
import { commentLimit } from '../draft/Review.tsx'

export function RevisionPage({ revision }: { readonly revision: number }) {
  const { t } = useTranslation()
  const [search, setSearch] = useSearchParams()
  const config = useConfig()
  const shown = useRevision(revision)
  const current = config.data?.revision ?? 0
  const isCurrent = revision === current
  const previous = Math.max(0, revision - 1)
  const asked = Number(search.get('against') ?? previous)
  const against = Number.isInteger(asked) && asked >= 0 && asked !== revision ? asked : previous
  const compare = (value: number) => setSearch(value === previous ? {} : { against: String(value) }, { replace: true })
  const [older, newer] = against < revision ? [against, revision] : [revision, against]
  const diff = useDiff(newer, older)
  const [view, setView] = useState('unified')
  const [rollingBack, setRollingBack] = useState(false)
  const name = (n: number) => (n === 0 ? t('diff.empty') : t('diff.name', { revision: n }))
  return (
    <>
      <PageHead
        title={t('diff.revision', { revision })}
        crumbs={[{ label: t('nav.revisions'), href: '/revisions' }]}
        aside={isCurrent && <span className="h-tag h-tag-current">{t('revision.current')}</span>}
      >
        <RoleButton
          role="operator"
          variant="default"
          leftSection={<IconRestore size={15} aria-hidden />}
          blocked={isCurrent ? t('revision.alreadyCurrent') : config.data === undefined ? t('state.loading') : undefined}
          onClick={() => setRollingBack(true)}
          testId="roll-back"
        >
          {t('revision.rollBack')}
        </RoleButton>
      </PageHead>
      <Panel>
        {shown.error !== null ? <FailureNote error={shown.error} retry={() => void shown.refetch()} />
        : shown.data === undefined ? <Waiting lines={2} />
        : (
          <dl className="h-facts">
            <div><dt>{t('column.when')}</dt><dd><Instant at={shown.data.atEpochMs} /></dd></div>
            <div><dt>{t('column.who')}</dt><dd>{shown.data.author}</dd></div>
            <div><dt>{t('column.comment')}</dt><dd>{shown.data.comment === '' ? <span className="h-dim">{t('live.noComment')}</span> : shown.data.comment}</dd></div>
            <div><dt>{t('revision.contents')}</dt><dd>{t('revision.counts', { vips: shown.data.document.vips.length, listeners: shown.data.document.listeners.length, pools: shown.data.document.pools.length })}</dd></div>
            <div><dt>{t('revision.hash')}</dt><dd className="h-mono" title={shown.data.hash}>{shown.data.hash.slice(0, 16)}…</dd></div>
          </dl>
        )}
      </Panel>
      <Panel
        title={t('diff.title', { from: name(older), to: name(newer) })}
        actions={
          <>
            <Group gap={6} wrap="nowrap">
              <Text size="xs" c="dimmed" component="label" htmlFor="against">{t('diff.against')}</Text>
              <NumberInput id="against" size="xs" w={84} hideControls={false} min={0} max={Math.max(current, revision)} value={against} onChange={(value) => typeof value === 'number' && compare(value)} />
              {against !== previous && <Anchor component="button" type="button" size="xs" onClick={() => compare(previous)}>{t('diff.previous')}</Anchor>}
              {against !== current && !isCurrent && current > 0 && <Anchor component="button" type="button" size="xs" onClick={() => compare(current)}>{t('diff.current')}</Anchor>}
            </Group>
            <SegmentedControl
              aria-label={t('review.view')}
              value={view}
              onChange={setView}
              data={[
                { value: 'unified', label: t('diff.yaml') },
                { value: 'list', label: t('diff.list') },
              ]}
            />
          </>
        }
      >
        {diff.error !== null ? <FailureNote error={diff.error} retry={() => void diff.refetch()} />
        : diff.data === undefined ? <Waiting />
        : view === 'list' ? <ChangeList changes={diff.data.changes} />
        : <UnifiedDiff text={diff.data.unified} label={t('diff.title', { from: name(older), to: name(newer) })} />}
      </Panel>
      <RollBack opened={rollingBack} revision={revision} current={current} close={() => setRollingBack(false)} />
    </>
  )
}

function RollBack({ opened, revision, current, close }: { readonly opened: boolean; readonly revision: number; readonly current: number; readonly close: () => void }) {
  const { t } = useTranslation()
  const [, navigate] = useLocation()
  const [comment, setComment] = useState('')
  // Undoing: from the current revision to this one, so the sides are the other way round than in history.
  const diff = useDiff(opened ? revision : 0, opened ? current : -1)
  const run = async () => {
    const result = await call<ApplyResult>('POST', '/config/rollback', { body: { toRevision: revision, comment: comment.trim() }, ifMatch: current })
    for (const key of ['config', 'revisions', 'audit']) void queries.invalidateQueries({ queryKey: [key] })
    navigate(`/revisions/${result.revision}`)
  }
  return (
    <Confirm opened={opened} title={t('revision.rollBackTitle', { revision })} action={t('revision.rollBackAction', { revision })} run={run} close={close}>
      <Text>{t('revision.rollBackText', { revision, next: current + 1 })}</Text>
      <div className="h-scroll h-scroll-short">
        {diff.error !== null ? <FailureNote error={diff.error} retry={() => void diff.refetch()} /> : diff.data === undefined ? <Waiting lines={3} /> : <ChangeList changes={diff.data.changes} />}
      </div>
      <TextInput label={t('review.comment')} maxLength={commentLimit} value={comment} onChange={(event) => setComment(event.currentTarget.value)} data-autofocus data-testid="comment" />
      <Text size="xs" c="dimmed"><Status kind="info">{t('revision.rollBackNote')}</Status> <Anchor component={Link} href="/revisions" size="xs">{t('nav.revisions')}</Anchor></Text>
    </Confirm>
  )
}
