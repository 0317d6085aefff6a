/** Celery's rate limit: how often one worker may begin a task. Nothing is kept anywhere, and other workers do not count. */
export class WorkerRate {
  readonly #intervalMs: number;
  #next = 0;
  #parked = 0;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Milliseconds until one more may go, whose moment is used up by that; `undefined` where it would be more than `maxMs`. */
  take(now: number, maxMs: number): number | undefined {
    const moment = Math.max(now, this.#next);
    if (moment - now > maxMs) return undefined;
    this.#next = moment + this.#intervalMs;
    return moment - now;
  }

  /** When it may be worth asking again, for one that got no moment: later for each, since those before it ask, too. */
  later(now: number): number {
    this.#parked = Math.max(this.#parked + this.#intervalMs, this.#next, now);
    return this.#parked;
  }
}
