/** TLS, UDP, script and body checks against real servers on loopback; the readers on bytes. */
import test, { type ExecutionContext } from 'ava'
import { createSocket } from 'node:dgram'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import * as fc from 'fast-check'
import forge from 'node-forge'
import { AnswerReader, maxBodyBytes } from './answer.ts'
import { beginsWith, bytesOf } from './payload.ts'
import { createProbe, type ProbeResult, type ProbeTarget } from './probes.ts'

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')

function run(target: Partial<ProbeTarget>, options: { checks?: string; signal?: AbortSignal } = {}): Promise<ProbeResult> {
  const whole: ProbeTarget = { type: 'http', address: '127.0.0.1', port: 1, path: '/', host: '', expectStatus: '200-399', timeoutMs: 5000, ...target }
  return createProbe(options.checks)(whole, () => performance.now(), options.signal ?? new AbortController().signal)
}

/** A server that answers each connection's first bytes with `serve`. */
async function tcp(t: ExecutionContext, serve: (socket: Socket, received: string) => void, tls?: TlsOptions): Promise<number> {
  const sockets = new Set<Socket>()
  const take = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('data', (data: Buffer) => serve(socket, data.toString('latin1')))
  }
  const server = tls === undefined ? createServer(take) : createTlsServer(tls, take)
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const { cert, key } = selfSigned('member.example.com')
function selfSigned(name: string): { cert: string; key: string } {
  const pair = forge.pki.rsa.generateKeyPair(2048)
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = pair.publicKey
  certificate.serialNumber = '01'
  certificate.validity.notBefore = new Date(Date.now() - 3600_000)
  certificate.validity.notAfter = new Date(Date.now() + 24 * 3600_000)
  certificate.setSubject([{ name: 'commonName', value: name }])
  certificate.setIssuer([{ name: 'commonName', value: name }])
  certificate.setExtensions([{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }])
  certificate.sign(pair.privateKey, forge.md.sha256.create())
  return { cert: forge.pki.certificateToPem(certificate), key: forge.pki.privateKeyToPem(pair.privateKey) }
}

// — http —

test('method, headers and body of a request', async (t) => {
  const seen: string[] = []
  const port = await tcp(t, (socket, request) => {
    seen.push(request)
    socket.end('HTTP/1.1 200 OK\r\n\r\n')
  })
  const headers = [{ name: 'X-Check', value: 'yes' }, { name: 'User-Agent', value: 'mine' }]
  t.true((await run({ port, method: 'POST', path: '/x', host: 'h', headers })).success)
  t.is(seen[0], 'POST /x HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: 0\r\nX-Check: yes\r\nUser-Agent: mine\r\nConnection: close\r\n\r\n')
})

