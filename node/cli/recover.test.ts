/** `haechi recover` as an operator meets it: what it says, what it asks, what it refuses, and that it is in the audit log. */
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { encodeMembership } from '../../consensus/core/membership.ts'
import type { NodeRole, Peer } from '../../consensus/core/types.ts'
import { certificateFingerprint, loadCredentials, loadIdentity } from '../../consensus/identity.ts'
import { openLog } from '../../consensus/storage/level.ts'
import { ClusterState } from '../state/state.ts'
import { initNode } from './init.ts'
import { runCli } from './program.ts'
import type { Terminal } from './terminal.ts'

const other = (id: string, role: NodeRole): Peer => ({
  id, role, address: `192.0.2.${id.length}:7000`, apiAddress: role === 'node' ? '192.0.2.9:8443' : '',
  fingerprint: createHash('sha256').update(id).digest('hex'),
})

/** The data directory of node `a` of a cluster of two nodes and a witness, with two entries not known to be committed. */
async function placeOfA(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'haechi-recover-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await initNode({ directory, id: 'a', address: '127.0.0.1:7000', apiAddress: '127.0.0.1:8443' })
  const { clusterId, address, apiAddress } = loadIdentity(directory)
  const fingerprint = certificateFingerprint(loadCredentials(directory).certificate)
  const self: Peer = { id: 'a', role: 'node', address, apiAddress, fingerprint }
  const log = await openLog(join(directory, 'log'), { clusterId, nodeId: 'a' })
  const voters = [self, other('bb', 'node'), other('www', 'witness')]
  await log.write({
    hardState: { term: 7, vote: 'bb' }, commitIndex: 3,
    append: [
      { index: 3, term: 5, type: 'membership', data: encodeMembership({ voters, learners: [] }) },
      { index: 4, term: 7, type: 'noop', data: new Uint8Array(0) },
    ],
  })
  await log.close()
  return directory
}

async function haechi(directory: string, options: string[], more: Partial<Terminal> = {}): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const unasked = async () => {
    throw new Error('nobody should be asked')
  }
  const code = await runCli(['recover', '--dir', directory, ...options], {
    out: (text) => (out += text), err: (text) => (err += text), env: { SUDO_USER: 'kim' }, interactive: false, colour: false, cwd: directory,
    readInput: unasked, askPassword: unasked, askText: unasked, askConfirm: unasked, ...more,
  })
  return { code, out, err }
}

/** The state that this node's log makes, and the members as it says. */
async function stateOf(directory: string): Promise<ClusterState> {
  const { clusterId } = loadIdentity(directory)
  const log = await openLog(join(directory, 'log'), { clusterId, nodeId: 'a' })
  const state = ClusterState.empty()
  for (const entry of await log.read(1, log.lastIndex, Infinity)) state.apply(entry)
  await log.close()
  return state
}

test('says who the voters are, what the log holds, what may be lost, and asks for the name', async (t) => {
  const directory = await placeOfA(t)
  const questions: string[] = []
  const answering = (answer: string | undefined): Partial<Terminal> => ({
    interactive: true,
    askText: async (question) => {
      questions.push(question)
      return answer
    },
  })
  for (const answer of ['b', '', undefined]) {
    const no = await haechi(directory, [], answering(answer))
    t.is(no.code, 1)
    t.regex(no.err, /nothing was changed/)
  }
  t.is((await stateOf(directory)).appliedIndex, 4)
  const done = await haechi(directory, [], answering('a'))
  t.is(done.code, 0, done.err)
  t.is(questions[0], 'Type the name of this node (a) to go on')
  for (const said of [
    /^a +voter +node +127\.0\.0\.1:7000 +this node$/m, /^bb +voter +node /m, /^www +voter +witness /m,
    /ends at index 4, term 7; up to 3 it is known to be acknowledged by a majority/,
    /What may be lost\n +Every change that only bb and www had/,
    /bb, www: never start them again with the old data directory/,
    /start them instead: then nothing is lost/,
  ]) t.regex(done.err, said)
  t.regex(done.out, /a is the only voter of its cluster now \(from index 5, term 8\)\.\nStart it with: haechi start/)
  const state = await stateOf(directory)
  t.deepEqual(state.membership.voters.map(({ id }) => id), ['a'])
  const [newest] = state.audit(undefined, 10)
  t.is(newest!.action, 'cluster.recover')
  t.deepEqual(newest!.actor, { name: 'kim', from: '', node: 'a' })
  t.regex(newest!.detail, /a goes on alone from index 4, term 7, without the voters bb, www; changes that only they had are lost/)
  t.true(Date.now() - newest!.atEpochMs < 600_000)
  const again = await haechi(directory, [], answering('a'))
  t.is(again.code, 1)
  t.regex(again.err, /a is the only voter already/)
})

test('without a terminal it takes both options; --json', async (t) => {
  const directory = await placeOfA(t)
  for (const options of [[], ['--yes'], ['--i-understand-what-may-be-lost']]) {
    const { code, err, out } = await haechi(directory, options)
    t.is(code, 2, options.join(' '))
    t.regex(err, /nothing/)
    t.is(out, '')
  }
  t.is((await stateOf(directory)).appliedIndex, 4)
  const done = await haechi(directory, ['--yes', '--i-understand-what-may-be-lost', '--json'])
  t.is(done.code, 0, done.err)
  t.deepEqual(JSON.parse(done.out), { node: 'a', clusterId: loadIdentity(directory).clusterId, index: 5, term: 8, generation: 1 })
})

test('refused when there is nothing to recover, or the node runs', async (t) => {
  const directory = await placeOfA(t)
  const nowhere = await haechi(join(directory, 'nowhere'), ['--yes', '--i-understand-what-may-be-lost'])
  t.is(nowhere.code, 1)
  t.regex(nowhere.err, /belongs to no cluster yet/)
  const log = await openLog(join(directory, 'log'), { clusterId: loadIdentity(directory).clusterId, nodeId: 'a' })
  t.teardown(() => log.close())
  const running = await haechi(directory, ['--yes', '--i-understand-what-may-be-lost'])
  t.is(running.code, 1)
  t.regex(running.err, /in use by another process\nStop the node first/)
})
