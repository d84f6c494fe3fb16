/** The whole configuration as YAML: to read, to copy, and to edit as text. Taking the text over makes it the draft. */
import { useEffect, useMemo, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, Group, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { LineCounter, isNode, parseDocument, stringify, type Document } from 'yaml'
import type { ConfigurationDocument, ValidateResult } from '../../../node/api/types.ts'
import { ApiFailure, call, configurationAsYaml } from '../api/client.ts'
import { RoleButton } from '../display/Allowed.tsx'
import { ChangeList } from '../display/Changes.tsx'
import { FailureNote, PageHead, Panel, Waiting } from '../display/Panel.tsx'
import { Status } from '../display/Status.tsx'
import { Copy } from '../display/Values.tsx'
import { useEditing } from '../draft/document.tsx'
import { ReadOnlyNote, WithDocument } from '../draft/ObjectPage.tsx'
import { completed } from '../draft/operations.ts'

interface TextProblem {
  readonly line: number
  readonly column: number
  readonly field: string
  readonly text: string
}

/** Larger texts are refused before they are parsed, characters. The node takes 4 MiB. */
const textLimit = 4 * 1024 * 1024

export function Configuration() {
  const { t } = useTranslation()
  return <WithDocument title={t('nav.configuration')}>{(document) => <View document={document} />}</WithDocument>
}

function View({ document }: { readonly document: ConfigurationDocument }) {
  const { t } = useTranslation()
  const { draft, current, mayEdit } = useEditing()
  const [editing, setEditing] = useState(false)
  const drafted = draft !== undefined && draft.differences.length > 0
  const node = useQuery({ queryKey: ['config', 'yaml', current?.revision], queryFn: ({ signal }) => configurationAsYaml(signal), enabled: !drafted })
  const text = useMemo(() => (drafted ? stringify(document) : (node.data ?? '')), [drafted, document, node.data])
  if (editing && mayEdit) return <Editor initial={text} close={() => setEditing(false)} />
  return (
    <>
      <PageHead title={t('nav.configuration')} note={drafted ? t('yaml.draftNote', { revision: draft.base.revision }) : t('yaml.note', { revision: current?.revision ?? 0 })}>
        <Button variant="default" onClick={() => save(text, `haechi-revision-${current?.revision ?? 0}${drafted ? '-draft' : ''}.yaml`)}>
          {t('yaml.download')}
        </Button>
        <RoleButton role="operator" onClick={() => setEditing(true)} blocked={text === '' ? t('state.loading') : undefined} testId="edit-yaml">
          {t('yaml.edit')}
        </RoleButton>
      </PageHead>
      <ReadOnlyNote />
      <Panel title="YAML" actions={<Copy text={text} label={t('yaml.copy')} />}>
        {node.error !== null && !drafted ? <FailureNote error={node.error} retry={() => void node.refetch()} />
        : text === '' ? <Waiting lines={8} />
        : <pre className="h-yaml" tabIndex={0} aria-label={t('nav.configuration')} data-testid="yaml">{text}</pre>}
      </Panel>
    </>
  )
}

function save(text: string, name: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/yaml' }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

interface Parsed {
  readonly document: ConfigurationDocument | undefined
  readonly problems: readonly TextProblem[]
  readonly lineOf: (pointer: string) => { readonly line: number; readonly column: number }
}

function parse(text: string): Parsed {
  const nowhere = () => ({ line: 1, column: 1 })
  if (text.length > textLimit) return { document: undefined, problems: [{ line: 1, column: 1, field: '', text: `> ${textLimit}` }], lineOf: nowhere }
  const lines = new LineCounter()
  // Aliases are refused by the node as well: a few lines of them can stand for gigabytes.
  const parsed: Document = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const problems = parsed.errors.map((error) => ({ ...at(error.pos[0]), field: '', text: error.message.split('\n')[0] ?? error.message }))
  if (problems.length > 0) return { document: undefined, problems, lineOf: nowhere }
  let value: unknown
  try {
    value = parsed.toJS({ maxAliasCount: 0 })
  } catch (error) {
    return { document: undefined, problems: [{ ...nowhere(), field: '', text: error instanceof Error ? error.message : String(error) }], lineOf: nowhere }
  }
  return {
    document: value as ConfigurationDocument,
    problems: [],
    lineOf: (pointer) => {
      const keys = pointer.split('/').slice(1).map((key) => (/^\d+$/.test(key) ? Number(key) : key.replaceAll('~1', '/').replaceAll('~0', '~')))
      for (; ; keys.pop()) {
        const found: unknown = keys.length === 0 ? parsed.contents : parsed.getIn(keys, true)
        if (isNode(found) && found.range) return at(found.range[0])
        if (keys.length === 0) return nowhere()
      }
    },
  }
}

function Editor({ initial, close }: { readonly initial: string; readonly close: () => void }) {
  const { t } = useTranslation()
  const { edit } = useEditing()
  const [text, setText] = useState(initial)
  const [settled, setSettled] = useState(initial)
  const area = useRef<HTMLTextAreaElement>(null)
  const numbers = useRef<HTMLPreElement>(null)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), 350)
    return () => clearTimeout(timer)
  }, [text])
  const parsed = useMemo(() => parse(settled), [settled])
  const validation = useQuery({
    queryKey: ['validate-text', parsed.document],
    queryFn: async ({ signal }): Promise<ValidateResult> => {
      try {
        return await call<ValidateResult>('POST', '/config/validate', { body: parsed.document, signal })
      } catch (error) {
        if (error instanceof ApiFailure && error.problem?.problems !== undefined) return { valid: false, problems: error.problem.problems, changes: [] }
        throw error
      }
    },
    enabled: parsed.document !== undefined && parsed.document !== null,
    gcTime: 0,
  })
  const problems: TextProblem[] = [
    ...parsed.problems,
    ...(validation.data?.problems ?? []).map((problem) => ({ ...parsed.lineOf(problem.field), field: problem.field, text: problem.message })),
  ]
  const ready = text === settled && validation.data?.valid === true && parsed.document !== undefined
  const lines = text.split('\n').length
  const goTo = (line: number) => {
    const field = area.current
    if (field === null) return
    const start = text.split('\n').slice(0, line - 1).join('\n').length + (line > 1 ? 1 : 0)
    field.focus()
    field.setSelectionRange(start, start + (text.split('\n')[line - 1]?.length ?? 0))
    const height = field.scrollHeight / lines
    field.scrollTop = Math.max(0, (line - 4) * height)
  }
  return (
    <>
      <PageHead title={t('yaml.editTitle')} note={t('yaml.editNote')}>
        <Button variant="default" onClick={close}>{t('action.cancel')}</Button>
        <Button
          disabled={!ready}
          onClick={() => {
            if (parsed.document === undefined) return
            const taken = parsed.document
            edit('', () => completed(taken))
            close()
          }}
          data-testid="take-over"
        >
          {t('yaml.takeOver')}
        </Button>
      </PageHead>
      <div className="h-columns h-columns-text">
        <Panel title="YAML" flush>
          <div className="h-editor">
            <pre ref={numbers} aria-hidden>{Array.from({ length: lines }, (_, at) => at + 1).join('\n')}</pre>
            <textarea
              ref={area}
              aria-label={t('yaml.editTitle')}
              spellCheck={false}
              autoComplete="off"
              wrap="off"
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
              onScroll={(event) => {
                if (numbers.current !== null) numbers.current.scrollTop = event.currentTarget.scrollTop
              }}
              data-testid="yaml-text"
            />
          </div>
        </Panel>
        <Panel title={t('yaml.check')}>
          <div role="status" aria-live="polite">
            {problems.length > 0 ? (
              <>
                <Status kind="bad">{t('review.problems', { count: problems.length })}</Status>
                <ul className="h-problems">
                  {problems.slice(0, 50).map((problem) => (
                    <li key={`${problem.line} ${problem.field} ${problem.text}`}>
                      <button type="button" className="h-link" onClick={() => goTo(problem.line)}>{t('yaml.line', { line: problem.line })}</button>{' '}
                      {problem.field !== '' && <code>{problem.field}</code>} {problem.text}
                    </li>
                  ))}
                </ul>
              </>
            ) : validation.error !== null ? <FailureNote error={validation.error} retry={() => void validation.refetch()} />
            : !ready ? <Group gap="xs"><Status kind="busy">{t('yaml.checking')}</Status></Group>
            : (
              <>
                <Status kind="ok">{t('yaml.valid')}</Status>
                <Text c="dimmed" mt="xs" mb={4}>{t('yaml.changes')}</Text>
                <ChangeList changes={validation.data?.changes ?? []} />
              </>
            )}
          </div>
        </Panel>
      </div>
    </>
  )
}
