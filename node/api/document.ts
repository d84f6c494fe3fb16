/**
 * Bodies that are a whole configuration document, as JSON or as YAML. Large YAML is read in a thread of its own: it takes
 * about a second a megabyte, and meanwhile the main thread has to say to the heart that it lives, and to answer others.
 */
import { Worker } from 'node:worker_threads'
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

/** Shorter texts are read at once: that takes less long than to start a thread. */
const inlineLength = 32 * 1024
const readLimitMs = 20_000
/** Large texts that may wait for their turn; they are read one by one. */
const maxReading = 8

let reading = 0
let last: Promise<unknown> = Promise.resolve()

/** Validates a body as a whole document. Problems of YAML name line and column. Rejects (429) when too many are waiting. */
export async function readDocument(body: unknown): Promise<ValidationResult> {
  if (body instanceof YamlText) return body.text.length <= inlineLength ? parseYaml(body.text) : readLarge(body.text)
  if (body === null || body === undefined)
    return { ok: false, problems: [{ field: '', message: 'the body is empty; expected a configuration document' }] }
  return validateDocument(body)
}

async function readLarge(text: string): Promise<ValidationResult> {
  if (reading >= maxReading) {
    throw Object.assign(new Error('Too many large documents are being read at once.'), { statusCode: 429, retryAfterMs: 2000 })
  }
  reading++
  const result = last.then(() => readApart(text))
  last = result
  try {
    return await result
  } finally {
    reading--
  }
}

/** Never rejects. */
function readApart(text: string): Promise<ValidationResult> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./document-worker.ts', import.meta.url), {
      workerData: text,
      name: 'document',
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    })
    const done = (result: ValidationResult): void => {
      clearTimeout(timer)
      resolve(result)
      void worker.terminate()
    }
    const timer = setTimeout(() => done(unread(`cannot be read within ${readLimitMs / 1000} s: simplify it`)), readLimitMs)
    worker.once('message', done)
    worker.once('error', (error) => done(unread(`cannot be read: ${(error as Error).message}`)))
    worker.once('exit', () => done(unread('cannot be read')))
  })
}

function unread(message: string): ValidationResult {
  return { ok: false, problems: [{ field: '', message, line: 1, column: 1 }] }
}
