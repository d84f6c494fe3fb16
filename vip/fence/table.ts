/**
 * The fence's nftables tables: what is guarded and how. Written with one `nft -f -` per configuration change (readable, one
 * transaction); the leases themselves are renewed by `lease-sets.ts`.
 */
import { spawn } from 'node:child_process'
import { setsInOneTable } from './rules.ts'

export interface GuardedAddress {
  readonly address: string
  readonly interface: string
}

/** Not the caller's: npm puts programs of the same name in front of the system's. */
const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin'

/** Runs a script in one transaction; resolves with the error text, empty when it went well. */
function nft(argv: readonly string[], script: string): Promise<{ error: string; output: string }> {
  return new Promise((resolve) => {
    const child = spawn('nft', argv, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: systemPath } })
    let error = ''
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (error += data.toString()))
    child.on('error', (failure) =>
      resolve({ error: (failure as NodeJS.ErrnoException).code === 'ENOENT' ? 'nft is not installed; install the package nftables' : failure.message, output }),
    )
    child.on('close', (code) => resolve({ error: code === 0 ? '' : firstLine(error) || `nft ended with ${code}`, output }))
    child.stdin.on('error', () => undefined)
    child.stdin.end(script)
  })
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? ''
}

/**
 * Guards exactly these addresses. Replaces what an earlier process left in the same transaction, so that there is no instant
 * in which a guarded address is open. Existing leases end with it.
 * @returns an error text, or empty; `egress`: announcements through packet sockets are guarded as well.
 */
export async function installTable(table: string, guarded: readonly GuardedAddress[]): Promise<{ error: string; egress: boolean }> {
  const full = await nft(['-f', '-'], setsInOneTable(table, guarded, true))
  if (full.error === '') return { error: '', egress: guarded.some(({ address }) => !address.includes(':')) }
  // The egress hook came with 5.16 and may be left out of a kernel.
  const base = await nft(['-f', '-'], setsInOneTable(table, guarded, false))
  return { error: base.error, egress: false }
}

/** Removes every trace; nothing of ours is guarded any more. */
export async function removeTable(table: string): Promise<void> {
  for (const family of ['inet', 'arp', 'netdev']) await nft(['delete', 'table', family, table], '')
}

/** Whether adding an element that is there updates its timeout (Linux ≥ 6.12), found out by trying. */
export async function updatesInPlace(table: string): Promise<boolean> {
  const probe = `${table}-probe`
  const setUp = `table ip ${probe} { set s { type ipv4_addr; flags timeout; elements = { 192.0.2.1 timeout 1h } } }\n`
  if ((await nft(['-f', '-'], setUp)).error !== '') return false
  await nft(['-f', '-'], `add element ip ${probe} s { 192.0.2.1 timeout 3h }\n`)
  const { output } = await nft(['list', 'set', 'ip', probe, 's'], '')
  await nft(['delete', 'table', 'ip', probe], '')
  return /192\.0\.2\.1 timeout 3h/.test(output)
}
