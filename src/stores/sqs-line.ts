import { isPassing } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { MAX_ENTRIES, type SqsQueue } from './sqs-api.ts';
import type { Held } from './sqs-settling.ts';

/** Requests for messages of one queue at once, while it is full of them. */
const MAX_POLLS = 10;
/** One queue's failure is told of so often; in between the others are served. */
const TELL_MS = 60_000;
/** A worker as a whole asks so often while all its queues are idle, as far as `pollingInterval` allows. */
const POLLS_PER_MINUTE = 3;

/** What a consumer knows of one of its queues: what it has asked for, and what came that nobody has taken yet. */
export class Line {
  readonly name: string;
  /** Filled once it is found. */
  queue: SqsQueue | undefined;
  readonly buffer: Held[] = [];
  /** Requests under way, each with how many messages it may bring. */
  readonly polls = new Map<Promise<void>, number>();
  /** Not to be asked before. */
  nextAt = 0;
  /** Why the last request failed. */
  error: Error | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** The last answer brought all that was asked for: there is more. */
  #isDeep = false;
  /** The last answer brought nothing. */
  #isEmpty = true;

  constructor(name: string) {
    this.name = name;
  }

  /** How many messages to ask for in another request now; 0 for none. `room` is for those that will probably come at once. */
  wants(room: number, now: number, isForced: boolean): number {
    if (now < this.nextAt && !isForced) return 0;
    if (this.polls.size === 0) return Math.max(0, Math.min(room, MAX_ENTRIES));
    // Each costs the same, whatever it brings.
    return this.#isDeep && room >= MAX_ENTRIES && this.polls.size < MAX_POLLS ? MAX_ENTRIES : 0;
  }

  /** Messages that will probably come of requests under way. */
  get expected(): number {
    return this.#isEmpty ? 0 : [...this.polls.values()].reduce((sum, count) => sum + count, 0);
  }

  answered(count: number, asked: number, waitedMs: number, pause: { lines: number; idleMs: number }): void {
    this.#failures = 0;
    this.error = undefined;
    this.#isDeep = count >= asked;
    this.#isEmpty = count === 0;
    if (count > 0) {
      this.nextAt = 0;
      return;
    }
    const cycleMs = (60_000 / POLLS_PER_MINUTE) * pause.lines;
    // One that was not to wait does not prove much, and the next is not to follow on its heels.
    const pauseMs = waitedMs < 1000 ? 1000 : Math.min(pause.idleMs, Math.max(0, cycleMs - waitedMs));
    this.nextAt = performance.now() + pauseMs;
  }

  failed(error: Error): void {
    this.error = error;
    this.#isDeep = false;
    const maxMs = isPassing(error) ? 10_000 : 60_000;
    this.nextAt = performance.now() + backoffMs(this.#failures++, { startMs: 500, maxMs });
  }

  /** Whether its error is to be told now. */
  tells(): boolean {
    const now = performance.now();
    if (this.error === undefined || now - this.#toldAt < TELL_MS) return false;
    this.#toldAt = now;
    return true;
  }
}
