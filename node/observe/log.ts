/**
 * Logs: one JSON object a line on stderr, or one readable line when stderr is a terminal. Every part of a node gets its
 * sink from here, so that secrets are taken out in one place.
 *
 * The environment variable `HAECHI_LOG` sets the lowest level (debug, info, warn, error; default info) and the form (json,
 * plain), such as `debug`, `plain` or `debug,plain`.
 */
import { pino } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** A structured log sink. Never throws and does not wait for the disk. */
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void

export interface LogOptions {
  readonly level?: LogLevel
  /** `json`: a line of JSON; `plain`: a line for people. Default: plain on a terminal, else JSON. */
  readonly format?: 'json' | 'plain'
  /** Where lines go; default: stderr. Each call gets one complete line with its newline. */
  readonly write?: (line: string) => void
}

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const formats = ['json', 'plain'] as const

/** Field names whose values never reach a log, whatever their depth. Compared in lower case without `-` and `_`. */
const secretNames: ReadonlySet<string> = new Set([
  'password',
  'passwordhash',
  'current',
  'next',
  'secret',
  'secrethash',
  'secrets',
  'sessionkey',
  'cakey',
  'privatekey',
  'key',
  'token',
  'authorization',
  'cookie',
  'setcookie',
  'csrftoken',
  'xcsrftoken',
  'pem',
  'jwt',
])
const redacted = '[redacted]'
const maxDepth = 5
const maxStringLength = 4096
const maxItems = 100

/** A copy of `value` that is safe to write: secrets replaced, strings, lists and depth bounded, errors spelled out. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return value.length > maxStringLength ? `${value.slice(0, maxStringLength)}…` : value
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
  if (typeof value !== 'object' || value === null) return value
  if (depth >= maxDepth) return '[…]'
  if (value instanceof Error) {
    const cause = value.cause === undefined ? {} : { cause: redact(value.cause, depth + 1) }
    return {
      name: value.name,
      message: value.message,
      stack: value.stack,
      ...('code' in value ? { code: value.code } : {}),
      ...cause,
    }
  }
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (value instanceof Map) return redact(Object.fromEntries([...value].slice(0, maxItems)), depth)
  if (value instanceof Set) return redact([...value].slice(0, maxItems), depth)
  if (Array.isArray(value)) return value.slice(0, maxItems).map((item) => redact(item, depth + 1))
  const copy: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(value).slice(0, maxItems)) {
    const secret =
      secretNames.has(name.toLowerCase().replaceAll(/[-_]/g, '')) &&
      typeof item !== 'number' &&
      typeof item !== 'boolean'
    copy[name] = secret ? redacted : redact(item, depth + 1)
  }
  return copy
}

/** Makes the sink for one part of the program; `name` (such as `heart`, `node`, `proxy`) is in every line. */
export function createLog(name: string, options: LogOptions = {}): Log {
  const wanted = (process.env['HAECHI_LOG'] ?? '').split(',')
  const level = options.level ?? levels.find((item) => wanted.includes(item)) ?? 'info'
  const byDefault = process.stderr.isTTY === true ? 'plain' : 'json'
  const format = options.format ?? formats.find((item) => wanted.includes(item)) ?? byDefault
  const stderr = options.write === undefined ? pino.destination({ fd: 2, sync: false }) : undefined
  // The last lines before an orderly end are worth as much as the others.
  if (stderr !== undefined) process.once('exit', () => flush(stderr))
  const write = options.write ?? ((line: string) => void stderr!.write(line))
  const colour = options.write === undefined && process.stderr.isTTY === true && !process.env['NO_COLOR']
  const logger = pino(
    {
      level,
      base: { name, pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: format === 'json' ? write : (line: string) => write(textLine(line, colour)) },
  )
  return (lineLevel, message, fields) => {
    if (fields === undefined) logger[lineLevel](redact(message))
    else logger[lineLevel](redact(fields) as Record<string, unknown>, message)
    // What is logged as an error may be the last thing that this process says.
    if (lineLevel === 'error' && stderr !== undefined) flush(stderr)
  }
}

function flush(stderr: { flushSync(): void }): void {
  try {
    stderr.flushSync()
  } catch {
    // Not open yet, or stderr is gone: there is nobody left to tell.
  }
}

const colours: Readonly<Record<string, string>> = {
  debug: '\u001b[2m',
  info: '\u001b[36m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
}

/** A JSON line as `12:34:56.789 info  node  message  field=value`. */
function textLine(json: string, colour: boolean): string {
  const { time, level, name, msg, pid: _pid, ...fields } = JSON.parse(json) as Record<string, unknown>
  const label = String(level)
  const head = `${String(time).slice(11, 23)} ${label.padEnd(5)} ${String(name).padEnd(6)} ${String(msg ?? '')}`
  let tail = ''
  for (const [field, value] of Object.entries(fields)) tail += ` ${field}=${fieldText(value)}`
  const text = (colour ? `${colours[label] ?? ''}${head}\u001b[0m${tail}` : head + tail).replaceAll(/[\r\n]+/g, ' ⏎ ')
  return `${text}\n`
}

function fieldText(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
  return JSON.stringify(value) ?? ''
}
