/** What is fuzzed: a way to make inputs, a parser that gets them in pieces, and the reader that it must agree with. */
import { Body, Framing } from '../../node/proxy/http/body.ts'
import { ChunkedReader } from '../../node/proxy/http/chunked.ts'
import { Head, HeadScanner } from '../../node/proxy/http/head.ts'
import { readProxyHeader, scanProxyHeader } from '../../node/proxy/tcp/proxy-protocol.ts'
import { HelloReader } from '../../node/proxy/tls/client-hello.ts'
import { chunkedBodies, requests, responses, type Chance } from './inputs.ts'
import { readChunked, readRequest, readResponse, type Message } from './reference.ts'
import { hellos, proxyHeaders } from './wire-inputs.ts'
import { readHello, readProxy, sameSpelling } from './wire-reference.ts'

export interface Target {
  readonly name: string
  input(chance: Chance): string
  /**
   * Both readings of an input, as text, and how much of it was taken. Equal readings agree. `cuts`: where the parser's input is
   * split, ascending.
   */
  compare(input: string, cuts: readonly number[]): { readonly parser: string; readonly reference: string; readonly taken: number }
}

const head = new Head()
const framingNames = { [Framing.none]: 'none', [Framing.length]: 'length', [Framing.chunked]: 'chunked', [Framing.close]: 'close' } as const

function show(message: Message): string {
  return JSON.stringify(message)
}

/**
 * Reads messages from `buffer` as a connection does: a head is complete, is parsed, its body passes. The readings of all
 * messages that were taken whole.
 */
function parse(buffer: Buffer, cuts: readonly number[], request: boolean): string[] {
  const scanner = new HeadScanner()
  const body = new Body()
  const messages: string[] = []
  let inBody = false
  let headStart = 0
  let at = 0
  let text = ''
  let current: Omit<Message, 'body' | 'length'> | undefined
  const finish = (): void => {
    messages.push(show({ ...current!, body: text, length: at - headStart }))
    inBody = false
    headStart = at
    text = ''
  }
  for (const cut of [...cuts, buffer.length]) {
    for (;;) {
      if (inBody) {
        if (at === cut && !body.done) break
        const to = body.read(buffer, at, cut)
        if (to < 0) return messages
        if (body.framing === Framing.chunked) for (let i = 0; i < body.spans.length; i += 2) text += buffer.toString('latin1', body.spans[i], body.spans[i + 1])
        else text += buffer.toString('latin1', at, to)
        at = to
        if (!body.done) break
        finish()
        if (!request) return messages
        continue
      }
      const length = scanner.scan(buffer, headStart, cut)
      if (length < 0) return messages
      if (length === 0) break
      scanner.reset()
      const end = headStart + length
      const fault = request ? head.parseRequest(buffer, headStart, end, 100) : head.parseResponse(buffer, headStart, end, 100)
      if (fault !== 0) return messages
      at = end
      let framing: number
      if (request) framing = head.chunked ? Framing.chunked : head.contentLength > 0 ? Framing.length : Framing.none
      else if (head.status < 200 || head.status === 204 || head.status === 304) framing = Framing.none
      else if (head.chunked) framing = Framing.chunked
      else if (head.contentLength >= 0) framing = head.contentLength === 0 ? Framing.none : Framing.length
      else framing = Framing.close
      current = {
        headLength: length,
        start: request
          ? `${buffer.toString('latin1', head.start, head.methodEnd)} ${buffer.toString('latin1', head.targetStart, head.targetEnd)} 1.${head.minor}`
          : String(head.status),
        host: request ? buffer.toString('latin1', head.hostStart, head.hostEnd) : '',
        fields: head.count, close: head.close, upgrade: head.upgrade, framing: framingNames[framing as keyof typeof framingNames],
      }
      body.begin(framing, head.contentLength)
      inBody = true
      if (body.done) {
        finish()
        if (!request) return messages
      }
    }
  }
  // The end of the connection is the end of such a body.
  if (inBody && body.framing === Framing.close) finish()
  return messages
}

function all(text: string, read: (text: string) => Message | 'bad' | 'unfinished', many: boolean): string[] {
  const messages: string[] = []
  for (let rest = text; rest !== ''; ) {
    const message = read(rest)
    if (typeof message === 'string') break
    messages.push(show(message))
    if (!many) break
    rest = rest.slice(message.length)
  }
  return messages
}

function messages(request: boolean): Target['compare'] {
  return (input, cuts) => {
    const parser = parse(Buffer.from(input, 'latin1'), cuts, request)
    const reference = all(input, request ? readRequest : readResponse, request)
    return { parser: parser.join('\n'), reference: reference.join('\n'), taken: parser.length }
  }
}

export const targets: readonly Target[] = [
  { name: 'requests', input: requests, compare: messages(true) },
  { name: 'responses', input: responses, compare: messages(false) },
  {
    name: 'chunked',
    input: chunkedBodies,
    compare(input, cuts) {
      const buffer = Buffer.from(input, 'latin1')
      const reader = new ChunkedReader()
      let at = 0
      let data = ''
      let bad = false
      for (const cut of [...cuts, buffer.length]) {
        if (reader.done || bad) break
        const next = reader.read(buffer, at, cut)
        bad = next < 0
        if (bad) break
        for (let i = 0; i < reader.spans.length; i += 2) data += buffer.toString('latin1', reader.spans[i], reader.spans[i + 1])
        at = next
      }
      const expected = readChunked(input)
      const parser = reader.done && !bad ? JSON.stringify({ text: data, length: at }) : 'not taken'
      return { parser, reference: typeof expected === 'string' ? 'not taken' : JSON.stringify(expected), taken: parser === 'not taken' ? 0 : 1 }
    },
  },
  {
    name: 'proxy-headers',
    input: proxyHeaders,
    compare(input, cuts) {
      const buffer = Buffer.from(input, 'latin1')
      let parser = 'not taken'
      for (const cut of [...cuts, buffer.length]) {
        const length = scanProxyHeader(buffer, 0, cut)
        if (length < 0) break
        if (length === 0) continue
        const found = readProxyHeader(buffer, 0, length)
        const addresses = found === undefined ? 'none' : `${sameSpelling(found.source)} ${sameSpelling(found.destination)} ${found.sourcePort} ${found.destinationPort}`
        parser = JSON.stringify({ header: length, addresses })
        break
      }
      const expected = readProxy(buffer)
      return { parser, reference: expected === undefined ? 'not taken' : JSON.stringify(expected), taken: parser === 'not taken' ? 0 : 1 }
    },
  },
  {
    name: 'client-hellos',
    input: hellos,
    compare(input, cuts) {
      const buffer = Buffer.from(input, 'latin1')
      const reader = new HelloReader()
      let parser = 'not taken'
      for (const cut of [...cuts, buffer.length]) {
        const result = reader.read(buffer, 0, cut)
        if (result === 'more') continue
        if (result === 'done') parser = `name ${reader.serverName}`
        break
      }
      const expected = readHello(buffer)
      return { parser, reference: expected === undefined ? 'not taken' : `name ${expected}`, taken: parser === 'not taken' ? 0 : 1 }
    },
  },
]
