/**
 * Who this node is: the files that make a machine a member of one cluster, and how they come to be — by founding the
 * cluster (`initCluster`) or by joining it with a token (`joinCluster`).
 *
 *     identity.json  cluster id, node id, role, addresses, members at the time of joining; written last: no file, no member
 *     ca.pem ca.key  the cluster's CA; every node has the key (any can admit the next one), a witness has not
 *     node.pem node.key
 *     log/           the durable log
 *     members.json   the members as last known, repair.json: see damage.ts
 */
import { createHash, createPrivateKey, randomUUID, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { emptyMembership, encodeMembership, find, isMembership } from './core/membership.ts'
import type { Entry, Membership, NodeRole, Peer } from './core/types.ts'
import type { JoinResponse } from './consensus.ts'
import { replaceFile, syncDirectory } from './durable-file.ts'
import { createLog } from './storage/level.ts'
import { decodeJoinToken, isClusterId } from './token.ts'
import { parseHostPort } from './transport/address.ts'
import { requestJoin } from './transport/join.ts'

export { decodeJoinToken, encodeJoinToken } from './token.ts'
export type { JoinTokenContent } from './token.ts'

export interface Identity {
  readonly clusterId: string
  readonly id: string
  readonly role: NodeRole
  /** host:port of the consensus listener. */
  readonly address: string
  /** host:port of the API; empty for a witness. */
  readonly apiAddress: string
  /** As told when this node joined, or began anew: whom to connect to before its own log says more. Empty for the founder. */
  readonly membership: Membership
  /**
   * The membership entry by which this log began: that took the node in, or took its vote when it had lost its log
   * (`repair.ts`). Until the log reaches it the node does not vote: a member of its name may have voted before.
   */
  readonly demotedAtIndex?: number
  /** How often the cluster has been recovered (`haechi recover`). Members of different generations refuse each other. */
  readonly generation?: number
}

interface NewNode {
  /** Data directory; made if missing. Must not hold an identity already. */
  readonly directory: string
  readonly id: string
  readonly role: NodeRole
  readonly address: string
  readonly apiAddress: string
}

export interface InitOptions extends NewNode {
  readonly role: 'node'
  /** Default: a random one. Given when `firstEntries` have to name it. */
  readonly clusterId?: string
  /** Payloads of the first commands of the log, after the membership entry. */
  readonly firstEntries: readonly Uint8Array[]
}

export interface JoinOptions extends NewNode {
  readonly token: string
  /** Highest level of replicated commands that this machine's version understands; default: 1. */
  readonly commandLevel?: number
}

/** A fresh cluster id (a random UUID). */
export function newClusterId(): string {
  return randomUUID()
}

/** Founds a cluster of one voter. Rejects with a clear `Error` when it cannot; then nothing usable is left behind. */
export async function initCluster(options: InitOptions): Promise<Identity> {
  const peer = checkedPeer(options)
  const clusterId = options.clusterId ?? newClusterId()
  if (!isClusterId(clusterId)) throw new Error(`${clusterId} is not a cluster id`)
  const certificates = await import('./certificates.ts')
  const authority = await certificates.createAuthority(clusterId)
  const { csrPem, keyPem } = await certificates.createRequest(peer.id)
  const certificate = await certificates.issue(authority, csrPem, peer)
  const identity: Identity = { clusterId, ...peer, membership: emptyMembership }
  const member: Peer = { ...peer, fingerprint: certificateFingerprint(certificate) }
  const founding: Entry = { index: 1, term: 1, type: 'membership', data: encodeMembership({ voters: [member], learners: [] }) }
  const commands = options.firstEntries.map((data, at): Entry => ({ index: at + 2, term: 1, type: 'command', data }))
  await using draft = await DirectoryDraft.begin(options.directory)
  await createLog(draft.path('log'), { clusterId, nodeId: peer.id }, { term: 1, vote: '' }, [founding, ...commands])
  await draft.write('ca.pem', authority.certificatePem, 0o644)
  await draft.write('ca.key', authority.keyPem, 0o600)
  await draft.write('node.pem', certificate, 0o644)
  await draft.write('node.key', keyPem, 0o600)
  await draft.write('members.json', `${JSON.stringify({ voters: [member], learners: [] })}\n`, 0o644)
  await draft.finish(identity)
  return identity
}

/** Joins the cluster of the token. Rejects with a clear `Error` when it cannot; then nothing usable is left behind. */
export async function joinCluster(options: JoinOptions): Promise<Identity> {
  const peer = checkedPeer(options)
  const decoded = decodeJoinToken(options.token)
  if (!decoded.ok) throw new Error(decoded.error)
  const { clusterId, caFingerprint: pinned, secret, addresses } = decoded.content
  // Before the token is spent: a directory that cannot be written must not cost it.
  await using draft = await DirectoryDraft.begin(options.directory)
  await createLog(draft.path('log'), { clusterId, nodeId: peer.id }, { term: 0, vote: '' }, [])
  const { createRequest } = await import('./certificates.ts')
  const { csrPem, keyPem } = await createRequest(peer.id)
  const failures: string[] = []
  for (const address of addresses) {
    const attempt = await requestJoin(address, pinned, {
      secret, peer, csr: csrPem, ...(options.commandLevel === undefined ? {} : { commandLevel: options.commandLevel }),
    })
    if (!attempt.ok) {
      failures.push(attempt.error)
      if (attempt.final) break
      continue
    }
    const { response } = attempt
    checkResponse(response, { clusterId, pinned, keyPem, peer })
    const { membership, generation, joinedAtIndex } = response
    const identity: Identity = {
      clusterId, ...peer, membership, ...(generation === undefined ? {} : { generation }),
      ...(joinedAtIndex === undefined ? {} : { demotedAtIndex: joinedAtIndex }),
    }
    await draft.write('ca.pem', response.caCertificate, 0o644)
    if (peer.role === 'node') await draft.write('ca.key', response.caKey, 0o600)
    await draft.write('node.pem', response.certificate, 0o644)
    await draft.write('node.key', keyPem, 0o600)
    await draft.finish(identity)
    return identity
  }
  throw new Error(`could not join: ${failures.join('; ')}`)
}

/** A certificate (PEM), and the member record that it belongs to: what is proposed to the cluster. */
export interface SignedPeer {
  readonly certificate: string
  readonly peer: Peer
}

/**
 * Answers a join: the certificate of `peer` for the key of the request (PEM PKCS#10), signed with the cluster's CA in
 * `directory`, and the record of the new member with the fingerprint of that very certificate. Rejects when the request
 * does not prove that its sender has the key, or this machine has no CA key.
 */
export async function signCsr(directory: string, csrPem: string, asked: Peer): Promise<SignedPeer> {
  const peer = checkedPeer(asked)
  if (!existsSync(join(directory, 'ca.key'))) throw new Error('this node does not have the key of the CA')
  const { issue } = await import('./certificates.ts')
  const certificatePem = readFileSync(join(directory, 'ca.pem'), 'utf8')
  const certificate = await issue({ certificatePem, keyPem: readFileSync(join(directory, 'ca.key'), 'utf8') }, csrPem, peer)
  return { certificate, peer: { ...peer, fingerprint: certificateFingerprint(certificate) } }
}

/** Reads identity.json. Throws a clear `Error` when the directory holds no usable identity. */
export function loadIdentity(directory: string): Identity {
  const file = join(directory, 'identity.json')
  if (!existsSync(file)) throw new Error(`${directory} belongs to no cluster yet: there is no identity.json`)
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  const { clusterId, id, role, address, apiAddress, membership, demotedAtIndex, generation } = (value ?? {}) as Partial<Identity>
  const peer = { id, role, address, apiAddress } as Peer
  const isNone = membership?.voters.length === 0 && membership.learners.length === 0
  if (!isClusterId(clusterId) || (!isNone && !isMembership(membership)) || problemOf(peer) !== ''
    || !isCountOrAbsent(demotedAtIndex) || !isCountOrAbsent(generation)) {
    throw new Error(`${file} is damaged`)
  }
  return {
    clusterId, ...peer, membership: membership!,
    ...(demotedAtIndex === undefined ? {} : { demotedAtIndex }), ...(generation === undefined ? {} : { generation }),
  }
}

function isCountOrAbsent(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0)
}

