/** The reference in docs/ says what the schema says. */
import test from 'ava'
import { readFileSync } from 'node:fs'
import type { SchemaNode } from './complete.ts'
import { exampleYaml, referenceMarkdown } from './reference.ts'
import { ConfigurationDocument } from './schema.ts'
import { parseYaml, toYaml } from './yaml.ts'

test('docs/reference/configuration.md is up to date (node node/config/reference-cli.ts)', (t) => {
  t.is(readFileSync(new URL('../../docs/reference/configuration.md', import.meta.url), 'utf8'), referenceMarkdown())
})

test('the example is valid and looks like what Haechi writes', (t) => {
  const result = parseYaml(exampleYaml)
  if (!result.ok) return t.fail(JSON.stringify(result.problems))
  t.is(toYaml(result.document, { omitDefaults: true }), exampleYaml)
})

test('every field has a description, and every field is in the reference', (t) => {
  const text = referenceMarkdown()
  const visit = (node: SchemaNode, path: string): void => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      t.truthy(child.description, `${path}/${key} has no description`)
      t.true(text.includes(`| \`${key}\` |`), key)
      visit(child.items ?? child, `${path}/${key}`)
    }
  }
  visit(ConfigurationDocument as unknown as SchemaNode, '')
})
