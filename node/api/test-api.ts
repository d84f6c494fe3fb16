/**
 * What the tests of the API share: a node with its API on a port of its own and a socket in a directory of its own, and
 * requests to it. Importing it sets the hooks of the test file.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { createLog } from '../observe/log.ts'
import type { UserRole } from '../state/types.ts'
import { type Api, type ApiLimits, apiLimits, createApi } from './server.ts'
import { passwords, TestNode, userNames } from './test-node.ts'
import type { ApiProblem, SessionInfo } from './types.ts'

/** What every test of the API has. */
export interface World {
  directory: string
  node: TestNode
  api: Api
  log: string[]
  start(limits?: ApiLimits): Promise<Api>
  stop(): Promise<void>
  /** Signs in as the user of a role. */
  token(role: UserRole): Promise<string>
}
const each = anyTest as TestFn<World>
// One after the other: passwords are computed two at a time, and a crowd is refused.
export const test = each.serial

each.beforeEach(async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-api-'))
  const consoleDirectory = join(directory, 'console')
  mkdirSync(join(consoleDirectory, 'assets'), { recursive: true })
  writeFileSync(join(consoleDirectory, 'index.html'), '<!doctype html><title>Haechi console</title>')
  writeFileSync(join(consoleDirectory, 'assets', 'index-abc123.js'), 'console')
  const node = await TestNode.create(directory)
  const log: string[] = []
  const apis: Api[] = []
  const start = async (limits: ApiLimits = apiLimits) => {
    await Promise.all(apis.splice(0).map((api) => api.close()))
    const sink = createLog('api', { level: 'debug', format: 'json', write: (line) => log.push(line) })
    const api = await createApi(
      node,
      { host: '127.0.0.1', port: 0, socketPath: join(directory, 'api.sock'), consoleDirectory },
      sink,
      limits,
    )
    apis.push(api)
    t.context.api = api
    return api
  }
  const tokens = new Map<UserRole, string>()
  const token = async (role: UserRole) => {
    const known = tokens.get(role)
    if (known !== undefined) return known
    const answer = await call(t.context.api, 'POST', '/session', {
      body: { name: userNames[role], password: passwords[role] },
    })
    const made = (answer.body as SessionInfo).token
    if (made === undefined) throw new Error(`sign-in failed: ${JSON.stringify(answer.body)}`)
    tokens.set(role, made)
    return made
  }
  const stop = async () => {
    await Promise.all(apis.map((api) => api.close()))
    rmSync(directory, { recursive: true, force: true })
  }
  t.context = { directory, node, log, start, stop, token, api: await start() }
})

each.afterEach.always((t) => t.context.stop())

interface CallOptions {
  readonly body?: unknown
  readonly token?: string
  readonly headers?: Record<string, string>
}
interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
  readonly text: string
}

/** One request; JSON bodies are parsed. A path that begins with // is taken from the root. */
export async function call(
  api: Api,
  method: string,
  path: string,
  { body, token, headers }: CallOptions = {},
): Promise<Answer> {
  const response = await fetch(path.startsWith('//') ? api.url + path.slice(1) : `${api.url}/api/v1${path}`, {
    method,
    headers: {
      ...(body !== undefined && typeof body !== 'string' ? { 'content-type': 'application/json' } : {}),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  const json = /json/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, headers: response.headers, text, body: json ? JSON.parse(text) : text }
}

/** Checks the form of a problem and returns it. */
export function problemOf(t: ExecutionContext<World>, answer: Answer, status: number, code: string): ApiProblem {
  t.is(answer.status, status, answer.text)
  t.regex(answer.headers.get('content-type')!, /^application\/problem\+json/)
  const problem = answer.body as ApiProblem
  t.like(problem, { status, code, type: `urn:haechi:problem:${code}` })
  t.true(problem.title.length > 0 && problem.detail.length > 0)
  const known = ['type', 'title', 'status', 'detail', 'code', 'problems', 'revision']
  t.deepEqual(
    Object.keys(problem).filter((key) => !known.includes(key)),
    [],
  )
  return problem
}

export const pool = { name: 'web', members: [{ name: 'a', address: '192.0.2.10', port: 8080 }] }
export const listener = { name: 'front', address: '127.0.0.1', port: 8080, protocol: 'http', pool: 'web' }
export const document = { haechi: 1, pools: [pool], listeners: [listener] }

export async function putConfig(
  world: World,
  body: unknown,
  ifMatch?: string,
  role: UserRole = 'operator',
  headers: Record<string, string> = {},
): Promise<Answer> {
  return call(world.api, 'PUT', '/config', {
    body,
    token: await world.token(role),
    headers: { ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }), ...headers },
  })
}

/** Signs in as a browser does. */
export async function cookieSession(world: World, role: UserRole): Promise<{ cookie: string; csrfToken: string }> {
  const answer = await call(world.api, 'POST', '/session', {
    body: { name: userNames[role], password: passwords[role] },
  })
  return { cookie: answer.headers.get('set-cookie')!.split(';')[0]!, csrfToken: (answer.body as SessionInfo).csrfToken }
}