/** Replaces identity.json of a directory that has one. The old one or the new one is there, whatever happens. */
export async function rewriteIdentity(directory: string, identity: Identity): Promise<void> {
  await replaceFile(directory, 'identity.json', textOf(identity))
}

function textOf(identity: Identity): string {
  return `${JSON.stringify(identity, undefined, 2)}\n`
}

/** What this node shows to the others, PEM. */
export interface Credentials {
  readonly certificate: string
  readonly key: string
  readonly ca: string
}

/** Reads and checks node.pem, node.key and ca.pem. Throws a clear `Error` when one is missing, damaged, or of another node. */
export function loadCredentials(directory: string): Credentials {
  const read = (name: string, check: (text: string) => unknown): string => {
    const file = join(directory, name)
    if (!existsSync(file)) throw new Error(`${file} is missing`)
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      throw new Error(`${file} cannot be read: ${(error as Error).message}`, { cause: error })
    }
    try {
      check(text)
    } catch (error) {
      throw new Error(`${file} is damaged`, { cause: error })
    }
    return text
  }
  const certificate = read('node.pem', (text) => new X509Certificate(text))
  const key = read('node.key', (text) => createPrivateKey(text))
  const ca = read('ca.pem', (text) => new X509Certificate(text))
  const own = new X509Certificate(certificate)
  if (!own.checkPrivateKey(createPrivateKey(key))) throw new Error(`node.key and node.pem in ${directory} do not belong together`)
  if (!own.verify(new X509Certificate(ca).publicKey)) throw new Error(`node.pem in ${directory} is not signed by the CA in ca.pem`)
  return { certificate, key, ca }
}

