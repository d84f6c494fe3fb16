/** Bodies that are a whole configuration document, as JSON or as YAML. */
import { validateDocument, type ValidationResult } from '../config/validate.ts'
import { parseYaml } from '../config/yaml.ts'

export const yamlTypes: readonly string[] = ['application/yaml', 'application/x-yaml', 'text/yaml', 'text/x-yaml']

/** A YAML body, not parsed yet. */
export class YamlText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Validates a body as a whole document. Problems of YAML name line and column. */
export function readDocument(body: unknown): ValidationResult {
  if (body instanceof YamlText) return parseYaml(body.text)
  if (body === null || body === undefined)
    return { ok: false, problems: [{ field: '', message: 'the body is empty; expected a configuration document' }] }
  return validateDocument(body)
}
