/** Textual `host:port` addresses, `[host]:port` for IPv6. Pure. */

export interface HostPort {
  readonly host: string
  readonly port: number
}

const hostName = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$/
const bracketed = /^\[([0-9a-fA-F:.%a-zA-Z0-9-]{2,64})\]:([0-9]{1,5})$/
const plain = /^([^:]+):([0-9]{1,5})$/

/** Splits `host:port`; undefined when it is not one. Ports are 0 to 65535 (0 only makes sense for listening). */
export function parseHostPort(text: string): HostPort | undefined {
  const match = bracketed.exec(text) ?? plain.exec(text)
  if (match === null) return undefined
  const host = match[1]!
  const port = Number(match[2])
  if (port > 65535) return undefined
  if (!text.startsWith('[') && !hostName.test(host)) return undefined
  return { host, port }
}

/** The inverse of `parseHostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
