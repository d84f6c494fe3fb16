/**
 * The seam to the kernel: connections and bytes, plain or inside TLS. Protocol code is written once against it; `net.ts` is the
 * implementation on `node:net` (with `tls.ts` on `node:tls`), others may follow. `contract.ts` is the suite that each of them passes.
 */
import type { SecureContext } from 'node:tls'

/**
 * What a connection's owner wants to hear. One object may own many connections. After `closed` nothing more is called.
 */
export interface ConnectionOwner {
  /** Outgoing connections only: established. */
  connected(connection: Connection): void
  /** Bytes `[start, end)`; the buffer is valid during the call only. */
  received(connection: Connection, buffer: Buffer, start: number, end: number): void
  /** The peer will send no more. The other direction stays open. */
  ended(connection: Connection): void
  /** Everything that `write` took has been handed to the kernel, after it had returned false. */
  drained(connection: Connection): void
  /** Gone. `error`: empty for an orderly end, else the name of the error, such as `ECONNREFUSED` or `ECONNRESET`. */
  closed(connection: Connection, error: string): void
}

export interface Connection {
  /** Who hears of it; may be changed at any time. */
  owner: ConnectionOwner
  /** As text; an IPv4 client of a dual-stack listener has its IPv4 address. After `announce`: the address that it named. */
  readonly remoteAddress: string
  /** Both of its ends; after `announce` those that it named. */
  readonly endpoints: Endpoints
  /** A proxy in front has said whose connection this is: from here on its ends are these. It goes on inside TLS. */
  announce(endpoints: Endpoints): void
  /**
   * Sends `[0, length)` of a buffer. Returns false when the kernel does not take it all now: stop writing until `drained`.
   * The buffer may be used again at once if `flushed` is true afterwards, else it belongs to the connection.
   */
  write(data: Buffer): boolean
  /** Nothing waits to be taken by the kernel. */
  readonly flushed: boolean
  /** Stop and go on delivering `received`. */
  pause(): void
  resume(): void
  /** Half-close: no more writes; what was written is still sent. */
  end(): void
  /** Closes now; what the kernel has not taken is lost. */
  close(): void
  /** Closes with a reset, so that the peer sees a failure and no orderly end. */
  abort(): void
  /** `write` never keeps the buffer, whatever `flushed` says. Absent: false. */
  readonly copies?: boolean
  /** Of a connection inside TLS: what the handshake brought. */
  readonly tls?: TlsFacts | undefined
}

/** The two ends of a connection, as text and port numbers; an IPv4-mapped IPv6 address is the IPv4 address. */
export interface Endpoints {
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly destinationPort: number
}

/** What a finished handshake says of a connection. */
export interface TlsFacts {
  /** Name that the client asked for (SNI); empty: none. */
  readonly serverName: string
  /** Protocol agreed on (ALPN); empty: none. */
  readonly alpn: string
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string
  /** An earlier session went on. */
  readonly resumed: boolean
  /** The client's certificate, verified; undefined: it has shown none. */
  readonly clientCertificate: { readonly subject: string; readonly fingerprint: string } | undefined
}

/** A certificate prepared for handshakes. */
export interface ServerCertificate {
  readonly context: SecureContext
  /** Stapled for clients that ask; undefined: none. */
  readonly ocspResponse: Buffer | undefined
}

/** How connections of a listener are secured: prepared, so that a handshake looks nothing up but the name. */
export interface ServerTls {
  readonly default: ServerCertificate
  /** Chooses by the name asked for, in lower case; undefined: refuse. Absent: `default` serves every name. */
  readonly select?: (serverName: string) => ServerCertificate | undefined
  /** Clients without a name are refused. */
  readonly needsName: boolean
  readonly clientCertificate: 'none' | 'optional' | 'required'
  /** Protocols offered (ALPN), preferred first; empty: ALPN is not answered. */
  readonly alpn: readonly string[]
}

/** How connections to members are secured. */
export interface ClientTls {
  readonly context: SecureContext
  /** Sent as SNI and looked for in the member's certificate; empty: no SNI, the certificate must name the address. */
  readonly serverName: string
  readonly verify: boolean
  readonly alpn: readonly string[]
  /** A session of an earlier connection to there, to go on with. */
  session(host: string, port: number): Buffer | undefined
  keep(host: string, port: number, session: Buffer): void
}

/** Exactly one of the two is called, once; nothing after `cancel`. */
export interface Handshake {
  secured(connection: Connection): void
  /** `error`: what went wrong, in a word or two for a log; `refusal` tells apart what this side refused. */
  failed(error: string, refusal: '' | 'name' | 'certificate'): void
}

/** Who counts the descriptors that connections take, and says when there is none left for a connection to a member: it fails with `EMFILE`. */
export interface DescriptorCount {
  countDescriptors(amount: number): void
  mayConnect(): boolean
}

export interface Acceptor {
  /** Stops accepting; connections live on. */
  close(): void
}

export interface ListenOptions {
  readonly host: string
  readonly port: number
  /** Kernel queue of connections not yet accepted. */
  readonly backlog: number
}

export interface Transport {
  /** Resolves when it listens; rejects with the system's error. `accept` gives each new connection its owner. */
  listen(options: ListenOptions, accept: (connection: Connection) => void): Promise<Acceptor>
  /**
   * Starts connecting; `connected` or `closed` follows. With `tls`, it is connected when the handshake is done, and an error of
   * the handshake begins with `tls `.
   * @param first sent before everything else, in front of a handshake too (a PROXY header)
   */
  connect(host: string, port: number, owner: ConnectionOwner, tls?: ClientTls, first?: Buffer): Connection
  /**
   * Makes a TLS connection of an accepted one, which belongs to the handshake from here on: its owner hears nothing more.
   * @param first bytes that were received already and belong to the handshake
   * @returns ends the handshake, if it still goes on, by closing the connection
   */
  secure(connection: Connection, tls: ServerTls, first: Buffer | undefined, handshake: Handshake): () => void
}
