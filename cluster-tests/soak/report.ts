/** The figures of a soak in lines of text. */
import type { Summary } from '../drills/analysis.ts'

function isSummary(value: object): value is Summary {
  return 'p50' in value && 'n' in value
}

function text(value: unknown): string {
  if (value === null) return '-'
  if (typeof value !== 'object') return String(value)
  if (isSummary(value)) return `n ${value.n}, min ${value.min}, p50 ${value.p50}, p99 ${value.p99}, max ${value.max}`
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map((one) => `\n  ${text(one)}`).join('')
  const entries = Object.entries(value)
  const nested = entries.some(([, inner]) => typeof inner === 'object' && inner !== null)
  return nested ? entries.map(([key, inner]) => `\n  ${key}: ${text(inner)}`).join('') : entries.map(([key, inner]) => `${key} ${text(inner)}`).join(', ')
}

/** One line per figure; nested ones indented; `details` are for the JSON only. */
export function inWords(report: object): string {
  return Object.entries(report)
    .filter(([key]) => key !== 'details')
    .map(([key, value]) => `${key}: ${text(value)}`)
    .join('\n')
}
