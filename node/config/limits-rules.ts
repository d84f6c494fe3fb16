/** What limits and observation of a document must fulfil beyond their shape. */
import { parseAddress } from './address-words.ts'
import type { ProblemList } from './complete.ts'
import { checkPrefix } from './layer4-rules.ts'
import { limitsOfLimits, type RateLimit } from './limits-schema.ts'
import type { ConfigurationDocument, Listener } from './schema.ts'
import { nearest } from './suggest.ts'

/** Names of fields that mean something to HTTP itself: nothing else may be written into them. */
const reserved: ReadonlySet<string> = new Set([
  'host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'content-length', 'expect', 'via',
  'x-forwarded-for', 'x-forwarded-proto', 'x-haechi-error', 'cookie', 'set-cookie', 'authorization', 'traceparent', 'tracestate',
  'content-type', 'date', 'location',
])

/** Listeners of these protocols see no requests. */
const layer4: ReadonlySet<string> = new Set(['tcp', 'udp', 'tls-passthrough'])

/** Adds a problem for every rule that the document breaks. */
export function checkLimits(document: ConfigurationDocument, out: ProblemList): void {
  checkAccessLists(document, out)
  let rateLimits = 0
  for (const [index, listener] of document.listeners.entries()) {
    const field = `/listeners/${index}`
    checkListener(document, listener, field, out)
    if (listener.rateLimit !== undefined) {
      rateLimits++
      checkRateLimit(listener.rateLimit, `${field}/rateLimit`, !layer4.has(listener.protocol), out)
    }
    for (const [position, route] of listener.routes.entries()) {
      if (route.rateLimit === undefined) continue
      rateLimits++
      checkRateLimit(route.rateLimit, `${field}/routes/${position}/rateLimit`, true, out)
    }
  }
  if (rateLimits > limitsOfLimits.rateLimits) {
    out.add('/listeners', `expected at most ${limitsOfLimits.rateLimits} rate limits in the document, found ${rateLimits}`)
  }
}

function checkAccessLists(document: ConfigurationDocument, out: ProblemList): void {
  const seen = new Map<string, number>()
  let prefixes = 0
  for (const [index, list] of (document.accessLists ?? []).entries()) {
    const field = `/accessLists/${index}`
    const first = seen.get(list.name)
    if (first === undefined) seen.set(list.name, index)
    else out.add(`${field}/name`, `the access list name ${JSON.stringify(list.name)} is taken already, by /accessLists/${first}`)
    prefixes += list.prefixes.length
    for (let i = 0; i < list.prefixes.length && !out.full; i++) {
      if (!isPlainPrefix(list.prefixes[i]!)) checkPrefix(list.prefixes[i]!, `${field}/prefixes/${i}`, out)
    }
  }
  if (prefixes > limitsOfLimits.prefixes) {
    out.add('/accessLists', `expected at most ${limitsOfLimits.prefixes} prefixes in all access lists together, found ${prefixes}`)
  }
}

const words = new Uint32Array(4)

/** Surely valid, found fast: lists are long. For all others `checkPrefix` says what is wrong, if anything is. */
function isPlainPrefix(prefix: string): boolean {
  const slash = prefix.indexOf('/')
  const address = slash < 0 ? prefix : prefix.slice(0, slash)
  const family = parseAddress(address, words)
  // An IPv6 spelling of an IPv4 address is not the same to everybody.
  if (family === 0 || (address.includes(':') && (family === 4 || address.includes('.')))) return false
  return slash < 0 || Number(prefix.slice(slash + 1)) <= (family === 4 ? 32 : 128)
}

function checkListener(document: ConfigurationDocument, listener: Listener, field: string, out: ProblemList): void {
  const lists = (document.accessLists ?? []).map((list) => list.name)
  for (const which of ['allow', 'deny'] as const) {
    for (const [position, name] of (listener[which] ?? []).entries()) {
      if (lists.includes(name)) continue
      const suggestion = nearest(name, lists)
      out.add(
        `${field}/${which}/${position}`,
        `there is no access list named ${JSON.stringify(name)}${suggestion === undefined ? '' : `; did you mean ${JSON.stringify(suggestion)}?`}`,
      )
    }
  }
  const http = !layer4.has(listener.protocol)
  for (const which of ['requestId', 'trace'] as const) {
    if (listener[which] !== undefined && !http) out.add(`${field}/${which}`, `expected none on a ${listener.protocol} listener: only requests of http have header fields`)
  }
  if (listener.requestId !== undefined && reserved.has(listener.requestId.header.toLowerCase())) {
    out.add(`${field}/requestId/header`, `${listener.requestId.header} has a meaning of its own; expected another name, such as X-Request-Id`)
  }
}

function checkRateLimit(limit: RateLimit, field: string, http: boolean, out: ProblemList): void {
  if (limit.key === 'header' && !http) out.add(`${field}/key`, 'expected source: only requests of http have header fields')
  if (limit.key === 'header' && limit.header === undefined) out.add(`${field}/header`, 'is missing; `key: header` needs the name of a header field')
  if (limit.key === 'source' && limit.header !== undefined) out.add(`${field}/header`, 'expected none with `key: source`')
}
