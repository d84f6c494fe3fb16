/** `npm run bench -- NAME …`: starts a benchmark by its name. */
import { existsSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
/** A table that grows with the benchmarks. */
const names = ['http', 'proxy', 'consensus', 'snapshot', 'sessions'].filter((file) => existsSync(`${folder}${file}.ts`))
const [name, ...rest] = process.argv.slice(2)

if (name === undefined || !names.includes(name)) {
  console.error(`usage: npm run bench -- NAME [--json FILE] …\nbenchmarks: ${names.join(', ')}`)
  process.exitCode = 2
} else {
  const result = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', `${folder}${name}.ts`, ...rest], { stdio: 'inherit' })
  process.exitCode = result.status ?? 1
}
