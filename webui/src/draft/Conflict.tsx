/**
 * Somebody else has made a revision since the draft was begun. Shows what they changed; where both changed the same
 * value a person chooses; then the draft is carried over to the new revision. Nothing is applied here.
 */
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Alert, Button, Group, SegmentedControl, Stack, Text, Title } from '@mantine/core'
import type { ConfigView } from '../../../node/api/types.ts'
import { useDiff } from '../api/queries.ts'
import { ChangeList } from '../display/Changes.tsx'
import { FailureNote, Waiting } from '../display/Panel.tsx'
import { Instant } from '../display/Values.tsx'
import { discardDraft, moveDraft, type Draft } from './draft.ts'
import { rebase, type Side } from './rebase.ts'

export function Conflict({ draft, current, close }: { readonly draft: Draft; readonly current: ConfigView; readonly close: () => void }) {
  const { t } = useTranslation()
  const theirs = useDiff(current.revision, draft.base.revision)
  const [choices, setChoices] = useState<ReadonlyMap<string, Side>>(new Map())
  const { document, overlaps } = useMemo(
    () => rebase(draft.base.document, draft.document, current.document, choices),
    [draft.base.document, draft.document, current.document, choices],
  )
  const open = overlaps.filter((overlap) => !choices.has(overlap.path)).length
  return (
    <Stack gap="sm" data-testid="conflict">
      <Alert color="yellow" variant="light" className="h-alert-warn" role="alert" title={t('conflict.title', { revision: current.revision, author: current.author })}>
        <Text>
          {t('conflict.text', { base: draft.base.revision })} <Instant at={current.atEpochMs} />
          {current.comment === '' ? '' : ` · ${current.comment}`}
        </Text>
      </Alert>
      <Title order={3}>{t('conflict.theirs', { from: draft.base.revision, to: current.revision })}</Title>
      <div className="h-scroll h-scroll-short">
        {theirs.error !== null ? <FailureNote error={theirs.error} retry={() => void theirs.refetch()} />
        : theirs.data === undefined ? <Waiting lines={2} />
        : <ChangeList changes={theirs.data.changes} />}
      </div>
      <Title order={3}>{t('conflict.overlaps', { count: overlaps.length })}</Title>
      {overlaps.length === 0 ? (
        <Text c="dimmed">{t('conflict.noOverlap')}</Text>
      ) : (
        <div className="h-scroll h-scroll-short">
          {overlaps.map((overlap) => (
            <div key={overlap.path} className="h-overlap">
              <code>{overlap.path}</code>
              <div className="h-overlap-values">
                <span>{t('conflict.was')}</span>
                <code>{text(overlap.base)}</code>
                <span>{t('conflict.mine')}</span>
                <code>{text(overlap.mine)}</code>
                <span>{t('conflict.their')}</span>
                <code>{text(overlap.theirs)}</code>
              </div>
              <SegmentedControl
                aria-label={t('conflict.choose', { path: overlap.path })}
                value={choices.get(overlap.path) ?? ''}
                onChange={(side) => setChoices(new Map(choices).set(overlap.path, side as Side))}
                data={[
                  { value: 'mine', label: t('conflict.takeMine') },
                  { value: 'theirs', label: t('conflict.takeTheirs') },
                ]}
              />
            </div>
          ))}
        </div>
      )}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={close}>
          {t('action.close')}
        </Button>
        <Button
          variant="default"
          onClick={() => {
            discardDraft()
            close()
          }}
        >
          {t('conflict.discard')}
        </Button>
        <Button disabled={open > 0} onClick={() => moveDraft(current, document)} data-testid="rebase">
          {open > 0 ? t('conflict.open', { count: open }) : t('conflict.rebase', { revision: current.revision })}
        </Button>
      </Group>
    </Stack>
  )
}

function text(value: unknown): string {
  if (value === undefined) return '–'
  const json = typeof value === 'string' ? value : JSON.stringify(value)
  return json.length > 200 ? `${json.slice(0, 200)}…` : json
}
