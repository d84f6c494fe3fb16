/**
 * The way from draft to revision: what the node says that it changes, what is wrong with it, a comment, apply. When the
 * draft's base is not the current revision any more, the comparison with the other change comes first (Conflict.tsx).
 */
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Alert, Button, Group, Modal, SegmentedControl, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import type { ApplyResult, ConfigView } from '../../../node/api/types.ts'
import { ApiFailure, call } from '../api/client.ts'
import { queries, useOverviewPart } from '../api/queries.ts'
import { ChangeList, UnifiedDiff } from '../display/Changes.tsx'
import { FailureNote, Waiting } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Conflict } from './Conflict.tsx'
import { discardDraft } from './draft.ts'
import { useEditing } from './document.tsx'
import { placeOf } from './places.ts'

export const commentLimit = 500

export function Review({ opened, close }: { readonly opened: boolean; readonly close: () => void }) {
  const { t } = useTranslation()
  const [result, setResult] = useState<ApplyResult>()
  const leave = () => {
    setResult(undefined)
    close()
  }
  return (
    <Modal
      opened={opened}
      onClose={leave}
      size={880}
      title={result === undefined ? t('review.title') : t('review.doneTitle')}
      closeButtonProps={{ 'aria-label': t('action.close') }}
    >
      {opened && (result === undefined ? <Body close={close} applied={setResult} /> : <Applied result={result} close={leave} />)}
    </Modal>
  )
}

function Body({ close, applied }: { readonly close: () => void; readonly applied: (result: ApplyResult) => void }) {
  const { t } = useTranslation()
  const { draft, current, problems, validation, validationFailure, newestRevision, retry } = useEditing()
  const [comment, setComment] = useState('')
  const [view, setView] = useState('list')
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<unknown>()
  const [conflictRevision, setConflictRevision] = useState(0)
  const newest = Math.max(newestRevision, conflictRevision)
  // While a change is under way the newer revision is most likely this very change, announced before it is answered.
  const stale = draft !== undefined && !busy && newest > draft.base.revision
  useEffect(() => {
    if (stale && (current?.revision ?? 0) < newest) retry()
  }, [stale, current?.revision, newest, retry])
  if (draft === undefined) return <Text c="dimmed">{t('changes.none')}</Text>

  if (stale) {
    return current === undefined || current.revision < newest ? <Waiting /> : <Conflict draft={draft} current={current} close={close} />
  }
  const apply = async () => {
    setBusy(true)
    setFailure(undefined)
    try {
      const result = await call<ApplyResult>('PUT', `/config?comment=${encodeURIComponent(comment.trim())}`, {
        body: draft.document,
        ifMatch: draft.base.revision,
      })
      queries.setQueryData<ConfigView>(['config'], (before) => (before === undefined ? before : { ...before, document: draft.document, revision: result.revision }))
      void queries.invalidateQueries({ queryKey: ['config'] })
      void queries.invalidateQueries({ queryKey: ['revisions'] })
      void queries.invalidateQueries({ queryKey: ['audit'] })
      discardDraft()
      applied(result)
    } catch (error) {
      if (error instanceof ApiFailure && error.status === 412) {
        setConflictRevision(error.problem?.revision ?? draft.base.revision + 1)
        retry()
      } else setFailure(error)
    } finally {
      setBusy(false)
    }
  }
  const refused = failure instanceof ApiFailure && failure.status === 422 ? (failure.problem?.problems ?? []) : []
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void apply()
      }}
    >
      <Stack gap="sm">
        <Group justify="space-between">
          <Text c="dimmed">{t('review.against', { revision: draft.base.revision })}</Text>
          <SegmentedControl
            value={view}
            onChange={setView}
            aria-label={t('review.view')}
            data={[
              { value: 'list', label: t('diff.list') },
              { value: 'yaml', label: t('diff.yaml') },
            ]}
          />
        </Group>
        {problems.length > 0 && (
          <Alert color="red" variant="light" title={t('review.problems', { count: problems.length })} className="h-alert-bad" role="alert">
            <ul className="h-problems">
              {problems.slice(0, 30).map((problem) => (
                <li key={`${problem.field} ${problem.text}`}>
                  <ProblemLink field={problem.field} close={close} />: {problem.text}
                </li>
              ))}
            </ul>
          </Alert>
        )}
        <div className="h-scroll">
          {view === 'yaml' ? (
            <DraftDiff />
          ) : validation?.valid === true ? (
            <ChangeList changes={validation.changes} />
          ) : problems.length > 0 ? (
            <Text c="dimmed">{t('review.fixFirst')}</Text>
          ) : validationFailure !== null ? (
            <FailureNote error={validationFailure} />
          ) : (
            <Waiting />
          )}
        </div>
        {failure !== undefined && refused.length === 0 && <FailureNote error={failure} />}
        {refused.length > 0 && (
          <Alert color="red" variant="light" title={t('review.refused')} className="h-alert-bad" role="alert">
            <ul className="h-problems">
              {refused.map((problem) => (
                <li key={`${problem.field} ${problem.message}`}>
                  <ProblemLink field={problem.field} close={close} />: {problem.message}
                </li>
              ))}
            </ul>
          </Alert>
        )}
        <TextInput
          label={t('review.comment')}
          description={t('review.commentHint')}
          maxLength={commentLimit}
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
          data-autofocus
          data-testid="comment"
        />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            {t('review.back')}
          </Button>
          <Button type="submit" loading={busy} disabled={validation?.valid !== true || problems.length > 0} data-testid="apply">
            {t('review.apply')}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

