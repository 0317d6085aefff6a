import type { Consumer } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Delivery } from '../../contracts/message.ts';
import { isPassing } from '../../errors.ts';
import { sleep } from '../../util/sleep.ts';
import { within } from '../../util/within.ts';
import { isMissing } from './api.ts';
import { SqsArrivals } from './arrivals.ts';
import type { Line } from './line.ts';
import { Lines } from './lines.ts';
import { secondsOf, takenOf } from './messages.ts';
import type { SqsPayloads } from './payloads.ts';
import type { SqsQueues } from './queues.ts';
import { type Held, SqsSettling, sortHeld } from './settling.ts';

/** What came and is not taken goes back after this. */
const KEEP_MS = 1_000;
/** A call that has got something waits so long for more of what was asked for together with it. */
const GATHER_MS = 20;
/** Closing waits so long for requests under way: what they bring goes back. */
const CLOSE_MS = 1_000;

/** A call of `receive` under way. */
interface Call {
  readonly deadline: number;
  /** Lines that it has looked at. */
  readonly asked: Set<Line>;
  /** Its requests that do not wait, and so are waited for. */
  readonly short: Set<Promise<void>>;
  /** Until then it may go on though something is there. */
  gatherUntil?: number;
}

/** What a consumer is made with. */
export interface SqsConsumerOptions {
  readonly queues: SqsQueues;
  readonly names: readonly string[];
  readonly payloads: SqsPayloads | undefined;
  readonly leaseMs: number;
  /** Called when it has closed. */
  readonly onClose: (consumer: SqsConsumer) => void;
}

/**
 * One window on some queues of SQS. A request for messages is left to its answer whatever becomes of the call that made
 * it, since SQS may answer a request that nobody waits for any more, and hide the messages: what comes late is handed out
 * by the next call, or goes back.
 */
export class SqsConsumer implements Consumer {
  readonly #queues: SqsQueues;
  readonly #settling: SqsSettling;
  readonly #payloads: SqsPayloads | undefined;
  readonly #leaseMs: number;
  readonly #onClose: (consumer: SqsConsumer) => void;
  readonly #held = new Map<string, Held>();
  readonly #closing = new AbortController();
  /** Ends requests under way, at the last. */
  readonly #cutting = new AbortController();
  readonly #deliveries = new Map<Held, Delivery>();
  readonly #returning = new Set<Promise<unknown>>();
  readonly #lines: Lines;
  readonly #arrivals: SqsArrivals;
  /** Lines that are not ours any more, with requests under way. */
  readonly #left = new Set<Line>();
  /** Calls of `receive` under way. */
  #receiving = 0;
  /** Nobody will take what comes. */
  #unwanted = false;
  #keeping: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;
  #changed = Promise.withResolvers<void>();

  constructor({ queues, names, payloads, leaseMs, onClose }: SqsConsumerOptions) {
    this.#queues = queues;
    this.#settling = new SqsSettling(queues);
    this.#payloads = payloads;
    this.#leaseMs = leaseMs;
    this.#onClose = onClose;
    this.#lines = new Lines(queues, names);
    this.#arrivals = new SqsArrivals(this.#settling, payloads);
  }

