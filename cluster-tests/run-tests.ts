/**
 * `npm test`: every check and every test, and one plain closing line. Static checks count as one test each.
 * `npm test -- FILE…` runs only those test files.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = (name: string): string => `${root}node_modules/.bin/${name}`

const totals = { passed: 0, failed: 0, skipped: 0 }
const failures: string[] = []

interface Check {
  readonly name: string
  readonly argv: readonly string[]
}

/** Fast and static: what `npm run check` runs. */
const checks: readonly Check[] = [
  { name: 'types: node', argv: [bin('tsc'), '--noEmit'] },
  { name: 'types: console', argv: [bin('tsc'), '--noEmit', '-p', 'webui'] },
  { name: 'lint', argv: [bin('oxlint'), '--quiet'] },
  { name: 'dead code', argv: [bin('knip'), '--no-progress'] },
]

/** Whole simulated clusters: always the same seeds, then fresh ones; and whether broken code is noticed. */
const sim = `${root}cluster-tests/sim/main.ts`
const simulations: readonly Check[] = [
  { name: 'sim: seeds 1 to 2000', argv: [process.execPath, sim, '--seeds', '1..2000'] },
  { name: 'sim: two minutes of fresh seeds', argv: [process.execPath, sim, '--minutes', '2'] },
  { name: 'sim: every mutant is caught', argv: [process.execPath, sim, '--mutants'] },
]

function capture(argv: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(argv[0]!, argv.slice(1), { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (output += data.toString()))
    child.on('error', (error) => resolve({ code: 1, output: error.message }))
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

async function runChecks(some: readonly Check[]): Promise<void> {
  for (const check of some) {
    const { code, output } = await capture(check.argv)
    if (code === 0) {
      totals.passed++
      console.log(`ok       ${check.name}`)
      if (some === simulations) for (const line of output.trim().split('\n').slice(-2)) console.log(`           # ${line}`)
    } else {
      totals.failed++
      failures.push(check.name)
      console.log(`not ok   ${check.name}\n${output}`)
    }
  }
}

/** Runs ava and reads its TAP, so that passes, failures and skips (with reasons) are counted the same way. */
function runAva(files: readonly string[], extra: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [bin('ava'), '--tap', ...extra, ...files], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, FORCE_COLOR: '0' },
    })
    let inFailure = false
    let counted = 0
    createInterface({ input: child.stdout }).on('line', (line) => {
      const result = /^(not )?ok \d+ - (.*)$/.exec(line)
      if (result === null) {
        // Diagnostics of a failure and `t.log` lines, such as the reason for a skip.
        if (inFailure || /^\s*#\s/.test(line)) console.log(`         ${line}`)
        return
      }
      counted++
      const [, bad, title = ''] = result
      inFailure = false
      if (/# (SKIP|TODO)\b/.test(title)) {
        totals.skipped++
        console.log(`skipped  ${title.replace(/ # (SKIP|TODO).*/, '')}`)
      } else if (bad === undefined) {
        totals.passed++
        console.log(`ok       ${title}`)
      } else {
        totals.failed++
        failures.push(title)
        inFailure = true
        console.log(`not ok   ${title}`)
      }
    })
    child.on('close', (code) => {
      // A file that crashed or timed out without a failing test must not pass.
      if (code !== 0 && totals.failed === 0) {
        totals.failed++
        failures.push(`ava ended with exit code ${code}`)
      }
      if (counted === 0) {
        totals.failed++
        failures.push('no test ran')
      }
      resolve()
    })
  })
}

const chosen = process.argv.slice(2).filter((argument) => argument !== '--checks-only')
const checksOnly = process.argv.includes('--checks-only')
if (chosen.length === 0) await runChecks(checks)
if (!checksOnly) await runAva(chosen, [])
if (!checksOnly && chosen.length === 0) await runChecks(simulations)

if (failures.length > 0) console.log(`\nFailed:\n${failures.map((name) => `  ${name}`).join('\n')}`)
console.log('')
console.log(`${totals.passed} passed, ${totals.failed} failed${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''}`)
process.exitCode = totals.failed === 0 ? 0 : 1