/** SHA-256 of the cluster's CA certificate (DER), lower-case hex: what a join token pins. */
export function caFingerprint(directory: string): string {
  return certificateFingerprint(readFileSync(join(directory, 'ca.pem'), 'utf8'))
}

/** SHA-256 of a certificate (PEM in, DER hashed), lower-case hex: what tells two members of one name apart. */
export function certificateFingerprint(certificatePem: string): string {
  return createHash('sha256').update(new X509Certificate(certificatePem).raw).digest('hex')
}

function problemOf({ id, role, address, apiAddress }: Peer): string {
  if (!isMembership({ voters: [{ id, role, address, apiAddress }], learners: [] })) {
    return `${String(id)} is no valid node name: 1 to 63 characters of a-z, 0-9 and "-"`
  }
  const parsed = parseHostPort(address)
  if (parsed === undefined || parsed.port === 0) return `${address} is not host:port`
  if (role === 'witness') return apiAddress === '' ? '' : 'a witness has no API address'
  const api = parseHostPort(apiAddress)
  return api === undefined || api.port === 0 ? `${apiAddress} is not host:port` : ''
}

function checkedPeer({ id, role, address, apiAddress }: Peer): Peer {
  const peer: Peer = { id, role, address, apiAddress: role === 'witness' ? '' : apiAddress }
  const problem = problemOf(peer)
  if (problem !== '') throw new Error(problem)
  return peer
}

/** The cluster is authentic by now (TLS with the pinned CA); this guards against a node that answers nonsense. */
function checkResponse(
  response: JoinResponse, expected: { clusterId: string; pinned: string; keyPem: string; peer: Peer },
): void {
  const refuse = (what: string): never => {
    throw new Error(`the cluster's answer cannot be used: ${what}`)
  }
  try {
    if (response.clusterId !== expected.clusterId) refuse('it names another cluster')
    if (certificateFingerprint(response.caCertificate) !== expected.pinned) refuse('its CA is not that of the token')
    const ca = new X509Certificate(response.caCertificate)
    const certificate = new X509Certificate(response.certificate)
    if (!certificate.verify(ca.publicKey)) refuse('the certificate is not signed by the CA')
    if (!certificate.checkPrivateKey(createPrivateKey(expected.keyPem))) refuse('the certificate is for another key')
    if (!certificate.subject.split('\n').includes(`CN=${expected.peer.id}`)) refuse('the certificate is for another node')
    const recorded = find(response.membership, expected.peer.id)?.fingerprint
    if (recorded !== undefined && recorded !== certificateFingerprint(response.certificate)) refuse('it knows this node by another certificate')
    if (expected.peer.role === 'node' && !ca.checkPrivateKey(createPrivateKey(response.caKey))) refuse('the CA key does not fit')
  } catch (error) {
    if ((error as Error).message.startsWith("the cluster's answer")) throw error
    refuse((error as Error).message)
  }
}

/** Files on their way into a data directory. Until `finish` has written identity.json they mean nothing. */
class DirectoryDraft implements AsyncDisposable {
  readonly #directory: string
  readonly #draft: string

  private constructor(directory: string, draft: string) {
    this.#directory = directory
    this.#draft = draft
  }

  static async begin(directory: string): Promise<DirectoryDraft> {
    const target = resolve(directory)
    await mkdir(target, { recursive: true, mode: 0o700 })
    if (existsSync(join(target, 'identity.json'))) {
      const { clusterId, id } = loadIdentity(target)
      throw new Error(`${directory} already belongs to node ${id} of cluster ${clusterId}`)
    }
    // A log without an identity: of an attempt that was interrupted, or of a member whose identity.json was lost. Only
    // the operator can tell.
    if (existsSync(join(target, 'log'))) throw new Error(`${directory} holds a log but no identity.json; move it away first`)
    return new DirectoryDraft(target, await mkdtemp(join(target, '.new-')))
  }

  path(name: string): string {
    return join(this.#draft, name)
  }

  async write(name: string, text: string, mode: number): Promise<void> {
    const file = await open(this.path(name), 'wx', mode)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
  }

  async finish(identity: Identity): Promise<void> {
    await this.write('identity.json', textOf(identity), 0o644)
    const names = (await readdir(this.#draft)).filter((name) => name !== 'identity.json' && name !== 'log')
    for (const name of names) await rename(this.path(name), join(this.#directory, name))
    await rename(this.path('log'), join(this.#directory, 'log'))
    await syncDirectory(this.#directory)
    await rename(this.path('identity.json'), join(this.#directory, 'identity.json'))
    await syncDirectory(this.#directory)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#draft, { recursive: true, force: true })
  }
}
