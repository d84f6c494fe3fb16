/**
 * Clients stay on their members over a failover: sessions by a header field in the replicated table, and TLS clients that take
 * up their sessions again. The holder is killed between two rounds of all clients.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { seedDocument, type LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { ports } from '../lab/plan.ts'
import { waitFor } from '../lab/wait.ts'
import type { Outcome } from './apply-under-kill.ts'
import type { Round } from './kept-clients.ts'
import { repair } from './run.ts'

export interface KeepClientsOptions {
  readonly lab: Lab
  readonly runs: number
  readonly sessions: number
  readonly log: (line: string) => void
}

interface KeepRun {
  readonly run: number
  readonly killed: string
  readonly holder_after: string
  readonly entries_on_new_holder: number
  readonly first: Round
  readonly after: Round
  readonly same_share: number
  readonly resumed_share: number
}

const tlsPort = 8444
const tlsClients = 1000
const wantedSame = 0.999
const wantedResumed = 0.95

/** A self-signed certificate; the clients do not check it, what counts is the resumption. */
function makeCertificate(): { certificate: string; key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'haechi-drill-'))
  try {
    const key = join(folder, 'key.pem')
    const chain = join(folder, 'chain.pem')
    const made = spawnSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj', '/CN=drill.example',
      '-addext', 'subjectAltName=DNS:drill.example', '-keyout', key, '-out', chain,
    ])
    if (made.status !== 0) throw new Error(`openssl: ${made.stderr?.toString() ?? 'is not installed'}`)
    return { certificate: readFileSync(chain, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function entriesOf(node: LabNode): Promise<number> {
  const text = await node.get<string>('/metrics')
  return Number(/^haechi_session_entries (\d+)$/m.exec(text)?.[1] ?? Number.NaN)
}

async function configure(lab: Lab, sessions: number): Promise<void> {
  const node = lab.node((await lab.waitHealthy(60_000)).holder)
  const put = await node.api('PUT', '/certificates/drill', makeCertificate())
  if (put.status !== 200 && put.status !== 201) throw new Error(`the certificate was refused: ${put.status} ${JSON.stringify(put.body)}`)
  const document = seedDocument(lab) as { pools: object[]; listeners: object[] }
  document.pools = document.pools.map((pool) => ({ ...pool, persistence: { type: 'header', header: 'X-Session', ttl: '30m', maxEntries: Math.max(1000, sessions * 3) } }))
  document.listeners.push({ name: 'https', vip: 'front', port: tlsPort, protocol: 'https', tls: { certificates: ['drill'] }, pool: 'web' })
  await lab.cluster.apply(document, node, 'drill: sessions and TLS')
  await lab.waitHealthy(60_000)
}

class KeptClients {
  readonly #lines: AsyncIterator<string>
  readonly #child

  constructor(lab: Lab, sessions: number) {
    const program = fileURLToPath(new URL('kept-clients.ts', import.meta.url))
    this.#child = lab.host('client').spawn(
      [process.execPath, '--disable-warning=ExperimentalWarning', program, lab.plan.vip, String(ports.listener), String(tlsPort), String(sessions), String(tlsClients)],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
  }

  async round(): Promise<Round> {
    this.#child.stdin!.write('go\n')
    const line = await this.#lines.next()
    if (line.done === true) throw new Error('the clients ended')
    return JSON.parse(line.value) as Round
  }

  end(): void {
    this.#child.stdin!.end()
  }
}

async function one(lab: Lab, run: number, sessions: number): Promise<KeepRun> {
  const holder = lab.node((await lab.waitHealthy(60_000)).holder)
  const standby = lab.nodes().find((node) => node !== holder && !node.witness)!
  const before = await entriesOf(standby)
  const clients = new KeptClients(lab, sessions)
  try {
    const first = await clients.round()
    if (first.failed + first.tlsFailed > 0) throw new Error(`before the fault ${first.failed} requests and ${first.tlsFailed} TLS clients failed`)
    // Entries are batched for some milliseconds; a table that never fills is the result, not a reason to wait for ever.
    await waitFor('the entries on the standby', async () => {
      const entries = await entriesOf(standby)
      return entries >= Math.max(before, sessions) ? true : `${entries} entries`
    }, { timeoutMs: 10_000, everyMs: 100 }).catch(() => undefined)
    holder.kill9Tree()
    await waitFor('another holder', async () => {
      const view = await standby.get<{ vips: { holder: string }[] }>('/status')
      return view.vips.every((vip) => vip.holder === standby.name) ? true : 'not yet'
    }, { timeoutMs: 10_000, everyMs: 20 })
    const after = await clients.round()
    return {
      run, killed: holder.name, holder_after: standby.name, entries_on_new_holder: await entriesOf(standby), first, after,
      same_share: after.same / sessions, resumed_share: after.resumed / tlsClients,
    }
  } finally {
    clients.end()
  }
}

export async function keepClients({ lab, runs, sessions, log }: KeepClientsOptions): Promise<Outcome> {
  await configure(lab, sessions)
  const results: KeepRun[] = []
  for (let run = 1; run <= runs; run++) {
    const result = await one(lab, run, sessions)
    results.push(result)
    const { after } = result
    log(`  run ${run}: ${result.killed} killed; ${after.same} of ${sessions} sessions on their member (${(result.same_share * 100).toFixed(2)} %), ${after.failed} failed; ${after.resumed} of ${tlsClients} TLS clients resumed, ${after.tlsFailed} failed`)
    await repair(lab)
  }
  const same = Math.min(...results.map((result) => result.same_share))
  const resumed = Math.min(...results.map((result) => result.resumed_share))
  const pass = same >= wantedSame && resumed >= wantedResumed
  const text = `keep-clients: ${runs} runs with ${sessions} sessions; least share that stayed ${(same * 100).toFixed(2)} % (wanted ${wantedSame * 100}), least share of TLS clients that resumed ${(resumed * 100).toFixed(1)} % (wanted ${wantedResumed * 100}): ${pass ? 'passed' : 'FAILED'}`
  return { pass, text, report: { sessions, runs: results } }
}
