/** `haechi run` as a process: what it does with its file, and with signals. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Backend, Client, freePort, until } from '../proxy/test-proxy.ts'

class Running {
  readonly child: ChildProcess
  output = ''
  code: number | null | undefined
  readonly #folder: string
  readonly file: string

  constructor(text: string, more: readonly string[] = []) {
    this.#folder = mkdtempSync(join(tmpdir(), 'haechi-run-test-'))
    this.file = join(this.#folder, 'haechi.yaml')
    this.write(text)
    const main = join(import.meta.dirname, 'main.ts')
    this.child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, 'run', '--config', this.file, '--workers', '1', ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout!.on('data', (data: Buffer) => (this.output += data.toString()))
    this.child.stderr!.on('data', (data: Buffer) => (this.output += data.toString()))
    this.child.on('exit', (code) => (this.code = code))
  }
  write(text: string): void {
    writeFileSync(this.file, text)
  }
  async says(text: string): Promise<void> {
    await until(`it says ${text}`, () => this.output.includes(text), 20_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${this.output}`)
    })
  }
  async exits(): Promise<number | null> {
    await until('it ends', () => this.code !== undefined)
    return this.code!
  }
  end(): void {
    this.child.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

const config = (port: number, member: number): string => `haechi: 1
pools:
  - name: web
    members:
      - {name: a, address: 127.0.0.1, port: ${member}}
    healthCheck: {type: none}
listeners:
  - {name: front, address: 127.0.0.1, port: ${port}, pool: web}
`
const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

async function once(port: number): Promise<string> {
  const client = new Client(port)
  client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await client.ends()
  client.close()
  return client.text
}

test('SIGHUP takes a changed file over, and keeps the configuration when the file is faulty', async (t) => {
  const one = await Backend.answering('one')
  const two = await Backend.answering('two')
  const port = await freePort()
  const running = new Running(config(port, one.port))
  try {
    await running.says(`listener front: http on 127.0.0.1:${port}`)
    t.regex(await once(port), /one$/)
    running.write(config(port, two.port).replace('pool: web', 'pool: wbe'))
    running.child.kill('SIGHUP')
    await running.says('was not taken over')
    await running.says('haechi.yaml:8')
    t.regex(await once(port), /one$/)
    running.write(config(port, two.port))
    running.child.kill('SIGHUP')
    await until('the change is in force', async () => (await once(port)).endsWith('two'))
    t.is(running.code, undefined)
  } finally {
    running.end()
    await one.close()
    await two.close()
  }
})

test('SIGTERM lets a request finish and takes no new ones; a second signal ends at once', async (t) => {
  let release = (): void => undefined
  const backend = await Backend.start((socket) => {
    release = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone')
  })
  for (const patient of [true, false]) {
    const port = await freePort()
    const running = new Running(config(port, backend.port))
    const client = new Client(await running.says(`127.0.0.1:${port}`).then(() => port))
    try {
      const before = backend.received.length
      client.send(get)
      await until('the member has it', () => backend.received.length > before && backend.received.at(-1)!.endsWith('\r\n\r\n'))
      running.child.kill('SIGTERM')
      await running.says('draining')
      await until('nothing new is taken', async () => {
        const late = new Client(port)
        await until('refused or not', () => late.error !== '' || late.socket.readyState === 'open')
        late.close()
        return late.error === 'ECONNREFUSED'
      })
      t.is(running.code, undefined)
      if (patient) {
        release()
        await client.gets(/Connection: close\r\n[^]*done$/)
        t.is(await running.exits(), 0)
      } else {
        running.child.kill('SIGTERM')
        t.is(await running.exits(), 1)
        t.is(client.text, '')
      }
    } finally {
      running.end()
      client.close()
    }
  }
  await backend.close()
})

test('a faulty file ends it with the line and the field', async (t) => {
  const running = new Running(config(8080, 80).replace('port: 80}', 'port: 70000}'))
  try {
    t.is(await running.exits(), 1)
    t.regex(running.output, /haechi\.yaml:5:\d+: \/pools\/0\/members\/0\/port: /)
  } finally {
    running.end()
  }
})

test('--secret: cookies of persistence are still good after a restart; a file that is too short is refused', async (t) => {
  const members = await Promise.all(['a', 'b', 'c'].map((name) => Backend.answering(name)))
  const port = await freePort()
  const text = config(port, members[0]!.port)
    .replace('    healthCheck', `${members.slice(1).map((member, i) => `      - {name: m${i}, address: 127.0.0.1, port: ${member.port}}\n`).join('')}    persistence: {type: cookie}\n    healthCheck`)
  const folder = mkdtempSync(join(tmpdir(), 'haechi-secret-test-'))
  const secret = join(folder, 'secret')
  const started: Running[] = []
  const start = async (more: readonly string[]): Promise<Running> => {
    const running = new Running(text, more)
    started.push(running)
    return running
  }
  try {
    writeFileSync(secret, 'too short')
    const refused = await start(['--secret', secret])
    t.is(await refused.exits(), 1)
    await refused.says('too short for a secret')
    writeFileSync(secret, 'sixteen bytes and more')
    const ask = async (cookie: string): Promise<string> => {
      const client = new Client(port)
      client.send(`GET / HTTP/1.1\r\nHost: a\r\n${cookie === '' ? '' : `Cookie: ${cookie}\r\n`}Connection: close\r\n\r\n`)
      await client.ends()
      client.close()
      return client.text
    }
    const first = await start(['--secret', secret])
    await first.says('listener front')
    const answer = await ask('')
    const cookie = /Set-Cookie: ([^;]+)/.exec(answer)![1]!
    const ended = first.exits()
    first.child.kill('SIGTERM')
    await ended
    const second = await start(['--secret', secret])
    await second.says('listener front')
    for (let i = 0; i < 4; i++) {
      const again = await ask(cookie)
      t.is(again.at(-1), answer.at(-1))
      t.notRegex(again, /Set-Cookie/)
    }
  } finally {
    for (const running of started) running.end()
    rmSync(folder, { recursive: true, force: true })
    for (const member of members) await member.close()
  }
})
