/**
 * What the fields of the configuration document are made of: names, durations, ports, addresses and the patterns of texts.
 * The objects are in `schema.ts` and, by topic, beside it.
 */
import Type from 'typebox'

export const closed = { additionalProperties: false } as const

export const namePattern = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
export const durationPattern = '^(0|[1-9][0-9]{0,8})(ms|s|m|h)$'
export const pathPattern = '^/[!-~]*$'
export const printablePattern = '^[!-~]*$'
export const statusPattern = '^[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$'

/** The name by which other parts of the document refer to an object. */
export const Name = Type.String({
  pattern: namePattern,
  minLength: 1,
  maxLength: 63,
  description: 'Lower-case letters, digits and hyphens, 1 to 63 characters.',
})

export const Duration = (fallback: string, description: string) =>
  Type.String({ pattern: durationPattern, default: fallback, description })

export const Port = (description: string) => Type.Integer({ minimum: 1, maximum: 65535, description })
export const Address = Type.String({ minLength: 2, maxLength: 45, format: 'ip-address', description: 'IPv4 or IPv6 address.' })

