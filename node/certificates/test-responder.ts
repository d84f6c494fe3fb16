/** For tests: an OCSP responder that is not ours, openssl's. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { MadeCertificate } from './test-chain.ts'

/** Whether it is on this machine; tests that need it skip without. */
export const hasOpenssl = ((): boolean => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()
interface Respond {
  readonly issuer: MadeCertificate
  readonly signer?: MadeCertificate
  readonly status?: 'V' | 'R'
  /** Serial number that the responder knows; default: of the certificate asked about. */
  readonly serial?: string
  readonly days?: number
}

/** The response (DER) to a request. */
export function respond(request: Uint8Array, { issuer, signer = issuer, status = 'V', serial = '', days = 2 }: Respond): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-ocsp-'))
  try {
    return answered(directory, request, { issuer, signer, status, serial, days })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function answered(directory: string, request: Uint8Array, { issuer, signer, status, serial, days }: Required<Respond>): Uint8Array {
  const at = (name: string): string => join(directory, name)
  writeFileSync(at('ca.pem'), issuer.pem)
  writeFileSync(at('signer.pem'), signer.pem)
  writeFileSync(at('signer.key'), signer.keyPem)
  writeFileSync(at('request.der'), request)
  writeFileSync(at('index.txt'), `${status}\t301231235959Z\t${status === 'R' ? '260101000000Z' : ''}\t${serial.toUpperCase()}\tunknown\t/CN=x\n`)
  execFileSync('openssl', ['ocsp', '-index', at('index.txt'), '-CA', at('ca.pem'), '-rsigner', at('signer.pem'), '-rkey', at('signer.key'), '-reqin', at('request.der'), '-respout', at('out.der'), '-ndays', String(days)], { stdio: 'ignore' })
  return new Uint8Array(readFileSync(at('out.der')))
}

