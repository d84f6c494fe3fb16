/**
 * `npm run sim -- --mutants`: breaks the code on purpose, in one way at a time (`mutants.yaml`), and sees to it that the
 * simulator notices, within `seedLimit` seeds. Works on copies; the tree is not touched.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Every mutant must be caught within this many seeds. */
export const seedLimit = 2000

export interface Mutant {
  /** What is broken. */
  readonly name: string
  readonly file: string
  /** Occurs once in the file. */
  readonly find: string
  readonly replace: string
  /** More places, where one is not enough. */
  readonly also?: readonly { readonly file: string; readonly find: string; readonly replace: string }[]
}

export function readMutants(): Mutant[] {
  return parse(readFileSync(new URL('mutants.yaml', import.meta.url), 'utf8')) as Mutant[]
}

/** What is wrong with the list, so that a mutant that no longer applies is not taken for one that was caught. */
export function faultsIn(mutants: readonly Mutant[]): string[] {
  return mutants.flatMap(({ name, also = [], ...first }) =>
    [first, ...also].flatMap(({ file, find, replace }) => {
      const times = readFileSync(join(root, file), 'utf8').split(find).length - 1
      if (times !== 1) return [`${name}: its text is ${times} times in ${file}`]
      return find === replace ? [`${name}: changes nothing`] : []
    }),
  )
}

export interface Caught {
  readonly name: string
  /** Seeds run until it was noticed; undefined if it was not. */
  readonly seeds: number | undefined
  /** The first line of what was noticed. */
  readonly how: string
}

async function tryMutant({ name, also = [], ...first }: Mutant): Promise<Caught> {
  const copy = mkdtempSync(join(tmpdir(), 'haechi-mutant-'))
  try {
    for (const part of ['consensus', 'cluster-tests/sim', 'cluster-tests/history', 'package.json']) cpSync(join(root, part), join(copy, part), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    for (const { file, find, replace } of [first, ...also]) {
      const path = join(copy, file)
      writeFileSync(path, readFileSync(path, 'utf8').replace(find, () => replace))
    }
    const output = await new Promise<string>((resolve) => {
      const child = spawn(process.execPath, [join(copy, 'cluster-tests/sim/main.ts'), '--seeds', `1..${seedLimit}`, '--jobs', '1', '--json'], { stdio: ['ignore', 'pipe', 'pipe'] })
      let text = ''
      child.stdout.on('data', (data: Buffer) => (text += data.toString()))
      child.stderr.on('data', (data: Buffer) => (text += data.toString()))
      // A mutant that runs in circles is caught as well.
      const timer = setTimeout(() => child.kill('SIGKILL'), 300_000)
      child.on('close', () => {
        clearTimeout(timer)
        resolve(text)
      })
    })
    const line = output.split('\n').findLast((text) => text.startsWith('{'))
    const { failed, error } = (line === undefined ? {} : JSON.parse(line)) as { failed?: number; error?: string }
    if (failed !== undefined) return { name, seeds: failed, how: error ?? '' }
    return line === undefined ? { name, seeds: undefined, how: output.slice(0, 300) } : { name, seeds: undefined, how: '' }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** Tries those whose name contains `pattern`, `jobs` at a time; reports each. */
export async function tryMutants(pattern: string, jobs: number, report: (caught: Caught) => void): Promise<Caught[]> {
  const queue = readMutants().filter(({ name }) => name.includes(pattern))
  const results: Caught[] = []
  const worker = async () => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const caught = await tryMutant(mutant)
      results.push(caught)
      report(caught)
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  return results
}
