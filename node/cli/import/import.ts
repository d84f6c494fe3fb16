/** What the command needs of this folder: which format a text is in, and its reader. Pure. */
export { importHaproxy } from './haproxy.ts'
export { importNginx } from './nginx.ts'

export type Format = 'haproxy' | 'nginx'

/** Undefined: it looks like neither. */
export function formatOf(text: string): Format | undefined {
  if (/^\s*(?:(?:http|stream|server|events)|upstream\s+\S+)\s*\{/m.test(text)) return 'nginx'
  return /^\s*(global|defaults|frontend|backend|listen)\b[^{;]*$/m.test(text) ? 'haproxy' : undefined
}
