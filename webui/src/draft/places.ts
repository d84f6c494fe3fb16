/** From a JSON pointer of the document to names that people know and to the page where the field is edited. Pure. */
import type { ConfigurationDocument } from '../../../node/api/types.ts'

export interface Place {
  /** By names: `pools/web/members/b/port`. */
  readonly label: string
  /** Empty: no page edits it. */
  readonly href: string
}

export function placeOf(pointer: string, document: ConfigurationDocument | undefined): Place {
  const keys = pointer.split('/').slice(1).map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
  const names: string[] = []
  let value: unknown = document
  for (const key of keys) {
    value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
    const name = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)['name'] : undefined
    names.push(typeof name === 'string' && name !== '' ? name : key)
  }
  const [part, name] = names
  if (part === 'accessLists') return { label: names.join('/'), href: '/listeners' }
  if (part === 'failover') return { label: names.join('/'), href: '/vips' }
  const editable = part === 'pools' || part === 'listeners' || part === 'vips'
  return {
    label: names.join('/') || '/',
    href: !editable ? '' : name === undefined ? `/${part}` : `/${part}/${encodeURIComponent(name)}`,
  }
}
