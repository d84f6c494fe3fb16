/**
 * The process that the heart runs in. `haechi start` looks at its arguments and then becomes the heart: the same process
 * (execve keeps its id, its starter and its standard streams), but with nothing of the command line left in memory, and
 * with what V8 and the allocator only take from their start. The choices and their figures: README.md.
 */
import { flushCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { HeartOptions } from './heart.ts'
import { heartEnvironment, heartFlags } from './heart-settings.ts'

/** Replaces this process by the heart of `options.directory`, an absolute path. Does not return. */
export function becomeHeart(options: Omit<HeartOptions, 'timing'>): never {
  const { directory, listen, api, workers, stopOnStdinEnd } = options
  return run(heartEnvironment(directory), [
    '--dir', directory,
    ...(listen === undefined ? [] : ['--listen', listen]),
    ...(api === undefined ? [] : ['--api', api]),
    ...(workers === undefined ? [] : ['--workers', String(workers)]),
    ...(stopOnStdinEnd === true ? ['--stop-on-stdin-end'] : []),
  ])
}

function run(environment: NodeJS.ProcessEnv, args: readonly string[]): never {
  const { execve } = process
  if (execve === undefined) throw new Error('this Node.js cannot replace a process')
  return execve(process.execPath, [process.execPath, ...heartFlags, fileURLToPath(import.meta.url), ...args], environment)
}

/** The compiler for TypeScript is WebAssembly and 30 MiB. Once loaded it stays. */
function compilerIsLoaded(): boolean {
  const { moduleLoadList } = process as unknown as { readonly moduleLoadList?: readonly string[] }
  return moduleLoadList?.some((name) => name.includes('amaro')) ?? false
}

async function main(): Promise<void> {
  const args = process.argv.slice(2)
  const { values } = parseArgs({
    args,
    options: {
      dir: { type: 'string' }, listen: { type: 'string' }, api: { type: 'string' }, workers: { type: 'string' },
      'stop-on-stdin-end': { type: 'boolean' }, compiled: { type: 'boolean' },
    },
  })
  const { dir: directory, listen, api, workers } = values
  if (directory === undefined) throw new Error('--dir is missing: haechi start runs this')
  const { runHeart } = await import('./heart.ts')
  const { loadIdentity } = await import('../consensus/identity.ts')
  // What the heart of a node loads when it starts belongs into the cache as well.
  if (loadIdentity(directory).role === 'node') await Promise.all([import('../vip/manager.ts'), import('../vip/kernel.ts')])
  // The first start of this version has filled the cache, at the price of the compiler; start over from it.
  if (compilerIsLoaded() && values.compiled !== true) {
    flushCompileCache()
    run(process.env, [...args, '--compiled'])
  }
  await runHeart({
    directory,
    ...(listen === undefined ? {} : { listen }),
    ...(api === undefined ? {} : { api }),
    ...(workers === undefined ? {} : { workers: Number(workers) }),
    stopOnStdinEnd: values['stop-on-stdin-end'] === true,
  })
}

if (import.meta.main) {
  main().catch((error: Error) => {
    process.stderr.write(`error: the node cannot start: ${error.message}\n`)
    process.exitCode = 1
  })
}
