/** So much work is held ahead, by what tasks took on average; those that take longer are not short. */
const workMs = 100;
/** Not more than this for each slot: what is held is not with other workers. */
const maxEach = 10;
/** How much the last task counts in the average. */
const weight = 0.2;
/** When nothing has begun for this long, what is held ahead goes back. */
const patienceMs = 500;

/**
 * How many messages are held for threads and processes beyond those that run. A child that waits for the next trip to the
 * store after each short task loses as much as a tenth of its time; so what runs in a tenth of a second is held as long as
 * tasks are short, and half of it is fetched at once. It waits for less than half a second: then it goes back, for others.
 */
export class Ahead {
  readonly #enabled: boolean;
  readonly #onLong: () => void;
  #averageMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** `onLong` is called when what is held ahead is to go back. */
  constructor(enabled: boolean, onLong: () => void) {
    this.#enabled = enabled;
    this.#onLong = onLong;
  }

  /** How many messages may wait beyond the capacity. */
  size(slots: number): number {
    if (!this.#enabled || this.#averageMs >= workMs) return 0;
    return slots * Math.min(maxEach, Math.ceil(workMs / Math.max(1, this.#averageMs)));
  }

  /** Whether so many that wait are enough of what is held ahead, for now: each trip to the store takes time from the tasks. */
  isEnough(waiting: number, slots: number): boolean {
    const size = this.size(slots);
    return size > 0 && waiting > size / 2;
  }

  /** A task has ended that took so long. */
  ended(tookMs: number): void {
    const before = this.#averageMs === Number.POSITIVE_INFINITY ? tookMs : this.#averageMs;
    this.#averageMs = (1 - weight) * before + weight * tookMs;
  }

  /** Something has begun, or waits now; `waits`: messages are held that have not begun. */
  watch(waits: boolean): void {
    if (!waits || !this.#enabled) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else if (this.#timer) {
      this.#timer.refresh();
    } else {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#averageMs = Number.POSITIVE_INFINITY;
        this.#onLong();
      }, patienceMs);
    }
  }
}
