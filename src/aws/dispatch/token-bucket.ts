/** Hands out permissions at a steady rate, with a reserve for bursts, to those who wait in line. */
export class TokenBucket {
  readonly #intervalMs: number;
  readonly #burst: number;
  readonly #now: () => number;
  /** When the next permission is due, if all were taken as they came. */
  #due = Number.NEGATIVE_INFINITY;

  /** `perSecond` permissions, `burst` of them at once after a rest (as many as in a second, and at least one). `now` is a clock in milliseconds. */
  constructor(perSecond: number, burst = Math.max(1, perSecond), now: () => number = () => performance.now()) {
    this.#intervalMs = 1000 / perSecond;
    this.#burst = burst;
    this.#now = now;
  }

  /**
   * Takes one permission, and tells in how many milliseconds it may be used; 0: at once. `undefined`, with nothing taken,
   * where that is more than `atMostMs`.
   */
  take(atMostMs = Number.POSITIVE_INFINITY): number | undefined {
    const now = this.#now();
    const earliest = now - (this.#burst - 1) * this.#intervalMs;
    const moment = Math.max(this.#due, earliest);
    const waitMs = Math.max(0, moment - now);
    if (waitMs > atMostMs) return undefined;
    this.#due = moment + this.#intervalMs;
    return waitMs;
  }
}
