/**
 * From any value to a complete configuration document, or to what is wrong with it. Deterministic and pure: the same code
 * runs in the API, in the CLI and, once more, when a revision is applied on each node.
 */
import { compile, ProblemList, type SchemaNode } from './complete.ts'
import { ConfigurationDocument, type Problem } from './schema.ts'
import { checkSemantics } from './semantics.ts'

const reader = compile(ConfigurationDocument as unknown as SchemaNode)

export type ValidationResult =
  /** Complete (every default filled in), keys in the schema's order, addresses and host names in their one spelling. */
  | { readonly ok: true; readonly document: ConfigurationDocument }
  /** At least one and at most 100 problems. `field` is a JSON pointer (RFC 6901); the whole document is the empty one. */
  | { readonly ok: false; readonly problems: Problem[] }

/** Never throws, whatever the value is; the value is not changed and not kept. */
export function validateDocument(value: unknown): ValidationResult {
  const out = new ProblemList()
  const document = reader.read(value, '', out) as ConfigurationDocument
  // References between parts that are not even well-formed would only repeat the same complaints.
  if (out.problems.length === 0) checkSemantics(document, out)
  return out.problems.length === 0 ? { ok: true, document } : { ok: false, problems: out.problems }
}

/** A complete document without the values that are the defaults: what a person would have written. */
export function withoutDefaults(document: ConfigurationDocument): Record<string, unknown> {
  return { haechi: document.haechi, ...(reader.strip(document) as Record<string, unknown>) }
}
