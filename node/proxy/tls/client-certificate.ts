/** The fields by which members learn of a client's certificate: made once for each connection. */
import type { TlsFacts } from '../transport/transport.ts'

/** A longer subject is cut: it goes into every request. */
const maxSubjectBytes = 1024

/** Field lines for members. The certificate, if there is one, has been verified. */
export function certificateFields({ clientCertificate }: TlsFacts): Buffer {
  if (clientCertificate === undefined) return Buffer.from('X-Client-Cert-Verified: NONE\r\n', 'latin1')
  const { subject, fingerprint } = clientCertificate
  // One line for each part of the name; commas inside are escaped (RFC 4514 §2.4).
  const line = subject.split('\n').join(',').replace(/[^ -~]/gu, (character) => encodeURIComponent(character.isWellFormed() ? character : '\ufffd')).slice(0, maxSubjectBytes)
  return Buffer.from(`X-Client-Cert-Verified: SUCCESS\r\nX-Client-Cert-Subject: ${line}\r\nX-Client-Cert-Fingerprint: ${fingerprint}\r\n`, 'latin1')
}
