/**
 * How the command line talks to people and to scripts: aligned tables, colours where they are wanted, questions where
 * there is somebody to answer, and errors that say what to do next.
 */
import { stripVTControlCharacters } from 'node:util'

/** Everything outside the program that a command touches; tests bring their own. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Somebody can be asked: standard input and output are a terminal. */
  readonly interactive: boolean
  readonly colour: boolean
  readonly cwd: string
  /** All of standard input. */
  readInput(): Promise<string>
  /** Undefined when the question was cancelled. */
  askPassword(question: string): Promise<string | undefined>
  askText(question: string, initial: string): Promise<string | undefined>
  askConfirm(question: string): Promise<boolean>
}

/** Exit codes: part of the interface. */
export const exit = { ok: 0, error: 1, usage: 2, conflict: 3, different: 4 } as const

/** Ends a command with a message and an exit code. Not a bug: no stack is shown. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exitCode: number
  /** What to do next; shown on a line of its own. */
  readonly hint: string
  constructor(message: string, exitCode: number = exit.error, hint = '') {
    super(message)
    this.exitCode = exitCode
    this.hint = hint
  }
}

const codes = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const
export type Colour = keyof typeof codes

export function paint(terminal: Terminal, colour: Colour, text: string): string {
  if (!terminal.colour || text === '') return text
  const [on, off] = codes[colour]
  return `\u001b[${on}m${text}\u001b[${off}m`
}

/** Control characters of texts that come from elsewhere must not reach the terminal. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/(?![\t\n])\p{Cc}/gu, '�')
}

/** Columns of a terminal that a text takes: Hangul, kana and Han characters take two. */
export function textWidth(text: string): number {
  let width = 0
  for (const character of stripVTControlCharacters(text)) {
    width += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(
      character,
    )
      ? 2
      : 1
  }
  return width
}

/** Rows below headings, in columns as wide as their widest cell. A column whose heading begins with `>` is right-aligned. */
export function table(terminal: Terminal, headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const right = headings.map((heading) => heading.startsWith('>'))
  const names = headings.map((heading) => heading.replace(/^>/, ''))
  const widths = names.map((name, column) =>
    Math.max(textWidth(name), ...rows.map((row) => textWidth(row[column] ?? ''))),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => {
        const gap = ' '.repeat(widths[column]! - textWidth(cell))
        return right[column] ? gap + cell : cell + gap
      })
      .join('  ')
      .trimEnd()
  return [paint(terminal, 'dim', line(names)), ...rows.map(line)].join('\n') + '\n'
}

/** A unified diff with its lines in colour. */
export function paintDiff(terminal: Terminal, unified: string): string {
  return printable(unified)
    .split('\n')
    .map((line) => {
      if (line.startsWith('+++') || line.startsWith('---')) return paint(terminal, 'bold', line)
      if (line.startsWith('@@')) return paint(terminal, 'cyan', line)
      if (line.startsWith('+')) return paint(terminal, 'green', line)
      return line.startsWith('-') ? paint(terminal, 'red', line) : line
    })
    .join('\n')
}

/** `3 s`, `12 min`, `5 h`, `9 d`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 100) return `${seconds} s`
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`
  return seconds < 72 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`
}

/** Local date and time to the second; a dash when there is none. */
export function localTime(epochMs: number): string {
  if (epochMs === 0) return '-'
  const date = new Date(epochMs - new Date(epochMs).getTimezoneOffset() * 60_000)
  return date.toISOString().slice(0, 19).replace('T', ' ')
}

const units = ['B', 'kB', 'MB', 'GB', 'TB']
/** `1.2 MB`, powers of 1000. */
export function bytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export function rate(perSecond: number): string {
  return perSecond >= 100 || perSecond === 0 ? String(Math.round(perSecond)) : perSecond.toFixed(1)
}
