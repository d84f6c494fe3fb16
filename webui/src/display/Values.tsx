/** Small pieces of text: a value with its unit, an instant with how long ago, code that can be copied. */
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ActionIcon, CopyButton, Tooltip } from '@mantine/core'
import { IconCheck, IconCopy } from '@tabler/icons-react'
import { useFormat, type Quantity } from './format.ts'

export function Unit({ value, unit }: Quantity) {
  return (
    <span className="h-quantity">
      {value}
      <span className="h-unit">{unit}</span>
    </span>
  )
}

export function Rate({ value }: { readonly value: number }) {
  const format = useFormat()
  return <Unit value={format.rate(value)} unit="/s" />
}

/** Time to the first byte: what half of the answers and 99 of 100 did not exceed. */
export function Latency({ of }: { readonly of: { readonly p50Ms: number; readonly p90Ms: number; readonly p99Ms: number } | null }) {
  if (of === null) return <>–</>
  const text = (ms: number): string => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)))
  return <span title={`p50 ${text(of.p50Ms)} ms, p90 ${text(of.p90Ms)} ms, p99 ${text(of.p99Ms)} ms`}><Unit value={`${text(of.p50Ms)} / ${text(of.p99Ms)}`} unit="ms" /></span>
}

export function Speed({ value }: { readonly value: number }) {
  return <Unit {...useFormat().speed(value)} />
}

/** The present, wall-clock milliseconds, renewed every `everyMs`. */
export function useNow(everyMs = 1000): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

/** How long since an instant; the instant itself as the title. */
export function Since({ at }: { readonly at: number }) {
  const format = useFormat()
  const now = useNow()
  if (at <= 0) return <>–</>
  return (
    <time dateTime={new Date(at).toISOString()} title={format.instant(at)}>
      {format.span(now - at)}
    </time>
  )
}

export function Instant({ at }: { readonly at: number }) {
  const format = useFormat()
  return (
    <time dateTime={new Date(at).toISOString()} className="h-tabular">
      {format.instant(at)}
    </time>
  )
}

export function Copy({ text, label }: { readonly text: string; readonly label: string }) {
  const { t } = useTranslation()
  return (
    <CopyButton value={text} timeout={2000}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t('state.copied') : label}>
          <ActionIcon onClick={copy} aria-label={copied ? t('state.copied') : label}>
            {copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  )
}

export function CodeLine({ text, label }: { readonly text: string; readonly label: string }) {
  return (
    <div className="h-code-line">
      <code tabIndex={0} aria-label={label}>
        {text}
      </code>
      <Copy text={text} label={label} />
    </div>
  )
}
