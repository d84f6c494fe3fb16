/**
 * A budget for retries, as Finagle has one (RetryBudget): of the requests of the last ten seconds at most a share may be sent
 * again, and a few a second in any case. Without it, retries multiply the load just when members cannot bear it. Pure: time is
 * an argument, milliseconds.
 */

const seconds = 10
/** Allowed each second beside the share, so that a quiet route can retry at all. */
export const retriesPerSecond = 3

export class RetryBudget {
  #percent: number
  /** By second: requests, and retries. */
  readonly #requests = new Uint32Array(seconds)
  readonly #retries = new Uint32Array(seconds)
  #second = -1
  #sumOfRequests = 0
  #sumOfRetries = 0

  constructor(percent: number) {
    this.#percent = percent
  }

  /** From now on another share. */
  set percent(percent: number) {
    this.#percent = percent
  }

  /** A request has come. */
  request(nowMs: number): void {
    const at = this.#turn(nowMs)
    this.#requests[at]!++
    this.#sumOfRequests++
  }

  /** Takes one retry from the budget. @returns false: there is none left */
  take(nowMs: number): boolean {
    const at = this.#turn(nowMs)
    if (this.#sumOfRetries >= Math.floor((this.#sumOfRequests * this.#percent) / 100) + retriesPerSecond * seconds) return false
    this.#retries[at]!++
    this.#sumOfRetries++
    return true
  }

  /** Forgets what is older than ten seconds. @returns the place of this second */
  #turn(nowMs: number): number {
    const second = Math.floor(nowMs / 1000)
    if (second > this.#second) {
      const steps = this.#second < 0 ? 0 : Math.min(seconds, second - this.#second)
      for (let step = 1; step <= steps; step++) {
        const at = (second - steps + step) % seconds
        this.#sumOfRequests -= this.#requests[at]!
        this.#sumOfRetries -= this.#retries[at]!
        this.#requests[at] = 0
        this.#retries[at] = 0
      }
      this.#second = second
    }
    return this.#second % seconds
  }
}
