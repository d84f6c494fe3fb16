/** For tests of imports: a file of this folder is converted by the command itself, and what comes out runs with servers at its members. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { runCli } from '../../node/cli/program.ts'
import type { Terminal } from '../../node/cli/terminal.ts'
import { startText, type Example, type ExampleOptions } from '../examples/example.ts'

export interface Imported {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** `haechi import` with these arguments, in this folder. `input`: standard input. */
export async function importFile(argv: readonly string[], input = ''): Promise<Imported> {
  let out = ''
  let err = ''
  const nobody = (): Promise<never> => Promise.reject(new Error('nobody is there'))
  const terminal: Terminal = {
    out: (text) => void (out += text), err: (text) => void (err += text), env: {}, interactive: false, colour: false, cwd: import.meta.dirname,
    readInput: () => Promise.resolve(input), askPassword: nobody, askText: nobody, askConfirm: nobody,
  }
  return { code: await runCli(['import', ...argv], terminal), out, err }
}

/** Converts a file of this folder and starts the result. */
export async function startImported(t: ExecutionContext, file: string, options: ExampleOptions = {}): Promise<Example & { readonly notes: string }> {
  const { code, out, err } = await importFile([file])
  t.is(code, 0, err)
  // Neither of several tests at once writes its access log into the tree.
  const directory = mkdtempSync(join(tmpdir(), 'haechi-import-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const example = await startText(t, file.replace(/\..*$/, ''), out, { ...options, arguments: ['--access-log', join(directory, 'access.log'), ...(options.arguments ?? [])] })
  return { ...example, notes: err }
}

export interface TcpMember {
  readonly connections: () => number
  stop(): Promise<void>
}

/** A server that says its name to whoever connects, and then all that it hears. */
export async function tcpMember(t: ExecutionContext, host: string, port: number, name: string): Promise<TcpMember> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    socket.write(`${name}\n`)
    socket.on('data', (data) => socket.write(data))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  t.teardown(stop)
  return { connections: () => connections, stop }
}

/** Connects and waits for text that fits. @returns it, or '' when the connection ends before */
export function greeting(host: string, port: number, fits: RegExp, from?: string, keep?: Socket[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) })
    let text = ''
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (!fits.test(text)) return
      resolve(text)
      if (keep === undefined) socket.destroy()
      else keep.push(socket)
    })
    socket.once('close', () => resolve(fits.test(text) ? text : ''))
  })
}
