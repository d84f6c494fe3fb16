/** The draft, visible on every page: how much it changes, what is wrong with it, and the ways out of it. */
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ActionIcon, Button, Group, Text, Tooltip } from '@mantine/core'
import { IconArrowBackUp, IconArrowForwardUp } from '@tabler/icons-react'
import { Confirm } from '../display/Confirm.tsx'
import { Status } from '../display/Status.tsx'
import { discardDraft, redoEdit, undoEdit } from './draft.ts'
import { useEditing } from './document.tsx'

export function DraftBar({ review }: { readonly review: () => void }) {
  const { t } = useTranslation()
  const { draft, problems, newestRevision } = useEditing()
  const [discarding, setDiscarding] = useState(false)
  if (draft === undefined) return null
  const count = draft.differences.length
  const stale = newestRevision > draft.base.revision
  return (
    <section className="h-draft" aria-label={t('draft.label')} data-testid="draft-bar">
      <Group gap="sm" wrap="nowrap" className="h-draft-state" role="status">
        <Text fw={650} data-testid="draft-count">
          {t('draft.count', { count })}
        </Text>
        {stale ? (
          <Status kind="warn">{t('draft.stale', { base: draft.base.revision, newest: newestRevision })}</Status>
        ) : (
          <Text c="dimmed" className="h-wide">
            {t('draft.base', { revision: draft.base.revision })}
          </Text>
        )}
        {problems.length > 0 && <Status kind="bad">{t('draft.problems', { count: problems.length })}</Status>}
      </Group>
      <Group gap={6} wrap="nowrap">
        <Tooltip label={t('draft.undo')}>
          <ActionIcon size="lg" aria-label={t('draft.undo')} disabled={!draft.canUndo} onClick={undoEdit}>
            <IconArrowBackUp size={18} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label={t('draft.redo')}>
          <ActionIcon size="lg" aria-label={t('draft.redo')} disabled={!draft.canRedo} onClick={redoEdit}>
            <IconArrowForwardUp size={18} />
          </ActionIcon>
        </Tooltip>
        <Button variant="default" onClick={() => (count === 0 ? discardDraft() : setDiscarding(true))} data-testid="draft-discard">
          {t('draft.discard')}
        </Button>
        <Button onClick={review} disabled={count === 0} data-testid="draft-review">
          {stale ? t('draft.compare') : t('draft.review')}
        </Button>
      </Group>
      <Confirm
        opened={discarding}
        title={t('draft.discardTitle')}
        action={t('draft.discardAction')}
        dangerous
        run={async () => discardDraft()}
        close={() => setDiscarding(false)}
      >
        <Text>{t('draft.discardText', { count })}</Text>
      </Confirm>
    </section>
  )
}
