/** `haechi recover`: what an operator does when most of the voters are lost for good. Offline, on a node that is left. */
import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { RecoveryView } from '../../consensus/recovery.ts'
import { encodeCommand } from '../state/command.ts'
import { checkDirectory } from './init.ts'
import type { CommandContext, GlobalOptions } from './program.ts'
import { exit, Failure, paint, table, type Terminal } from './terminal.ts'

interface RecoverOptions {
  readonly yes?: boolean
  readonly iUnderstandWhatMayBeLost?: boolean
}

export function addRecoverCommand(program: Command, context: CommandContext): void {
  const { terminal } = context
  program
    .command('recover')
    .description('go on with this node alone when most of the voters are lost for good (the node must be stopped)')
    .option('-y, --yes', 'do not ask; needs the other option as well')
    .option('--i-understand-what-may-be-lost', 'with --yes, for scripts: what this command says has been read')
    .action(async (options: RecoverOptions, command: Command) => {
      const directory = resolve(terminal.cwd, checkDirectory(command.optsWithGlobals<GlobalOptions>().dir))
      // Loaded when needed: the database is large, and most commands are only requests.
      const { inspectForRecovery, recoverAlone } = await import('../../consensus/recovery.ts')
      const view = await inspectForRecovery(directory).catch(refused)
      // On standard error, so that --json stays JSON.
      terminal.err(explain(terminal, view, directory))
      await confirm(terminal, view, options)
      const recovered = await recoverAlone(directory, (found) => [auditEntry(terminal, found)]).catch(refused)
      context.print(command, { node: view.id, clusterId: view.clusterId, ...recovered }, () =>
        [
          `${view.id} is the only voter of its cluster now (from index ${recovered.index}, term ${recovered.term}).`,
          `Start it with: haechi start --dir ${directory}`,
          'Then let other machines join, each with a new data directory: haechi node token',
          '',
        ].join('\n'),
      )
    })
}

/** What is about to happen, and what it costs. */
function explain(terminal: Terminal, view: RecoveryView, directory: string): string {
  const { id, membership, lastIndex, lastTerm, commitIndex, voter } = view
  const rows = [
    ...membership.voters.map((peer) => ({ peer, right: 'voter' })),
    ...membership.learners.map((peer) => ({ peer, right: 'learner' })),
  ].map(({ peer, right }) => [peer.id, right, peer.role, peer.address, peer.id === id ? 'this node' : ''])
  const others = [...membership.voters, ...membership.learners].filter((peer) => peer.id !== id).map((peer) => peer.id)
  const known = commitIndex >= lastIndex ? 'all of it was acknowledged by a majority' : `up to ${commitIndex} it is known to be acknowledged by a majority`
  return [
    paint(terminal, 'bold', `Recovery of cluster ${view.clusterId} from ${id} alone (${directory})`),
    '',
    table(terminal, ['MEMBER', 'VOTES', 'ROLE', 'ADDRESS', ''], rows).trimEnd(),
    '',
    `The log of ${id} ends at index ${lastIndex}, term ${lastTerm}; ${known}.`,
    '',
    paint(terminal, 'bold', 'What may be lost'),
    `  Every change that only ${others.join(' and ')} had: it may have been acknowledged to whoever made it. How much that is`,
    '  cannot be seen from here. If the disk of another node can still be read, run this command there first, without going',
    '  on: recover the node whose log has the highest term and, among equal ones, the highest index.',
    ...(voter ? [] : [paint(terminal, 'red', `  ${id} is no voter: it was still catching up, and may lack any number of changes. Prefer a voter.`)]),
    '',
    paint(terminal, 'bold', 'What it means'),
    `  ${id} will be the only voter. ${others.join(', ')}: never start ${others.length === 1 ? 'it' : 'them'} again with the old data directory.`,
    '  Old machines that still have a majority among themselves would be a second cluster that answers for the same VIPs.',
    '  Delete their data directories; the machines can then join again.',
    '  If the others may come back by themselves, start them instead: then nothing is lost and nothing has to be recovered.',
    '',
    '',
  ].join('\n')
}

async function confirm(terminal: Terminal, view: RecoveryView, options: RecoverOptions): Promise<void> {
  if (options.yes === true || options.iUnderstandWhatMayBeLost === true) {
    if (options.yes === true && options.iUnderstandWhatMayBeLost === true) return
    throw new Failure('nothing was changed', exit.usage, 'Without a question it takes both: --yes --i-understand-what-may-be-lost')
  }
  if (!terminal.interactive) {
    throw new Failure('nobody can be asked here; nothing was changed', exit.usage, 'Add --yes --i-understand-what-may-be-lost.')
  }
  const answer = await terminal.askText(`Type the name of this node (${view.id}) to go on`, '')
  if (answer?.trim() !== view.id) throw new Failure('nothing was changed')
}

function auditEntry(terminal: Terminal, view: RecoveryView): Uint8Array {
  const user = terminal.env['SUDO_USER'] ?? userInfo().username
  const lost = view.membership.voters.filter((peer) => peer.id !== view.id).map((peer) => peer.id)
  return encodeCommand({
    kind: 'audit',
    id: randomUUID(),
    actor: { name: user, from: '', node: view.id },
    atEpochMs: Date.now(),
    action: 'cluster.recover',
    detail: `${view.id} goes on alone from index ${view.lastIndex}, term ${view.lastTerm}, without the voters ${lost.join(', ')}; changes that only they had are lost`,
  })
}

function refused(error: Error): never {
  const running = error.message.includes('in use by another process')
  throw new Failure(error.message, exit.error, running ? 'Stop the node first, and see to it that it is not started again meanwhile.' : '')
}