/** A JSON pointer as words, linking to the editor of the object. */
function ProblemLink({ field, close }: { readonly field: string; readonly close: () => void }) {
  const { draft } = useEditing()
  const place = placeOf(field, draft?.document)
  return place.href === '' ? (
    <code>{place.label}</code>
  ) : (
    <Link href={place.href} onClick={close}>
      <code>{place.label}</code>
    </Link>
  )
}

function DraftDiff() {
  const { t } = useTranslation()
  const { draft } = useEditing()
  const diff = useQuery({
    queryKey: ['draft-diff', draft?.base.revision, draft?.document],
    queryFn: async () => {
      const [{ createTwoFilesPatch }, { stringify }] = await Promise.all([import('diff'), import('yaml')])
      if (draft === undefined) return ''
      return createTwoFilesPatch(
        t('diff.revision', { revision: draft.base.revision }), t('draft.word'),
        stringify(draft.base.document), stringify(draft.document), '', '', { context: 3 },
      )
    },
    enabled: draft !== undefined,
    gcTime: 0,
  })
  if (diff.error !== null) return <FailureNote error={diff.error} />
  return diff.data === undefined ? <Waiting /> : <UnifiedDiff text={diff.data} label={t('diff.yaml')} />
}

/** The revision is committed; here is on which nodes it is in force. */
function Applied({ result, close }: { readonly result: ApplyResult; readonly close: () => void }) {
  const { t } = useTranslation()
  const nodes = useOverviewPart((overview) => overview.nodes.filter((node) => node.role === 'node')) ?? []
  return (
    <Stack gap="sm" data-testid="applied">
      <Status kind="ok">{result.changed ? t('review.committed', { revision: result.revision }) : t('review.unchanged', { revision: result.revision })}</Status>
      <table className="h-plain">
        <tbody>
          {nodes.map((node) => {
            const inForce = (node.report?.revisionInForce ?? 0) >= result.revision
            return (
              <tr key={node.id}>
                <th scope="row">{node.id}</th>
                <td>
                  {inForce ? <Status kind="ok">{t('review.inForce')}</Status>
                  : !node.reachable ? <Status kind="bad">{t('review.unreachable')}</Status>
                  : <Status kind="busy">{t('review.taking')}</Status>}
                </td>
                <td>{node.report?.degraded}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
      <Group justify="flex-end" gap="xs">
        <Button variant="default" component={Link} href={`/revisions/${result.revision}`} onClick={close}>
          {t('review.show', { revision: result.revision })}
        </Button>
        <Button onClick={close} data-testid="applied-close" data-autofocus>
          {t('action.close')}
        </Button>
      </Group>
    </Stack>
  )
}
