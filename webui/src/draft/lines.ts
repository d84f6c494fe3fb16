/** Lists of the document as lines of text, one entry a line, for fields in which an operator types them. Pure. */
import type { Route } from '../../../node/api/types.ts'

export type ValueRule = NonNullable<Route['match']>['query'][number]
export interface NamedValue {
  readonly name: string
  readonly value: string
}

/** `name`, `name = value`, `name ^= prefix`, `name ~ regex`; a `!` in front turns the rule round. */
export function ruleLines(rules: readonly ValueRule[]): string {
  return rules
    .map(({ name, equals, prefix, regex, not }) => {
      const test = equals !== undefined ? ` = ${equals}` : prefix !== undefined ? ` ^= ${prefix}` : regex !== undefined ? ` ~ ${regex}` : ''
      return `${not ? '!' : ''}${name}${test}`
    })
    .join('\n')
}

export function rulesOf(text: string): ValueRule[] {
  return lines(text).map((line) => {
    const [, not, name = '', operator, value = ''] = /^(!?)\s*(.+?)(?:\s+(=|\^=|~)(?:\s+(.*))?)?$/.exec(line) ?? []
    const rule = { name, not: not === '!' }
    if (operator === '=') return { ...rule, equals: value }
    if (operator === '^=') return { ...rule, prefix: value }
    return operator === '~' ? { ...rule, regex: value } : rule
  })
}

/** `Name: value`, as in a request. */
export function fieldLines(fields: readonly NamedValue[]): string {
  return fields.map(({ name, value }) => `${name}: ${value}`).join('\n')
}

export function fieldsOf(text: string): NamedValue[] {
  return lines(text).map((line) => {
    const colon = line.indexOf(':')
    return colon < 0 ? { name: line, value: '' } : { name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() }
  })
}

function lines(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter((line) => line !== '')
}
