/** Tasks that take less than this, on average, are short. */
const shortMs = 100;
/** How much the last task counts in the average. */
const weight = 0.2;
/** When nothing has begun for this long, what is held ahead goes back. */
const patienceMs = 500;

/**
 * How many messages are held for threads and processes beyond those that run. A child that waits for the next trip to the
 * store after each short task loses as much as a tenth of its time; so one message more for each slot is held as long as
 * tasks are short. It waits for less than half a second: then it goes back, for other workers.
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
    return this.#enabled && this.#averageMs < shortMs ? slots : 0;
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
