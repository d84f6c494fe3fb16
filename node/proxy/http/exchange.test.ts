/**
 * Whatever order events come in: a client that sends requests of all kinds in pieces, members that answer in all framings, pauses,
 * refusals, ends and resets at random. Answers come whole and in order, or their break is seen; no request with a body or that is not
 * idempotent reaches members twice; nothing is written after an end; every count returns to zero.
 *
 * Replay a failure: SEED=n ava node/proxy/http/exchange.test.ts
 */
import test from 'ava'
import { FakeProxy, type FakeConnection } from '../fake-transport.ts'

const seed = process.env['SEED'] === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED'])
const runs = process.env['SEED'] === undefined ? 400 : 1

/** mulberry32 */
function randomFor(from: number): (below: number) => number {
  let state = from | 0
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

interface Sent {
  readonly id: number
  readonly head: boolean
  readonly body: string
  readonly repeatable: boolean
  readonly text: string
}

/** A request; its body and answer are made of its number. */
function request(id: number, random: (below: number) => number): Sent {
  const kind = random(5)
  const body = `<${id}>`.repeat(1 + random(40))
  if (kind === 0) return { id, head: false, body: '', repeatable: true, text: `GET /${id} HTTP/1.1\r\nHost: a\r\n\r\n` }
  if (kind === 1) return { id, head: true, body: '', repeatable: true, text: `HEAD /${id} HTTP/1.1\r\nHost: a\r\n\r\n` }
  if (kind === 2) return { id, head: false, body, repeatable: false, text: `POST /${id} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}` }
  if (kind === 3) return { id, head: false, body: '', repeatable: false, text: `POST /${id} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n` }
  const cut = 1 + random(body.length - 1)
  const chunks = [body.slice(0, cut), body.slice(cut)].filter((chunk) => chunk !== '').map((chunk) => `${chunk.length.toString(16)};x\r\n${chunk}\r\n`)
  return { id, head: false, body, repeatable: false, text: `PUT /${id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join('')}0\r\nT: x\r\n\r\n` }
}

const answerBody = (id: number): string => `answer ${id}.`.repeat(1 + (id % 7))

/** The first whole request in a text: its id, body and length; undefined: not whole yet. */
function readRequest(text: string): { id: number; head: boolean; body: string; length: number } | undefined {
  const end = text.indexOf('\r\n\r\n') + 4
  if (end < 4) return undefined
  const head = text.slice(0, end)
  const id = Number(/^\S+ \/(\d+) /.exec(head)![1])
  const length = /Content-Length: (\d+)/.exec(head)?.[1]
  if (length !== undefined) {
    const total = end + Number(length)
    return text.length < total ? undefined : { id, head: false, body: text.slice(end, total), length: total }
  }
  if (!/Transfer-Encoding: chunked/.test(head)) return { id, head: head.startsWith('HEAD'), body: '', length: end }
  let at = end
  let body = ''
  for (;;) {
    const line = /^([0-9a-f]+)[^\r]*\r\n/.exec(text.slice(at))
    if (line === null) return undefined
    at += line[0].length
    const size = Number.parseInt(line[1]!, 16)
    if (size === 0) break
    if (text.length < at + size + 2) return undefined
    body += text.slice(at, at + size)
    at += size + 2
  }
  const trailer = /^(?:[^\r]+\r\n)*\r\n/.exec(text.slice(at))
  return trailer === null ? undefined : { id, head: false, body, length: at + trailer[0].length }
}

/** What a client makes of its bytes: whole answers; whether what follows them is part of one. */
function readAnswers(text: string, heads: ReadonlySet<number>, ended: boolean): { answers: { status: number; body: string }[]; rest: string } {
  const answers: { status: number; body: string }[] = []
  let at = 0
  while (at < text.length) {
    const from = at
    const end = text.indexOf('\r\n\r\n', at) + 4
    if (end < 4) return { answers, rest: text.slice(from) }
    const head = text.slice(at, end)
    at = end
    let body = ''
    const length = /Content-Length: (\d+)/.exec(head)?.[1]
    if (heads.has(answers.length)) body = ''
    else if (/Transfer-Encoding: chunked/.test(head)) {
      for (;;) {
        const line = /^([0-9a-f]+)\r\n/.exec(text.slice(at))
        const size = line === null ? 0 : Number.parseInt(line[1]!, 16)
        if (line === null || text.length < at + line[0].length + size + 2) return { answers, rest: text.slice(from) }
        body += text.slice(at + line[0].length, at + line[0].length + size)
        at += line[0].length + size + 2
        if (size === 0) break
      }
    } else if (length !== undefined) {
      if (text.length < at + Number(length)) return { answers, rest: text.slice(from) }
      body = text.slice(at, at + Number(length))
      at += Number(length)
    } else {
      if (!ended) return { answers, rest: text.slice(from) }
      body = text.slice(at)
      at = text.length
    }
    answers.push({ status: Number(head.slice(9, 12)), body })
  }
  return { answers, rest: '' }
}

interface Member {
  readonly connection: FakeConnection
  connected: boolean
  /** How much of what was sent to it has been answered. */
  used: number
  /** Its answer, in pieces that are still to be sent. */
  pieces: string[]
  endsAfter: boolean
  /** It answers before the end of a request. */
  early: boolean
  peerEnded: boolean
}

/** Plays one run; returns what is wrong with it, or nothing. */
async function play(runSeed: number, faults: boolean, routed: boolean): Promise<string> {
  const random = randomFor(runSeed)
  const routes = [{ name: 'r', pool: 'web', retries: { attempts: 3, after: ['connect-failure', 'reset', 'timeout'], statuses: [503], maxBodyBytes: 1024, budgetPercent: 100 }, headers: { setResponse: [{ name: 'X-Set', value: '1' }] } }]
  const proxy = FakeProxy.with(3, routed ? { routes } : {}, { retries: 3 })
  const client = proxy.client()
  const requests = Array.from({ length: 1 + random(6) }, (_, id) => request(id, random))
  let unsent = requests.map((one) => one.text).join('')
  let clientEnded = false
  const members = new Map<FakeConnection, Member>()
  const arrivals = new Map<number, number>()
  let wrong = ''
  let fault = false

  const answer = (member: Member): void => {
    const text = member.connection.taken.slice(member.used)
    const found = readRequest(text)
    if (member.early) {
      // It still reads that request to its end; a next one can only come behind that.
      if (found !== undefined) {
        member.used += found.length
        member.early = false
      } else if (/(?:GET|HEAD|PUT|POST) \//.test(text.slice(text.indexOf('\r\n')))) wrong ||= 'a connection with the rest of a request was used again'
      return
    }
    if (member.pieces.length > 0 || member.endsAfter) return
    if (found === undefined) {
      if (!text.includes('\r\n\r\n') || random(12) > 0) return
      member.early = true
      member.pieces.push('HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly')
      return
    }
    member.used += found.length
    arrivals.set(found.id, (arrivals.get(found.id) ?? 0) + 1)
    if (found.body !== requests[found.id]!.body) wrong ||= `request ${found.id} reached a member with another body`
    if (routed && random(5) === 0) {
      member.pieces.push('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\n')
      // A body behind an answer to HEAD would be bytes that nobody asked for: the next request on that connection fails for them.
      if (!found.head) member.pieces.push('busy')
      return
    }
    const body = answerBody(found.id)
    let reply = random(5) === 0 ? 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' : ''
    const framing = random(5)
    if (found.head || framing <= 2) reply += `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${framing === 2 ? 'Connection: close\r\n' : ''}\r\n${found.head ? '' : body}`
    else if (framing === 3) reply += `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n${body.slice(0, 3)}\r\n${(body.length - 3).toString(16)}\r\n${body.slice(3)}\r\n0\r\n\r\n`
    else {
      reply += `HTTP/1.0 200 OK\r\n\r\n${body}`
      member.endsAfter = true
    }
    while (reply !== '') {
      const cut = 1 + random(reply.length)
      member.pieces.push(reply.slice(0, cut))
      reply = reply.slice(cut)
    }
  }
  const step = (last: boolean): boolean => {
    for (const connection of proxy.connections) {
      if (!members.has(connection)) members.set(connection, { connection, connected: false, used: 0, pieces: [], endsAfter: false, early: false, peerEnded: false })
    }
    const can: (() => void)[] = []
    if (!client.isClosed) {
      if (unsent !== '' && !client.paused) {
        can.push(() => {
          const cut = 1 + random(Math.min(unsent.length, 60))
          const piece = unsent.slice(0, cut)
          unsent = unsent.slice(cut)
          client.receives(piece)
        })
      }
      if (client.held.length > 0 || client.stuck) can.push(() => client.drains())
      else if (!last && random(3) === 0) can.push(() => void (client.stuck = true))
      if (unsent === '' && !clientEnded && !client.paused && random(4) === 0) {
        can.push(() => {
          clientEnded = true
          client.peerEnds()
        })
      }
      if (faults && !last && random(60) === 0) {
        can.push(() => {
          fault = true
          client.breaks('ECONNRESET')
        })
      }
    }
    for (const member of members.values()) {
      const { connection } = member
      if (connection.isClosed) continue
      if (!member.connected) {
        can.push(() => {
          // One refusal is made good by another member.
          if (faults && random(4) === 0) {
            fault = true
            return connection.breaks('ECONNREFUSED')
          }
          member.connected = true
          connection.connects()
        })
        continue
      }
      if (connection.held.length > 0 || connection.stuck) can.push(() => connection.drains())
      else if (!last && random(4) === 0) can.push(() => void (connection.stuck = true))
      answer(member)
      if (member.pieces.length > 0 && !connection.paused) can.push(() => connection.receives(member.pieces.shift()!))
      else if (member.endsAfter && member.pieces.length === 0 && !member.peerEnded && !connection.paused) {
        can.push(() => {
          member.peerEnded = true
          connection.peerEnds()
        })
      }
      if (faults && !last && random(40) === 0) {
        can.push(() => {
          fault = true
          // An early end of a body without a length cannot be told from its end.
          if (random(2) === 0 && !connection.paused && !member.endsAfter) {
            member.peerEnded = true
            connection.peerEnds()
          } else connection.breaks('ECONNRESET')
        })
      }
    }
    if (can.length === 0) return false
    can[random(can.length)]!()
    // Both directions ended and everything taken: the socket closes by itself.
    if (client.isEnded && clientEnded && client.flushed && !client.isClosed) client.breaks('')
    return true
  }
  for (let i = 0; i < 400 && step(false); i++) await Promise.resolve()
  for (let i = 0; i < 5000 && step(true); i++) await Promise.resolve()

  // In order and whole: the answers are those of the first requests.
  const heads = new Set(requests.filter((one) => one.head).map((one) => one.id))
  const { answers, rest } = readAnswers(client.taken.replaceAll(/HTTP\/1\.1 103 [^]*?\r\n\r\n/g, ''), heads, client.isEnded && !client.isAborted)
  for (const [id, { status, body }] of answers.entries()) {
    if (status === 200 && body !== (heads.has(id) ? '' : answerBody(id))) wrong ||= `answer ${id} is ${JSON.stringify(body)}`
    // When all members are busy, the last one's word goes through.
    if (status === 503 && routed && (body === 'busy' || heads.has(id))) continue
    if (status === 413 ? body !== 'early' : status !== 200 && !fault) wrong ||= `answer ${id} is ${status}`
  }
  const closing = /Connection: close/.test(client.taken)
  if (!fault && !closing && answers.length < requests.length) wrong ||= `${answers.length} answers for ${requests.length} requests`
  if (rest !== '' && !client.isAborted && !fault) wrong ||= `part of an answer and no failure: ${JSON.stringify(rest)}`
  for (const [id, times] of arrivals) if (times > 1 && !requests[id]!.repeatable && !(routed && requests[id]!.text.startsWith('PUT '))) wrong ||= `request ${id} reached members ${times} times`

  // Everything goes away: every count returns to zero.
  if (!client.isClosed) client.breaks('ECONNRESET')
  await new Promise((resolve) => setImmediate(resolve))
  if (proxy.active() !== 0) wrong ||= `${proxy.active()} exchanges are still counted`
  if (proxy.shared.connections(0) !== 0) wrong ||= `${proxy.shared.connections(0)} connections are still counted`
  return wrong
}

for (const [faults, routed] of [[false, false], [true, false], [false, true], [true, true]] as const) {
  test(`in any order of events${faults ? ', with faults at any time' : ''}${routed ? ', with retries of the route' : ''}`, async (t) => {
    for (let run = 0; run < (routed ? Math.ceil(runs / 4) : runs); run++) {
      const runSeed = seed + run
      let wrong = ''
      try {
        wrong = await play(runSeed, faults, routed)
      } catch (error) {
        wrong = (error as Error).stack ?? String(error)
      }
      if (wrong !== '') {
        t.fail(`${wrong}\nreplay: SEED=${runSeed} ava node/proxy/http/exchange.test.ts`)
        return
      }
    }
    t.pass()
  })
}
