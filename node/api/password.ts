/**
 * Passwords: argon2id (RFC 9106) with OWASP's parameters (m = 19 MiB, t = 2, p = 1), stored as
 * `argon2id$m=19456,t=2,p=1$salt$hash` with base64url parts.
 *
 * Each computation needs 19 MiB and some 20 ms of a pool thread, so only a few run at once and only some may wait:
 * a flood of sign-ins is refused, not remembered.
 */
import { argon2, randomBytes, randomInt, timingSafeEqual } from 'node:crypto'

interface Parameters {
  /** KiB. */
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
}

const defaults: Parameters = { memory: 19456, passes: 2, parallelism: 1 }
const saltBytes = 16
const hashBytes = 32
const maxRunning = 2
const maxWaiting = 32

/** Characters in a password that a person chooses. */
export const passwordLength = { min: 10, max: 256 } as const

/** Too many passwords are being computed; try again in a moment. */
export class PasswordsBusy extends Error {
  override readonly name = 'PasswordsBusy'
}

/** The stored form of a password, with a new salt. Throws `PasswordsBusy`. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes)
  const hash = await compute(password, salt, defaults)
  return `argon2id$m=${defaults.memory},t=${defaults.passes},p=${defaults.parallelism}$${salt.toString('base64url')}$${hash.toString('base64url')}`
}

/**
 * Whether `password` is the stored one. With `stored` undefined (no such user) it computes as long and says false, so
 * that the time of an answer does not tell which users exist. Throws `PasswordsBusy`.
 */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const parts = parse(stored ?? dummy)
  if (parts === undefined) {
    await compute(password, randomBytes(saltBytes), defaults)
    return false
  }
  const hash = await compute(password, parts.salt, parts.parameters)
  return timingSafeEqual(hash, parts.hash) && stored !== undefined
}

/** What is wrong with a new password, or undefined. */
export function passwordProblem(password: string, user: string): string | undefined {
  const length = [...password].length
  if (length < passwordLength.min) return `must have at least ${passwordLength.min} characters`
  if (length > passwordLength.max) return `must have at most ${passwordLength.max} characters`
  if (password.toLowerCase() === user.toLowerCase()) return 'must not be the user name'
  if (new Set(password).size < 4) return 'must have at least 4 different characters'
  return undefined
}

/** Letters and digits that cannot be taken for one another. */
const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'

/** A password of 100 random bits to be read and typed by people: `xxxxx-xxxxx-xxxxx-xxxxx`. */
export function generatePassword(): string {
  const group = () => Array.from({ length: 5 }, () => alphabet[randomInt(alphabet.length)]).join('')
  return [group(), group(), group(), group()].join('-')
}

const dummy = `argon2id$m=${defaults.memory},t=${defaults.passes},p=${defaults.parallelism}$${'A'.repeat(22)}$${'A'.repeat(43)}`

function parse(stored: string): { parameters: Parameters; salt: Buffer; hash: Buffer } | undefined {
  const match = /^argon2id\$m=(\d{1,7}),t=(\d{1,2}),p=(\d)\$([\w-]{11,86})\$([\w-]{43})$/.exec(stored)
  if (match === null) return undefined
  const [, memory, passes, parallelism, salt, hash] = match
  return {
    parameters: { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) },
    salt: Buffer.from(salt!, 'base64url'),
    hash: Buffer.from(hash!, 'base64url'),
  }
}

let running = 0
const waiting: (() => void)[] = []

async function compute(password: string, salt: Buffer, parameters: Parameters): Promise<Buffer> {
  if (running >= maxRunning) {
    if (waiting.length >= maxWaiting) throw new PasswordsBusy('too many passwords are being checked')
    // Whoever ends hands its place on, so `running` stays as it is.
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else running++
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const message = Buffer.from(password.normalize('NFC'), 'utf8')
      argon2('argon2id', { message, nonce: salt, tagLength: hashBytes, ...parameters }, (error, key) => {
        if (error === null || error === undefined) resolve(key)
        else reject(error)
      })
    })
  } finally {
    const next = waiting.shift()
    if (next === undefined) running--
    else next()
  }
}
