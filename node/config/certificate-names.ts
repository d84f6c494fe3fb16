/** Where a configuration document names certificates of the store. The one list of such fields; pure. */
import type { ConfigurationDocument } from './schema.ts'

export interface CertificateName {
  /** JSON pointer of the field. */
  readonly field: string
  readonly name: string
  /** What it has to be. */
  readonly kind: 'key-pair' | 'authority'
}

/** In the order of the document. */
export function certificateNamesOf(document: Pick<ConfigurationDocument, 'listeners' | 'pools'>): CertificateName[] {
  const found: CertificateName[] = []
  const add = (field: string, name: string | undefined, kind: CertificateName['kind']): void => {
    if (name !== undefined && name !== '') found.push({ field, name, kind })
  }
  for (const [at, listener] of document.listeners.entries()) {
    const { tls } = listener
    for (const [index, name] of (tls?.certificates ?? []).entries()) add(`/listeners/${at}/tls/certificates/${index}`, name, 'key-pair')
    add(`/listeners/${at}/tls/clientAuth/authority`, tls?.clientAuth.authority, 'authority')
  }
  for (const [at, pool] of document.pools.entries()) {
    const { tls } = pool
    add(`/pools/${at}/tls/authority`, tls?.authority, 'authority')
    add(`/pools/${at}/tls/certificate`, tls?.certificate, 'key-pair')
  }
  return found
}
