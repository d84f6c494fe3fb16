/**
 * Runs an example of docs/examples as an operator would (`haechi run --config FILE`), with a small HTTP server at the address
 * of each of its members. Each group of examples has loopback addresses of its own, so that tests may run at the same time.
 */
import { spawn } from 'node:child_process'
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { parseYaml } from '../../node/config/yaml.ts'
import type { ConfigurationDocument } from '../../node/config/schema.ts'

const root = join(import.meta.dirname, '../..')

/** What a member's server saw of a request; it is also the JSON body of its answer. */
export interface Seen {
  readonly member: string
  readonly method: string
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface ExampleAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The body as what the member saw; undefined when the answer is not a member's. */
  readonly seen: Seen | undefined
}

export interface ExampleRequest {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: string
  /** Name of the listener; default: the first one. */
  readonly listener?: string
  /** Address to connect from, of loopback. */
  readonly from?: string
}

export interface Example {
  readonly document: ConfigurationDocument
  readonly pid: number
  /** Everything that the process has logged. */
  log(): string
  /** All requests that members saw so far, in order. */
  readonly seen: readonly Seen[]
  request(options?: ExampleRequest): Promise<ExampleAnswer>
  /** Ends a member's server with all its connections; `startMember` brings it back. */
  stopMember(pool: string, member: string): Promise<void>
  startMember(pool: string, member: string): Promise<void>
}

export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 15_000): Promise<void> {
  const started = performance.now()
  while (!(await condition())) {
    if (performance.now() - started > limitMs) throw new Error(`not within ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Waits until every member has passed its first check: until then those that have are all that there is to choose from. */
export async function allUp(example: Example): Promise<void> {
  const checked = example.document.pools.filter((pool) => pool.healthCheck.type !== 'none')
  const lines = checked.flatMap((pool) => pool.members.filter(({ state }) => state === 'enabled').map((member) => `member ${pool.name}/${member.name} is up`))
  await until('all members are up', () => lines.every((line) => example.log().includes(line)))
}

export interface ExampleOptions {
  /** Further arguments of `haechi run`. */
  readonly arguments?: readonly string[]
  /** `false`: members are not started; the test has servers of its own at their addresses. A list: those of these pools are. */
  readonly members?: boolean | readonly string[]
  /** Answers in place of the echo; returns false to leave it to the echo. */
  readonly answer?: (seen: Seen, response: ServerResponse) => boolean
}

/** Starts `docs/examples/NAME.yaml`; everything ends with the test. */
export function startExample(t: ExecutionContext, name: string, options: ExampleOptions = {}): Promise<Example> {
  return startFile(t, name, join(root, 'docs/examples', `${name}.yaml`), options)
}

/** Starts any document, from a file of its own that ends with the test, too. */
export function startText(t: ExecutionContext, name: string, text: string, options: ExampleOptions = {}): Promise<Example> {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-document-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, `${name}.yaml`)
  writeFileSync(file, text)
  return startFile(t, name, file, options)
}

async function startFile(t: ExecutionContext, name: string, file: string, options: ExampleOptions): Promise<Example> {
  const parsed = parseYaml(readFileSync(file, 'utf8'))
  if (!parsed.ok) throw new Error(`${name}: ${parsed.problems.map(({ field, message }) => `${field}: ${message}`).join('; ')}`)
  const { document } = parsed
  const servers = new Map<string, Server>()
  const seen: Seen[] = []
  const startMember = async (poolName: string, memberName: string): Promise<void> => {
    const member = document.pools.find((pool) => pool.name === poolName)?.members.find((one) => one.name === memberName)
    if (member === undefined) throw new Error(`${name} has no member ${poolName}/${memberName}`)
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const what: Seen = {
          member: memberName, method: request.method ?? '', target: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString(),
        }
        seen.push(what)
        if (options.answer?.(what, response) === true) return
        response.setHeader('Content-Type', 'application/json')
        response.end(JSON.stringify(what))
      })
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(member.port, member.address, resolve)
    })
    servers.set(`${poolName}/${memberName}`, server)
  }
  const stopMember = async (poolName: string, memberName: string): Promise<void> => {
    const server = servers.get(`${poolName}/${memberName}`)
    if (server === undefined) return
    servers.delete(`${poolName}/${memberName}`)
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  t.teardown(() => Promise.all([...servers.keys()].map((key) => stopMember(key.split('/')[0]!, key.split('/')[1]!))))
  if (options.members !== false) {
    const started = new Set<string>()
    for (const pool of document.pools) {
      if (typeof options.members === 'object' && !options.members.includes(pool.name)) continue
      for (const member of pool.members) {
        const place = `${member.address} ${member.port}`
        if (started.has(place)) continue
        started.add(place)
        await startMember(pool.name, member.name)
      }
    }
  }

  let log = ''
  const child = spawn(process.execPath, [join(root, 'node/cli/main.ts'), 'run', '--config', file, '--workers', '1', ...(options.arguments ?? [])], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.on('data', (data: Buffer) => (log += data.toString()))
  child.stderr.on('data', (data: Buffer) => (log += data.toString()))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  await until(`${name} serves:\n${log}`, () => {
    if (child.exitCode !== null) throw new Error(`haechi run ended with ${child.exitCode}:\n${log}`)
    return document.listeners.every((listener) => log.includes(`listener ${listener.name}: `))
  })

  const request = (what: ExampleRequest = {}): Promise<ExampleAnswer> => {
    const listener = what.listener === undefined ? document.listeners[0]! : document.listeners.find((one) => one.name === what.listener)!
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(
        {
          host: listener.address!, port: listener.port, method: what.method ?? 'GET', path: what.path ?? '/',
          headers: what.headers ?? {}, agent: false, ...(what.from === undefined ? {} : { localAddress: what.from }),
        },
        (incoming) => {
          const chunks: Buffer[] = []
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
          incoming.once('error', reject)
          incoming.on('end', () => {
            const text = Buffer.concat(chunks).toString()
            let body: Seen | undefined
            try {
              body = JSON.parse(text) as Seen
            } catch {
              body = undefined
            }
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, seen: body })
          })
        },
      )
      outgoing.once('error', reject)
      outgoing.end(what.body)
    })
  }
  return { document, pid: child.pid!, log: () => log, seen, request, startMember, stopMember }
}
