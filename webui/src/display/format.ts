/** Numbers, rates, sizes, spans and instants as people read them; always with a unit. */
import { useMemo } from 'react'
import { useTranslation } from 'react-i18next'

export interface Quantity {
  readonly value: string
  readonly unit: string
}

export interface Format {
  /** A plain count, grouped. */
  readonly count: (value: number) => string
  /** Events per second, one decimal below 100; what would be rounded to nothing is `<0.1`. */
  readonly rate: (value: number) => string
  /** Bytes per second, decimal steps as in network speeds. */
  readonly speed: (bytesPerSecond: number) => Quantity
  /** Memory in binary steps. */
  readonly memory: (bytes: number) => Quantity
  /** A span of time in at most two steps: `3 h 12 min`. */
  readonly span: (milliseconds: number) => string
  /** `2026-11-24 08:51:44`, local time. */
  readonly instant: (epochMs: number) => string
  /** `08:51:44`, local time. */
  readonly clock: (epochMs: number) => string
}

const pad = (value: number) => String(value).padStart(2, '0')

function steps(value: number, base: number, units: readonly string[]): Quantity {
  let at = 0
  let rest = value
  // 999.95 would be shown as 1000.0, so it takes the next step already.
  while (rest >= base * 0.9995 && at < units.length - 1) {
    rest /= base
    at++
  }
  return { value: at === 0 || rest >= 100 ? String(Math.round(rest)) : rest.toFixed(1), unit: units[at] ?? '' }
}

export function makeFormat(language: string, words: { readonly [unit in 'd' | 'h' | 'min' | 's' | 'ms']: string }): Format {
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 })
  const tenth = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 })
  const glue = language.startsWith('ko') ? '' : ' '
  const part = (value: number, unit: string) => `${whole.format(value)}${glue}${unit}`
  return {
    count: (value) => whole.format(value),
    rate: (value) => (value > 0 && value < 0.05 ? `<${tenth.format(0.1)}` : value === 0 || value >= 99.95 ? whole.format(value) : tenth.format(value)),
    speed: (value) => steps(value, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s']),
    memory: (value) => steps(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']),
    span: (milliseconds) => {
      const ms = Math.max(0, milliseconds)
      if (ms < 1000) return part(Math.round(ms), words.ms)
      const s = Math.floor(ms / 1000)
      if (s < 60) return part(s, words.s)
      const [d, h, min] = [Math.floor(s / 86_400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60]
      if (d > 0) return h > 0 ? `${part(d, words.d)} ${part(h, words.h)}` : part(d, words.d)
      if (h > 0) return min > 0 ? `${part(h, words.h)} ${part(min, words.min)}` : part(h, words.h)
      return s % 60 > 0 && min < 10 ? `${part(min, words.min)} ${part(s % 60, words.s)}` : part(min, words.min)
    },
    instant: (epochMs) => {
      const at = new Date(epochMs)
      return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`
    },
    clock: (epochMs) => {
      const at = new Date(epochMs)
      return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`
    },
  }
}

export function useFormat(): Format {
  const { t, i18n } = useTranslation()
  return useMemo(
    () => makeFormat(i18n.language, { d: t('unit.d'), h: t('unit.h'), min: t('unit.min'), s: t('unit.s'), ms: t('unit.ms') }),
    [t, i18n.language],
  )
}
