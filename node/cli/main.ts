/** Entry point of the `haechi` command. */
import { processTerminal } from './process-terminal.ts'
import { runCli } from './program.ts'

// `haechi … | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})
process.exitCode = await runCli(process.argv.slice(2), processTerminal())
