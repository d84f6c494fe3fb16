/** Writes docs/reference/configuration.md: `node node/config/reference-cli.ts`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { referenceMarkdown } from './reference.ts'

const directory = fileURLToPath(new URL('../../docs/reference/', import.meta.url))
mkdirSync(directory, { recursive: true })
writeFileSync(`${directory}configuration.md`, referenceMarkdown())
