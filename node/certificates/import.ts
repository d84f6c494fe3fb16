/**
 * Reads what an operator brings in a thread of its own, with a limit on the time: passphrases are stretched on purpose, and
 * meanwhile the main thread has to say to the heart that it lives.
 */
import { Worker } from 'node:worker_threads'
import type { ReadInput, ReadResult } from './read.ts'

const limitMs = 15_000
/** Inputs that may be read at the same time; more are refused. */
const maxReading = 4
let reading = 0

/** Rejects (429) when too many are being read. `limit`: milliseconds that it may take. */
export async function importCertificate(input: ReadInput, limit = limitMs): Promise<ReadResult> {
  if (reading >= maxReading) throw Object.assign(new Error('Too many certificates are being read at once.'), { statusCode: 429, retryAfterMs: 1000 })
  return apart(input, limit)
}

/** Never rejects. */
function apart(input: ReadInput, limit: number): Promise<ReadResult> {
  const field = input.kind === 'authority' ? '/certificates' : input.pkcs12 === undefined ? '/certificate' : '/pkcs12'
  const refused = (message: string): ReadResult => ({ ok: false, faults: [{ field, message }] })
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./import-worker.ts', import.meta.url), { workerData: input, name: 'certificate', resourceLimits: { maxOldGenerationSizeMb: 128 } })
    reading++
    const done = (result: ReadResult): void => {
      clearTimeout(timer)
      resolve(result)
      void worker.terminate()
    }
    const timer = setTimeout(() => done(refused(`cannot be read within ${limit / 1000} s`)), limit)
    worker.once('message', done)
    worker.once('error', (error) => done(refused(`cannot be read: ${(error as Error).message.split('\n')[0]!.slice(0, 200)}`)))
    worker.once('exit', () => {
      // Only now: a thread that is told to end finishes first what OpenSSL is at.
      reading--
      done(refused('cannot be read'))
    })
  })
}
