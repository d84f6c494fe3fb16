/** `npm run load -- NAME …`: the proxy alone under loads that last or hurt. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const names = ['idle', 'sockets', 'members', 'slow']
const [name, ...rest] = process.argv.slice(2)
if (name === undefined || !names.includes(name)) {
  console.error(`usage: npm run load -- NAME …\nloads: ${names.join(', ')}`)
  process.exit(2)
}
const result = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, `${name}.ts`), ...rest], { stdio: 'inherit' })
process.exit(result.status ?? 1)
