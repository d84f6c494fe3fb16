/** The terminal of this process. Questions are asked by @clack/prompts, which is loaded only when there is one. */
import type { Terminal } from './terminal.ts'

const maxInputBytes = 16 * 1024 * 1024

/** Whether to write in colour: https://no-color.org, FORCE_COLOR as Node takes it (`0` and `false` turn it off), else on a terminal. */
export function wantsColour(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  if (env['NO_COLOR']) return false
  const forced = env['FORCE_COLOR']
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false'
  return isTerminal && env['TERM'] !== 'dumb'
}

export function processTerminal(): Terminal {
  const { env, stdin, stdout, stderr } = process
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    env,
    interactive: stdin.isTTY === true && stdout.isTTY === true,
    colour: wantsColour(env, stdout.isTTY === true),
    cwd: process.cwd(),
    readInput: async () => {
      const parts: Buffer[] = []
      let length = 0
      for await (const part of stdin as AsyncIterable<Buffer>) {
        parts.push(part)
        length += part.length
        if (length > maxInputBytes) throw new Error(`standard input is longer than ${maxInputBytes} bytes`)
      }
      return Buffer.concat(parts).toString('utf8')
    },
    askPassword: async (message) => {
      const { password, isCancel } = await import('@clack/prompts')
      const answer = await password({ message })
      return isCancel(answer) ? undefined : answer
    },
    askText: async (message, initialValue) => {
      const { text, isCancel } = await import('@clack/prompts')
      const answer = await text({ message, initialValue })
      return isCancel(answer) ? undefined : answer
    },
    askConfirm: async (message) => {
      const { confirm, isCancel } = await import('@clack/prompts')
      const answer = await confirm({ message })
      return isCancel(answer) ? false : answer
    },
  }
}
