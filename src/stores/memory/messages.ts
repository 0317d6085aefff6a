import type { QueueDepth } from '../../contracts/broker.ts';
import { Heap } from '../../util/heap.ts';

/** A message in the store. Its label is everything except the body, as JSON: as on other brokers, nothing is shared with the sender. */
export interface Stored {
  readonly id: number;
  readonly queue: string;
  readonly priority: number;
  readonly body: Uint8Array;
  readonly label: string;
  /** Its place in the order of arrival. */
  rank: number;
  dueAt: number;
  attempt: number;
  token: number;
  expiry: NodeJS.Timeout | undefined;
}

/** What proves that a consumer holds a message. */
export interface Tag {
  readonly id: number;
  readonly token: number;
}

/** A message that was given up. */
export interface Buried {
  readonly id: number;
  readonly message: Stored;
  readonly reason: string;
  readonly diedAt: number;
  readonly attempt: number;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

class Queue {
  readonly ready = new Heap<Stored>(
    (a, b) => a.priority < b.priority || (a.priority === b.priority && a.rank < b.rank),
  );
  readonly depth = { ready: 0, leased: 0, delayed: 0 };
}

/**
 * Queues of one name in this process.
 *
 * Leases end by timers only, never by a look at the clock in `claim`. When a task has blocked the event loop past the
 * end of its lease, Node runs overdue timers in the order in which they were due; so the worker's renewal, due earlier,
 * is done before the expiry, and the message is not delivered twice to a process that is alive.
 */
export class MemoryMessages {
  readonly #queues = new Map<string, Queue>();
  readonly #leased = new Map<number, Stored>();
  readonly #delayed = new Heap<Stored>((a, b) => a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.rank < b.rank));
  readonly #waiters = new Set<() => void>();
  readonly #dead = new Map<number, Buried>();
  #counter = 0;
  #alarm: NodeJS.Timeout | undefined;

  get dead(): ReadonlyMap<number, Buried> {
    return this.#dead;
  }

