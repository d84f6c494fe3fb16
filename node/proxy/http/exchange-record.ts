/**
 * What is known of an exchange for those who observe it: the access log, the histograms, the passive health. Begins with `arrive`
 * and ends with one `finish`, whatever becomes of it.
 */
import { RequestNote } from '../../observe/access-line.ts'
import type { Observer } from '../filters/observer.ts'
import { noteRequest } from '../filters/request-id.ts'
import type { PoolRuntime } from '../pool.ts'
import type { ListenerRuntime } from '../runtime.ts'
import type { ErrorCode } from '../shared.ts'
import type { ExchangeClient } from './exchange-client.ts'
import type { Head } from './head.ts'

export abstract class ExchangeRecord {
  protected readonly listener: ListenerRuntime
  protected readonly client: ExchangeClient
  /** The route taken: index into the listener plan's `routes`; -1: the listener's default, or no route at all. */
  route = -1
  /** The status that the client gets; 0: none yet. */
  status = 0
  /** The member chosen last: index into its pool's members, -1: none. Stays until the next exchange. */
  member = -1
  /** `performance.now()` when the head was read; a member was chosen, last; it was connected; its answer began. 0: not yet. */
  arrivedMs = 0
  chosenMs = 0
  connectedMs = 0
  answeredMs = 0
  /** Of the request and of the answer, heads included. */
  bytesIn = 0
  bytesOut = 0
  /** What the log will say of the request; undefined: nothing, or it could not be read. */
  note: RequestNote | undefined
  /** Of the connection: used again for each request. */
  #ownNote: RequestNote | undefined
  /** Of the table that the request began with. */
  protected observer: Observer
  /** Between `arrive` and `finish`. */
  #open = false

  constructor(listener: ListenerRuntime, client: ExchangeClient) {
    this.listener = listener
    this.client = client
    this.observer = listener.observer
  }

  /** The pool that the request went to; undefined between exchanges and when no route was found. */
  pool: PoolRuntime | undefined = undefined
  /** How many further members were tried. */
  abstract get retries(): number

  /** A request head has been read, or refused; called before anything else happens to it. Every call is followed by one `finish`. */
  arrive(route: number): void {
    this.route = route
    this.status = 0
    this.member = -1
    this.arrivedMs = performance.now()
    this.chosenMs = this.arrivedMs
    this.connectedMs = 0
    this.answeredMs = 0
    this.bytesIn = 0
    this.bytesOut = 0
    this.note = undefined
    this.observer = this.listener.observer
    this.#open = true
  }

  /** Keeps what is logged of a request head, where anything is. */
  observe(head: Head, buffer: Buffer): void {
    this.bytesIn = head.end - head.start
    if (!this.observer.notes) return
    this.#ownNote ??= new RequestNote()
    this.note = this.#ownNote
    this.note.sampled = this.observer.sampled()
    noteRequest(this.note, head, buffer)
  }

  /**
   * The exchange is over, whatever way: the place for what is done exactly once for each (histograms, access log, passive
   * health). `pool`, `member`, `route`, `status` and the times are those of this exchange.
   * @param code why it failed; '' when the answer of a member went through (whatever its status), or a route's own did
   */
  finish(code: ErrorCode | ''): void {
    if (!this.#open) return
    this.#open = false
    this.observer.finished(this, code, this.client.connection, this.client.address, performance.now())
  }
}
