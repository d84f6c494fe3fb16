/**
 * Every drill once, on real hosts in network namespaces: nobody ever sees two holders, and the address comes back. Figures are
 * for `npm run drill`; here only order and correctness decide, however slow the machine is. Needs root.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'

const root = join(import.meta.dirname, '..', '..')
const lab = `test${process.pid}`
const isRoot = process.getuid?.() === 0
const reason = !isRoot ? 'needs root (network namespaces)' : !existsSync('/usr/sbin/nft') && !existsSync('/sbin/nft') ? 'needs nftables' : ''
if (reason !== '') console.log(`# the drills are skipped: ${reason}`)
const run = reason === '' ? test.serial : test.serial.skip

function tool(script: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(root, script), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (output += data.toString()))
    child.on('close', (code) => resolve({ code, output }))
  })
}

test.after.always(async () => {
  if (reason === '') await tool('cluster-tests/lab/main.ts', ['down', '--name', lab])
})

interface Report {
  readonly drills: readonly { readonly drill: string; readonly measured: number; readonly dual_holder_ms: { readonly max: number } }[]
}

run('every drill: no two holders, and the address comes back', async (t) => {
  t.timeout(300_000)
  const folder = mkdtempSync(join(tmpdir(), 'haechi-drills-'))
  try {
    const file = join(folder, 'report.json')
    const { code, output } = await tool('cluster-tests/drills/main.ts', ['all', '--runs', '1', '--name', lab, '--keep', '--json', file])
    t.is(code, 0, output)
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report
    t.deepEqual(report.drills.map(({ drill }) => drill).sort(), ['crash-node', 'freeze', 'kill-holder', 'partition', 'power-off', 'switchover'])
    for (const { drill, measured, dual_holder_ms: dual } of report.drills) t.deepEqual([measured, dual.max], [1, 0], drill)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

run('the holder is killed under changes from both nodes: nothing acknowledged is lost, all replicas are equal', async (t) => {
  t.timeout(180_000)
  const { code, output } = await tool('cluster-tests/drills/main.ts', ['apply-under-kill', '--runs', '2', '--name', lab, '--keep'])
  t.is(code, 0, output)
})

run('changes through a follower are in force everywhere, stale and invalid ones change nothing, nothing in flight fails', async (t) => {
  t.timeout(120_000)
  const { code, output } = await tool('cluster-tests/drills/main.ts', ['apply-latency', '--runs', '5', '--name', lab, '--keep'])
  t.is(code, 0, output)
})
