/** One small file, replaced as a whole: it has the old content or the new one, whatever happens. */
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'

/** Durable when the promise resolves. Rejects when the disk refuses; then the old content is still there. */
export async function replaceFile(directory: string, name: string, text: string, mode = 0o644): Promise<void> {
  const draft = join(directory, `${name}.new`)
  const file = await open(draft, 'w', mode)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, join(directory, name))
  await syncDirectory(directory)
}

/** Makes what was created, renamed or removed in it durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
