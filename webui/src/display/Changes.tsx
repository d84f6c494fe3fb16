/** What differs between two configuration documents: as a list for people, and as a unified diff. */
import { useTranslation } from 'react-i18next'
import { Text } from '@mantine/core'
import type { Change } from '../../../node/api/types.ts'

export function ChangeList({ changes }: { readonly changes: readonly Change[] }) {
  const { t } = useTranslation()
  if (changes.length === 0) return <Text c="dimmed">{t('changes.none')}</Text>
  return (
    <ul className="h-changes" data-testid="changes">
      {changes.map((change) => (
        <li key={`${change.path} ${change.kind}`} className={`h-change-${change.kind}`}>
          <span className="h-change-kind">{t(`changes.${change.kind}`)}</span>
          <div>
            <code className="h-change-path">{change.path}</code>
            {change.kind === 'changed' && change.before !== undefined && change.after !== undefined ? (
              <span className="h-change-values">
                <del>{short(change.before)}</del> → <ins>{short(change.after)}</ins>
              </span>
            ) : (
              <span className="h-change-values">{change.text}</span>
            )}
          </div>
        </li>
      ))}
    </ul>
  )
}

function short(json: string): string {
  return json.length > 160 ? `${json.slice(0, 160)}…` : json
}

export function UnifiedDiff({ text, label }: { readonly text: string; readonly label: string }) {
  const { t } = useTranslation()
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  if (lines.length === 0) return <Text c="dimmed">{t('changes.none')}</Text>
  return (
    <pre className="h-diff" tabIndex={0} aria-label={label} data-testid="unified-diff">
      {lines.map((line, at) => (
        <span key={at} className={lineClass(line)}>
          {line === '' ? ' ' : line}
          {'\n'}
        </span>
      ))}
    </pre>
  )
}

function lineClass(line: string): string {
  if (line.startsWith('+++') || line.startsWith('---') || line.startsWith('Index:') || line.startsWith('===')) return 'h-diff-head'
  if (line.startsWith('@@')) return 'h-diff-place'
  if (line.startsWith('+')) return 'h-diff-added'
  if (line.startsWith('-')) return 'h-diff-removed'
  return 'h-diff-same'
}
