import { isPassing } from '../../errors.ts';
import { backoffMs } from '../../util/backoff.ts';
import type { SqsQueue } from './api.ts';
import { MAX_ENTRIES } from './batches.ts';
import type { Held } from './settling.ts';

/** Requests for messages of one queue at once, while it is full of them. */
const MAX_POLLS = 10;
/** One queue's failure is told of so often; in between the others are served. */
const TELL_MS = 60_000;
/** A worker as a whole asks so often while all its queues are idle, as far as `pollingInterval` allows. */
export const POLLS_PER_MINUTE = 3;

/** What an idle queue may cost. */
export interface Pause {
  /** How many queues a worker asks. */
  readonly lines: number;
  /** How long a request waits that has nothing else to do. */
  readonly waitMs: number;
  /** The longest pause. */
  readonly idleMs: number;
}

/** What a consumer knows of one of its queues: what it has asked for, and what came that nobody has taken yet. */
export class Line {
  /** As the application calls the queue. */
  readonly name: string;
  /** The name of the queue that is asked: where there are priorities, a queue has one for each step. */
  readonly at: string;
  /** The step of priority: lower ones come first. */
  readonly step: number;
  /** Filled once it is found. */
  queue: SqsQueue | undefined;
  readonly buffer: Held[] = [];
  /** Requests under way, each with how many messages it may bring. */
  readonly polls = new Map<Promise<void>, number>();
  /** A request is under way that waits for a message. */
  isWaiting = false;
  /** Not to be asked before. */
  nextAt = 0;
  /** Why the last request failed. */
  error: Error | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** The last answer brought all that was asked for: there is more. */
  #isDeep = false;
  #isEmpty = true;
  #isAnswered = false;

  constructor(name: string, at = name, step = 0) {
    this.name = name;
    this.at = at;
    this.step = step;
  }

  /** It was asked, and the last answer brought nothing; so did nothing that came before, and is not taken yet. */
  get isKnownEmpty(): boolean {
    return (this.#isAnswered || this.isWaiting) && this.#isEmpty && this.buffer.length === 0;
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

  /** The same, where the last answer was full: so these will be, too, and at once. */
  get expectedSoon(): number {
    return this.#isDeep ? this.expected : 0;
  }

  answered(count: number, asked: number, waitedMs: number, pause: Pause): void {
    this.#failures = 0;
    this.error = undefined;
    this.#isDeep = count >= asked;
    this.#isEmpty = count === 0;
    this.#isAnswered = true;
    this.nextAt = count > 0 ? 0 : performance.now() + pauseMs(waitedMs, pause);
  }

  failed(error: Error): void {
    this.error = error;
    this.#isDeep = false;
    // What cannot be asked must not hold up what comes after it.
    this.#isEmpty = true;
    this.#isAnswered = true;
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

/** How long an empty queue is left alone after a request that waited so long. */
function pauseMs(waitedMs: number, { lines, waitMs, idleMs }: Pause): number {
  // It did not wait and so proves little, but the next is not to follow on its heels.
  if (waitedMs < 1000) return 1000;
  // A queue alone is always waited at; one beside others only pauses when it was waited at for the whole time.
  if (lines === 1 || waitedMs < waitMs) return 0;
  return Math.min(idleMs, Math.max(0, (60_000 / POLLS_PER_MINUTE) * lines - waitedMs));
}