  queues(): string[] {
    return [...this.#queues.keys()].sort();
  }

  declare(name: string): void {
    this.#queue(name);
  }

  add(message: Pick<Stored, 'queue' | 'priority' | 'body' | 'label'>, delayMs: number): void {
    const id = ++this.#counter;
    const stored: Stored = {
      ...message,
      id,
      rank: id,
      dueAt: 0,
      attempt: 0,
      token: 0,
      expiry: undefined,
    };
    if (delayMs > 0) this.#park(stored, Date.now() + delayMs);
    else this.#makeReady(stored);
  }

  /** Leases up to `max` ready messages: first a fair share of each queue, then what is left of the first ones. */
  claim(queues: readonly string[], max: number, leaseMs: number): Stored[] {
    const claimed: Stored[] = [];
    queues.forEach((name, i) => {
      this.#take(name, Math.ceil((max - claimed.length) / (queues.length - i)), leaseMs, claimed);
    });
    if (queues.length > 1) for (const name of queues) this.#take(name, max - claimed.length, leaseMs, claimed);
    return claimed;
  }

  /** Resolves when something became ready, when a signal aborts, or after `ms`. */
  wait(ms: number, ...signals: AbortSignal[]): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        for (const signal of signals) signal.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(ms, LONGEST_TIMER_MS));
      this.#waiters.add(wake);
      for (const signal of signals) signal.addEventListener('abort', wake, { once: true });
    });
  }

  wake(): void {
    for (const wake of this.#waiters) wake();
  }

  extend(tag: Tag, leaseMs: number): boolean {
    const message = this.#held(tag);
    if (!message) return false;
    clearTimeout(message.expiry);
    this.#lease(message, leaseMs);
    return true;
  }

  /** Forgets a message. False where the tag no longer holds it; so for all that take a tag. */
  remove(tag: Tag): boolean {
    return this.#letGo(tag) !== undefined;
  }

  release(tag: Tag, delayMs: number): boolean {
    const message = this.#letGo(tag);
    if (!message) return false;
    message.attempt -= 1;
    if (delayMs > 0) this.#park(message, Date.now() + delayMs);
    else this.#makeReady(message);
    return true;
  }

  defer(tag: Tag, dueAt: number): boolean {
    const message = this.#letGo(tag);
    if (!message) return false;
    message.attempt = 0;
    this.#park(message, dueAt);
    return true;
  }

  bury(tag: Tag, reason: string): boolean {
    const message = this.#letGo(tag);
    if (!message) return false;
    const id = ++this.#counter;
    this.#dead.set(id, { id, message, reason, diedAt: Date.now(), attempt: message.attempt });
    return true;
  }

  /** Takes a dead letter out. */
  unbury(id: number): Buried | undefined {
    const buried = this.#dead.get(id);
    this.#dead.delete(id);
    return buried;
  }

  /** Those of a queue that are not due yet, the first due first. */
  parked(name: string): Stored[] {
    const all = this.#delayed.clear();
    for (const message of all) this.#delayed.push(message);
    return all.filter(({ queue }) => queue === name).sort((a, b) => a.dueAt - b.dueAt || a.rank - b.rank);
  }

  /** Takes out a message that is not due yet. False where it is none any more. */
  unpark(id: number): boolean {
    const all = this.#delayed.clear();
    const kept = all.filter((message) => message.id !== id);
    for (const message of kept) this.#delayed.push(message);
    const [taken] = all.filter((message) => message.id === id);
    if (taken) this.#queue(taken.queue).depth.delayed -= 1;
    return taken !== undefined;
  }

  count(name: string): QueueDepth | undefined {
    const depth = this.#queues.get(name)?.depth;
    if (!depth) return undefined;
    const dead = [...this.#dead.values()].filter(({ message }) => message.queue === name).length;
    return { ready: depth.ready, inFlight: depth.leased, delayed: depth.delayed, dead };
  }

  purge(name: string): number {
    const queue = this.#queues.get(name);
    if (!queue) return 0;
    const purged = queue.depth.ready + queue.depth.delayed;
    queue.ready.clear();
    for (const message of this.#delayed.clear()) if (message.queue !== name) this.#delayed.push(message);
    queue.depth.ready = 0;
    queue.depth.delayed = 0;
    return purged;
  }

  close(): void {
    clearTimeout(this.#alarm);
    for (const { expiry } of this.#leased.values()) clearTimeout(expiry);
    this.wake();
  }

  #queue(name: string): Queue {
    let queue = this.#queues.get(name);
    if (!queue) {
      queue = new Queue();
      this.#queues.set(name, queue);
    }
    return queue;
  }

  #makeReady(message: Stored): void {
    const queue = this.#queue(message.queue);
    queue.depth.ready += 1;
    queue.ready.push(message);
    this.wake();
  }

  #park(message: Stored, dueAt: number): void {
    message.dueAt = dueAt;
    this.#queue(message.queue).depth.delayed += 1;
    this.#delayed.push(message);
    if (this.#delayed.peek() === message) this.#setAlarm();
  }

  #setAlarm(): void {
    clearTimeout(this.#alarm);
    const next = this.#delayed.peek();
    if (!next) return;
    // One timer for the earliest keeps the order of becoming due, which many timers would not.
    this.#alarm = setTimeout(() => this.#ring(), Math.min(Math.max(0, next.dueAt - Date.now()), LONGEST_TIMER_MS));
    this.#alarm.unref();
  }

  #ring(): void {
    const now = Date.now();
    for (let next = this.#delayed.peek(); next && next.dueAt <= now; next = this.#delayed.peek()) {
      this.#delayed.pop();
      this.#queue(next.queue).depth.delayed -= 1;
      next.rank = ++this.#counter;
      this.#makeReady(next);
    }
    this.#setAlarm();
  }

  #take(name: string, max: number, leaseMs: number, into: Stored[]): void {
    const queue = this.#queues.get(name);
    for (let left = max; queue && left > 0; left--) {
      const message = queue.ready.pop();
      if (!message) return;
      queue.depth.ready -= 1;
      queue.depth.leased += 1;
      message.attempt += 1;
      message.token = ++this.#counter;
      this.#leased.set(message.id, message);
      this.#lease(message, leaseMs);
      into.push(message);
    }
  }

  #lease(message: Stored, leaseMs: number): void {
    message.expiry = setTimeout(
      () => {
        this.#letGo(message);
        this.#makeReady(message);
      },
      Math.min(leaseMs, LONGEST_TIMER_MS),
    );
    // A lease alone keeps no process alive.
    message.expiry.unref();
  }

  #held({ id, token }: Tag): Stored | undefined {
    const message = this.#leased.get(id);
    return message?.token === token ? message : undefined;
  }

  #letGo(tag: Tag): Stored | undefined {
    const message = this.#held(tag);
    if (!message) return undefined;
    clearTimeout(message.expiry);
    message.expiry = undefined;
    this.#leased.delete(message.id);
    this.#queue(message.queue).depth.leased -= 1;
    return message;
  }
}