const bodies: readonly (readonly [string, string, boolean, RegExp?])[] = [
  ['by length', 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is fine', true],
  ['by length, more behind it', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall is fine', false, /without the expected text/],
  ['until the end', 'HTTP/1.1 200 OK\r\n\r\nall is fine', true],
  ['across chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n5;x=y\r\n fine\r\n0\r\n\r\n', true],
  ['only in the head', 'HTTP/1.1 200 OK\r\nX: is fine\r\nContent-Length: 2\r\n\r\nno', false, /^200 in .*without the expected text$/],
  ['of another status', 'HTTP/1.1 500 OK\r\nContent-Length: 7\r\n\r\nis fine', false, /^500 in \d+ ms$/],
  ['cut short', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall', false, /closed within the answer/],
  ['a faulty chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', false, /a chunk without size/],
]
for (const [what, answer, success, detail] of bodies) {
  test(`expected text: ${what}`, async (t) => {
    const port = await tcp(t, (socket) => socket.end(answer))
    const result = await run({ port, expectBody: 'is fine' })
    t.is(result.success, success, result.detail)
    if (detail !== undefined) t.regex(result.detail, detail)
  })
}

test('only the first 16 KiB of a body are searched, and a body without end ends the probe', async (t) => {
  const port = await tcp(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    const pour = (): void => {
      if (!socket.destroyed) socket.write('x'.repeat(65_536), () => setImmediate(pour))
    }
    pour()
  })
  t.like(await run({ port, expectBody: 'y' }), { success: false })
})

test('however an answer is cut, the verdict is the same, and nothing beyond the limit is found', (t) => {
  const seed = Number(process.env['HAECHI_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.log(`seed ${seed}; replay with HAECHI_SEED=${seed}`)
  const body = fc.string({ unit: fc.constantFrom('a', 'b', '\r', '\n', '0'), maxLength: 60 })
  fc.assert(
    fc.property(body, fc.boolean(), fc.array(fc.nat(20), { maxLength: 20 }), (text, chunked, cuts) => {
      const half = text.length >> 1
      const chunks = [text.slice(0, half), text.slice(half)].filter((part) => part !== '').map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
      const answer = chunked
        ? `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join('')}0\r\n\r\n`
        : `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`
      const reader = new AnswerReader('aba')
      let at = 0
      let result = reader.push(bytes(''))
      for (const cut of [...cuts, Infinity]) {
        if (result.kind !== 'more') break
        const end = Math.min(answer.length, at + cut)
        result = reader.push(bytes(answer.slice(at, end)))
        at = end
      }
      return result.kind === 'answer' && result.found === text.includes('aba')
    }),
    { seed },
  )
  const late = new AnswerReader('y')
  t.deepEqual(late.push(bytes(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(maxBodyBytes)}y`)), { kind: 'answer', status: 200, found: false })
  const last = new AnswerReader('y')
  t.deepEqual(last.push(bytes(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(maxBodyBytes - 1)}y`)), { kind: 'answer', status: 200, found: true })
})

test('an answer that is right but late is a failure', async (t) => {
  const port = await tcp(t, (socket) => setTimeout(() => socket.end('HTTP/1.1 200 OK\r\n\r\n'), 40))
  const result = await run({ port, maxLatencyMs: 20 })
  t.false(result.success)
  t.regex(result.detail, /^200 in \d+ ms: slower than 20 ms$/)
})

// — TLS —

test('a handshake, with the server name that was asked for', async (t) => {
  const names: string[] = []
  const tls = { cert, key, SNICallback: (name: string, done: (error: null) => void) => (names.push(name), done(null)) }
  const port = await tcp(t, (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'), tls)
  t.regex((await run({ port, type: 'tls', sni: 'member.example.com' })).detail, /^handshake \(TLSv1\.3\) in \d+ ms$/)
  t.like(await run({ port, type: 'https', host: 'www.example.com:8443' }), { success: true })
  t.like(await run({ port, type: 'https' }), { success: true })
  t.deepEqual(names, ['member.example.com', 'www.example.com'])
})

test('verification refuses a certificate of its own making', async (t) => {
  const port = await tcp(t, (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'), { cert, key })
  const result = await run({ port, type: 'https', verify: true, sni: 'member.example.com' })
  t.false(result.success)
  t.regex(result.detail, /^TLS: .*self.signed/)
})

test('verification with an authority of one’s own, and what is shown to the member', async (t) => {
  const port = await tcp(t, (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'), { cert, key, ca: cert, requestCert: true, rejectUnauthorized: true })
  const target = { port, type: 'https', verify: true, sni: 'member.example.com', authorities: cert, keyPair: { chain: cert, key } } as const
  t.like(await run(target), { success: true })
  t.is((await run({ ...target, sni: 'other.example.com' })).detail, 'TLS: the certificate is for another name')
  const { keyPair: _, ...anonymous } = target
  t.false((await run(anonymous)).success)
  const wrong = await run({ ...target, keyPair: { chain: cert, key: selfSigned('x').key } })
  t.false(wrong.success)
  t.regex(wrong.detail, /^TLS: /)
  t.is((await run({ ...target, fault: 'there is no certificate x to show' })).detail, 'there is no certificate x to show')
})

test('a server without TLS, and one that stays silent', async (t) => {
  const plain = await tcp(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const result = await run({ port: plain, type: 'tls' })
  t.false(result.success)
  t.regex(result.detail, /^TLS: /)
  const silent = await tcp(t, () => undefined)
  t.like(await run({ port: silent, type: 'https', timeoutMs: 500 }), { success: false, detail: 'no handshake within 500 ms' })
})

// — bytes —

test('bytes as they are written', (t) => {
  t.deepEqual([...bytesOf('aZ \\\\\\r\\n\\t\\0\\x7F\\xff')], [97, 90, 32, 92, 13, 10, 9, 0, 127, 255])
  t.is(beginsWith(bytes('abc'), bytes('ab')), 'yes')
  t.is(beginsWith(bytes('a'), bytes('ab')), 'more')
  t.is(beginsWith(bytes('ax'), bytes('ab')), 'no')
  t.is(beginsWith(bytes(''), bytes('')), 'yes')
})

test('tcp with bytes sent and expected', async (t) => {
  const port = await tcp(t, (socket, received) => {
    socket.write(received === 'PING\r\n' ? '+PO' : '-ERR')
    setImmediate(() => socket.write('NG\r\n'))
  })
  const send = bytesOf('PING\\r\\n')
  t.like(await run({ port, type: 'tcp', send, expect: bytesOf('+PONG') }), { success: true })
  const other = await run({ port, type: 'tcp', send: bytesOf('QUIT'), expect: bytesOf('+PONG') })
  t.false(other.success)
  t.regex(other.detail, /^another answer than expected: "-ERR/)
})

// — UDP —

async function udp(t: ExecutionContext, answer: (text: string) => string | undefined): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (message, from) => {
    const text = answer(message.toString('latin1'))
    if (text !== undefined) socket.send(bytes(text), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  t.teardown(() => socket.close())
  return socket.address().port
}

test('udp: the expected answer, another one, and none', async (t) => {
  const port = await udp(t, (text) => (text === 'hi' ? 'hello' : text === 'odd' ? 'what?' : undefined))
  const expect = bytes('hel')
  t.like(await run({ port, type: 'udp', send: bytes('hi'), expect }), { success: true })
  t.regex((await run({ port, type: 'udp', send: bytes('odd'), expect })).detail, /^another answer than expected, 5 bytes$/)
  t.like(await run({ port, type: 'udp', send: bytes('?'), expect, timeoutMs: 500 }), { success: false, detail: 'no answer within 500 ms' })
})

test('udp without an expected answer: silence is healthy, a closed port is not', async (t) => {
  const port = await udp(t, () => undefined)
  t.like(await run({ port, type: 'udp', send: bytes('hi'), timeoutMs: 500 }), { success: true })
  const closed = createSocket('udp4')
  await new Promise<void>((resolve) => closed.bind(0, '127.0.0.1', resolve))
  const free = closed.address().port
  await new Promise<void>((resolve) => closed.close(resolve))
  t.like(await run({ port: free, type: 'udp', timeoutMs: 5000 }), { success: false, detail: 'port closed (ICMP)' })
})

// — scripts —

function checks(t: ExecutionContext, programs: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-checks-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(directory, name), 0o755)
  }
  return directory
}

/** Whether the process ends within ten seconds. */
async function ends(pid: number): Promise<boolean> {
  const alive = (): boolean => {
    try {
      // A zombie that nobody has waited for yet has ended, too.
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  const deadline = performance.now() + 10_000
  while (alive() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5))
  return !alive()
}

test('script: its exit code counts; it gets address and port, and nothing of the environment', async (t) => {
  const directory = checks(t, { good: 'echo "$1 $2 $# ${HOME:-none}" > seen', bad: 'exit 3' })
  t.like(await run({ type: 'script', script: 'good', address: '127.11.0.9', port: 77 }, { checks: directory }), { success: true })
  t.is(readFileSync(join(directory, 'seen'), 'utf8'), '127.11.0.9 77 2 none\n')
  const bad = await run({ type: 'script', script: 'bad' }, { checks: directory })
  t.false(bad.success)
  t.regex(bad.detail, /^exit code 3 in/)
})

test('script: one that takes too long is killed with what it has started', async (t) => {
  const directory = checks(t, { slow: 'sleep 60 & echo $! > child; wait' })
  const result = await run({ type: 'script', script: 'slow', timeoutMs: 400 }, { checks: directory })
  t.like(result, { success: false, detail: 'did not end within 400 ms' })
  t.true(await ends(Number(readFileSync(join(directory, 'child'), 'utf8'))))
})

test('bug: what a script left running stayed, one process for each check', async (t) => {
  const directory = checks(t, { leaves: 'sleep 600 & echo $! > "$PWD/left"; exit 0' })
  t.like(await run({ type: 'script', script: 'leaves' }, { checks: directory }), { success: true })
  t.true(await ends(Number(readFileSync(join(directory, 'left'), 'utf8'))))
})

test('script: only programs of the directory, which only their owner may write', async (t) => {
  const directory = checks(t, { open: 'exit 0' })
  chmodSync(join(directory, 'open'), 0o777)
  const detail = async (script: string, checksDirectory?: string): Promise<string> =>
    (await run({ type: 'script', script }, checksDirectory === undefined ? {} : { checks: checksDirectory })).detail
  t.is(await detail('open', directory), 'open may be written by others than its owner')
  t.is(await detail('missing', directory), 'there is no program missing in the checks directory')
  t.is(await detail('../sh', directory), 'not the name of a program')
  t.is(await detail('open'), 'there is no checks directory')
  writeFileSync(join(directory, 'text'), 'no program')
  t.regex(await detail('text', directory), /^text cannot be run: EACCES$/)
})

test('script: at most eight at once, all get their turn, and one that waits can be ended', async (t) => {
  const directory = checks(t, { one: 'touch "run.$$"; sleep 0.05; ls run.* | wc -l >> log; rm "run.$$"' })
  const probe = createProbe(directory)
  const target: ProbeTarget = { type: 'script', script: 'one', address: '127.0.0.1', port: 1, path: '/', host: '', expectStatus: '200', timeoutMs: 20_000 }
  const ended = new AbortController()
  const running = Array.from({ length: 20 }, () => probe(target, () => performance.now(), new AbortController().signal))
  const waiting = probe(target, () => performance.now(), ended.signal)
  ended.abort()
  t.like(await waiting, { success: false, detail: 'ended' })
  t.true((await Promise.all(running)).every(({ success }) => success))
  const atOnce = readFileSync(join(directory, 'log'), 'utf8').trim().split('\n').map(Number)
  t.is(atOnce.length, 20)
  t.true(Math.max(...atOnce) <= 8)
})

test('bug: a probe that cannot even be begun is a failed one', async (t) => {
  for (const type of ['tcp', 'http', 'tls', 'udp'] as const) {
    const result = await run({ type, port: 70_000 })
    t.false(result.success, type)
    t.regex(result.detail, type === 'tls' ? /^TLS: / : /^cannot be tried: /, type)
  }
})

test('bug: a head without end is not read for as long as the probe lasts', (t) => {
  const reader = new AnswerReader('ok')
  t.is(reader.push(bytes('HTTP/1.1 200 OK\r\n')).kind, 'more')
  const lines = bytes('X-Filler: y\r\n'.repeat(100))
  let kind = 'more'
  for (let i = 0; i < 30 && kind === 'more'; i++) kind = reader.push(lines).kind
  t.is(kind, 'invalid')
})