  async receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    const onAbort = () => this.#change();
    signal.addEventListener('abort', onAbort, { once: true });
    this.#receiving += 1;
    this.#unwanted = signal.aborted;
    clearTimeout(this.#keeping);
    try {
      return await this.#receive(max, waitMs, signal);
    } finally {
      this.#receiving -= 1;
      this.#unwanted = signal.aborted;
      signal.removeEventListener('abort', onAbort);
      this.#keep();
    }
  }

  ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, async (held) => {
      const failures = await this.#settling.ack(held);
      const failed = new Set(failures.map(({ index }) => index));
      await this.#payloads?.remove(held.filter((_, i) => !failed.has(i)).map(({ taken }) => taken));
      return failures;
    });
  }

  releaseMany(deliveries: readonly Delivery[], delayMs = 0): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (held) => this.#settling.release(held, delayMs));
  }

  rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (held, pick) => this.#settling.reject(held, pick(reasons)));
  }

  deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (held, pick) => this.#settling.defer(held, pick(dueAt)));
  }

  async setQueues(queues: readonly string[]): Promise<void> {
    for (const line of this.#lines.change(queues)) {
      this.#left.add(line);
      this.#giveBack(line);
    }
    this.#change();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#keeping);
    this.#change();
    const lines = [...this.#lines.all, ...this.#left];
    for (const line of lines) this.#giveBack(line);
    const held = [...this.#held.values()];
    this.#held.clear();
    try {
      // Failures are leases that ended by themselves. First this: a request under way may bring them once more.
      if (held.length > 0) await this.#settling.release(held, 0);
      await within(Promise.all(lines.flatMap(({ polls }) => [...polls.keys()])), CLOSE_MS);
    } finally {
      this.#cutting.abort();
      await Promise.allSettled(lines.flatMap(({ polls }) => [...polls.keys()]));
      await Promise.allSettled(this.#returning);
      this.#onClose(this);
    }
  }

  async #receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    const call: Call = { deadline: performance.now() + waitMs, asked: new Set(), short: new Set() };
    while (max > 0 && this.#lines.all.length > 0 && !signal.aborted && !this.#closing.signal.aborted) {
      const there = this.#lines.all.reduce((sum, { buffer }) => sum + buffer.length, 0);
      if (there > 0) {
        if (there < max && (await this.#gather(call, signal))) continue;
        return this.#hand(max);
      }
      const error = this.#lines.takeError();
      if (error) throw error;
      const now = performance.now();
      const leftMs = call.deadline - now;
      if (leftMs > 0 || call.asked.size === 0) this.#ask(max, call, now);
      else if (call.short.size === 0) break;
      await this.#wait(call.short.size > 0 ? Number.POSITIVE_INFINITY : leftMs, signal, now);
    }
    return [];
  }

  /** More is on its way, of requests that were made together: for a moment it is waited for. False when that is over. */
  async #gather(call: Call, signal: AbortSignal): Promise<boolean> {
    call.gatherUntil ??= performance.now() + GATHER_MS;
    const now = performance.now();
    const leftMs = call.gatherUntil - now;
    if (leftMs <= 0 || this.#lines.expectedSoon === 0) return false;
    await this.#wait(leftMs, signal, now);
    return true;
  }

  /**
   * Waits for anything to happen: an answer, a change of queues, the time of a queue that pauses, the end of the call. `now`
   * is the moment for which was decided who is asked: by a later one a queue might neither have been asked nor pause any more,
   * for timers are early by up to a millisecond.
   */
  async #wait(leftMs: number, signal: AbortSignal, now: number): Promise<void> {
    const pausing = this.#lines.all.filter(({ polls, nextAt }) => polls.size === 0 && nextAt > now);
    const ms = Math.max(1, Math.min(leftMs, ...pausing.map(({ nextAt }) => nextAt - now)));
    const { promise } = this.#changed;
    if (signal.aborted) return;
    if (ms === Number.POSITIVE_INFINITY) return promise;
    const over = new AbortController();
    await Promise.race([promise, sleep(ms, over.signal)]);
    over.abort();
  }

  /** Makes the requests that are due, as far as there is room for what they bring: one for each queue, then more for full ones. */
  #ask(max: number, call: Call, now: number): void {
    const leftMs = call.deadline - now;
    const askOne = (line: Line, isForced: boolean, waitMs: number): boolean => {
      const count = this.#lines.mayAsk(line) ? line.wants(max - this.#lines.expected, now, isForced) : 0;
      if (count > 0) this.#start(line, count, Math.max(0, Math.round(waitMs / 1000)), call.short);
      return count > 0;
    };
    for (const line of this.#lines.all) {
      // A short call is to look once, whatever was found a moment ago.
      const isForced = leftMs < 1000 && !call.asked.has(line);
      call.asked.add(line);
      const waitMs = this.#lines.mayWait(line) ? Math.min(this.#queues.location.waitMs, leftMs) : 0;
      if (line.polls.size === 0) askOne(line, isForced, waitMs);
    }
    // What is not there at once is not waited for.
    for (const line of this.#lines.all) while (line.polls.size > 0 && askOne(line, false, 1000));
  }

  #start(line: Line, count: number, waitSeconds: number, short: Set<Promise<void>>): void {
    const poll = this.#poll(line, count, waitSeconds).finally(() => {
      line.polls.delete(poll);
      short.delete(poll);
      if (line.polls.size === 0) {
        line.isWaiting = false;
        this.#left.delete(line);
      }
      this.#change();
    });
    line.polls.set(poll, count);
    line.isWaiting ||= waitSeconds > 0;
    if (waitSeconds === 0) short.add(poll);
  }

  /** One request and its answer. Never rejects. */
  async #poll(line: Line, max: number, waitSeconds: number): Promise<void> {
    try {
      line.queue ??= await this.#queues.get(line.at);
      const { queue } = line;
      const leaseSeconds = secondsOf(this.#leaseMs);
      const request = { max, waitSeconds, leaseSeconds, signal: this.#cutting.signal };
      const messages = await queue.api.receive(queue, request);
      const now = Date.now();
      const { waitMs, idleMs } = this.#queues.location;
      const pause = { lines: this.#lines.all.length, waitMs, idleMs };
      line.answered(messages.length, max, waitSeconds * 1000, pause);
      const surelyUntil = now + leaseSeconds * 1000 - Math.min(2000, this.#leaseMs / 10);
      const held = messages.map((message) => ({ taken: takenOf(message, queue, now), name: line.name, surelyUntil }));
      if (held.length > 0) await this.#accept(line, held);
    } catch (error) {
      if (this.#cutting.signal.aborted) return;
      line.failed(error as Error);
      if (isMissing(error)) {
        this.#queues.forget(line.at);
        line.queue = undefined;
      }
    }
  }

  async #accept(line: Line, held: readonly Held[]): Promise<void> {
    const sorted = await this.#arrivals.sort(line.name, held);
    for (const one of sorted.ready) {
      this.#deliveries.set(one.held, one.delivery);
      line.buffer.push(one.held);
    }
    await this.#arrivals.turnAway(sorted);
    if (!this.#lines.all.includes(line) || this.#unwanted || this.#closing.signal.aborted) this.#giveBack(line);
    else if (this.#receiving === 0) this.#keep();
  }

  /** Up to `max` of what is there, a fair share of each queue. */
  #hand(max: number): Delivery[] {
    const got: Delivery[] = [];
    const take = (line: Line, count: number) => {
      for (const held of line.buffer.splice(0, count)) {
        const delivery = this.#deliveries.get(held);
        this.#deliveries.delete(held);
        if (!delivery) continue;
        this.#held.set(held.taken.tag.handle, held);
        got.push(delivery);
      }
    };
    const lines = this.#lines.all;
    lines.forEach((line, i) => {
      take(line, Math.ceil((max - got.length) / (lines.length - i)));
    });
    for (const line of lines) take(line, max - got.length);
    if (got.length > 0) this.#lines.rotate();
    return got;
  }

  /** Has what nobody takes go back, after a while. */
  #keep(): void {
    clearTimeout(this.#keeping);
    if (this.#receiving > 0 || this.#lines.all.every(({ buffer }) => buffer.length === 0)) return;
    this.#keeping = setTimeout(
      () => {
        for (const line of this.#lines.all) this.#giveBack(line);
      },
      this.#unwanted ? 0 : KEEP_MS,
    );
  }

  #giveBack(line: Line): void {
    const held = line.buffer.splice(0);
    for (const one of held) this.#deliveries.delete(one);
    if (held.length === 0) return;
    const returning = this.#settling
      .release(held, 0)
      // They come back when their lease ends.
      .catch(() => {})
      .finally(() => this.#returning.delete(returning));
    this.#returning.add(returning);
  }

  async #settle(
    deliveries: readonly Delivery[],
    act: (held: readonly Held[], pick: <T>(items: readonly T[]) => readonly T[]) => Promise<ItemFailure[]>,
  ): Promise<ItemFailure[]> {
    const { ours, places, failures } = sortHeld(deliveries, this.#held);
    if (ours.length === 0) return failures;
    const lost = await this.#settling.confirm(ours, this.#leaseMs);
    const gone = new Set(lost.map(({ index }) => index));
    const kept = [...ours.keys()].filter((i) => !gone.has(i));
    const pick = <T>(items: readonly T[]) => kept.map((i) => items[places[i] ?? -1] as T);
    const held = kept.map((i) => ours[i] as Held);
    const failed = held.length === 0 ? [] : await act(held, pick);
    const all = [...lost, ...failed.map(({ index, error }) => ({ index: kept[index] ?? index, error }))];
    // Settled or lost, it is no longer held; what may be tried again is.
    const again = new Set(all.filter(({ error }) => isPassing(error)).map(({ index }) => index));
    ours.forEach((one, i) => {
      if (!again.has(i)) this.#held.delete(one.taken.tag.handle);
    });
    failures.push(...all.map(({ index, error }) => ({ index: places[index] ?? index, error })));
    return failures.sort((a, b) => a.index - b.index);
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
