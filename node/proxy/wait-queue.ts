/**
 * The order in which requests wait for a place at a member: by class, in the order of arrival among equals. Bounded. Leaving it costs
 * the same wherever one stands. Pure: time is an argument.
 */

/** One who waits. `undefined` neighbours at the ends of its class. */
export interface Ticket<T> {
  readonly item: T
  readonly priority: number
  readonly deadlineMs: number
  before: Ticket<T> | undefined
  after: Ticket<T> | undefined
  /** Still in the queue. */
  waits: boolean
}

export class WaitQueue<T> {
  readonly #first: (Ticket<T> | undefined)[]
  readonly #last: (Ticket<T> | undefined)[]
  #length = 0

  /** @param classes priorities are 0 (goes first) to `classes` − 1 */
  constructor(classes: number) {
    this.#first = Array.from({ length: classes }, () => undefined)
    this.#last = Array.from({ length: classes }, () => undefined)
  }

  get length(): number {
    return this.#length
  }

  /** Joins the queue at the end of its class. @returns undefined when it is full */
  add(item: T, priority: number, deadlineMs: number, maxLength: number): Ticket<T> | undefined {
    if (this.#length >= maxLength) return undefined
    const last = this.#last[priority]
    const ticket: Ticket<T> = { item, priority, deadlineMs, before: last, after: undefined, waits: true }
    if (last === undefined) this.#first[priority] = ticket
    else last.after = ticket
    this.#last[priority] = ticket
    this.#length++
    return ticket
  }

  /** Who is next. */
  first(): Ticket<T> | undefined {
    for (const ticket of this.#first) if (ticket !== undefined) return ticket
    return undefined
  }

  /** Leaves the queue; does nothing for one that has left it already. */
  remove(ticket: Ticket<T>): void {
    if (!ticket.waits) return
    ticket.waits = false
    const { before, after, priority } = ticket
    if (before === undefined) this.#first[priority] = after
    else before.after = after
    if (after === undefined) this.#last[priority] = before
    else after.before = before
    ticket.before = undefined
    ticket.after = undefined
    this.#length--
  }

  /** Removes those whose time is over. @returns them, in their order */
  expire(nowMs: number): T[] {
    const over: T[] = []
    for (const first of this.#first) {
      let ticket = first
      while (ticket !== undefined) {
        const { after } = ticket
        if (ticket.deadlineMs <= nowMs) {
          this.remove(ticket)
          over.push(ticket.item)
        }
        ticket = after
      }
    }
    return over
  }
}
