import type { Consumer, Delivery } from '../contracts/broker.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { ConfigError, isPassing } from '../errors.ts';
import { sleep } from '../util/sleep.ts';
import { within } from '../util/within.ts';
import { isMissing } from './sqs-api.ts';
import { Line } from './sqs-line.ts';
import { deliveryOf, secondsOf, type Taken, takenOf } from './sqs-messages.ts';
import { isPointer, type SqsPayloads } from './sqs-payloads.ts';
import type { SqsQueues } from './sqs-queues.ts';
import { type Held, SqsSettling, sortHeld } from './sqs-settling.ts';

/** What came and is not taken goes back after this. */
const KEEP_MS = 1_000;
/** Closing waits so long for requests under way: what they bring goes back. */
const CLOSE_MS = 1_000;

const NO_STORE =
  'the body of this message lies in a store for large payloads, and this broker has none: give its option payloadStore';

/** A call of `receive` under way. */
interface Call {
  readonly deadline: number;
  /** Lines that it has looked at. */
  readonly asked: Set<Line>;
  /** Its requests that do not wait, and so are waited for. */
  readonly short: Set<Promise<void>>;
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
  #lines: Line[];
  /** Lines that are not ours any more, with requests under way. */
  readonly #left = new Set<Line>();
  /** Calls of `receive` under way. */
  #receiving = 0;
  /** Nobody will take what comes. */
  #unwanted = false;
  #keeping: NodeJS.Timeout | undefined;
  #changed = Promise.withResolvers<void>();

  constructor({ queues, names, payloads, leaseMs, onClose }: SqsConsumerOptions) {
    this.#queues = queues;
    this.#settling = new SqsSettling(queues);
    this.#payloads = payloads;
    this.#leaseMs = leaseMs;
    this.#onClose = onClose;
    this.#lines = [...new Set(names)].map((name) => new Line(name));
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
    const before = new Map(this.#lines.map((line) => [line.name, line]));
    this.#lines = [...new Set(queues)].map((name) => {
      const line = before.get(name) ?? new Line(name);
      before.delete(name);
      return line;
    });
    for (const line of before.values()) {
      this.#left.add(line);
      this.#giveBack(line);
    }
    this.#change();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    clearTimeout(this.#keeping);
    this.#change();
    const lines = [...this.#lines, ...this.#left];
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
    while (max > 0 && this.#lines.length > 0 && !signal.aborted && !this.#closing.signal.aborted) {
      const got = this.#hand(max);
      if (got.length > 0) return got;
      this.#tell();
      const leftMs = call.deadline - performance.now();
      if (leftMs > 0 || call.asked.size === 0) this.#ask(max, call);
      else if (call.short.size === 0) break;
      await this.#wait(call.short.size > 0 ? Number.POSITIVE_INFINITY : leftMs, signal);
    }
    return [];
  }

  /** Waits for anything to happen: an answer, a change of queues, the time of a queue that pauses, the end of the call. */
  async #wait(leftMs: number, signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const pausing = this.#lines.filter(({ polls, nextAt }) => polls.size === 0 && nextAt > now);
    const ms = Math.max(1, Math.min(leftMs, ...pausing.map(({ nextAt }) => nextAt - now)));
    const { promise } = this.#changed;
    if (signal.aborted) return;
    if (ms === Number.POSITIVE_INFINITY) return promise;
    const over = new AbortController();
    await Promise.race([promise, sleep(ms, over.signal)]);
    over.abort();
  }

  /** Makes the requests that are due, as far as there is room for what they bring: one for each queue, then more for full ones. */
  #ask(max: number, call: Call): void {
    const now = performance.now();
    const leftMs = call.deadline - now;
    const askOne = (line: Line, isForced: boolean, waitMs: number): boolean => {
      const expected = this.#lines.reduce((sum, other) => sum + other.expected, 0);
      const count = line.wants(max - expected, now, isForced);
      if (count > 0) this.#start(line, count, Math.max(0, Math.round(waitMs / 1000)), call.short);
      return count > 0;
    };
    for (const line of this.#lines) {
      // A short call is to look once, whatever was found a moment ago.
      const isForced = leftMs < 1000 && !call.asked.has(line);
      call.asked.add(line);
      if (line.polls.size === 0) askOne(line, isForced, Math.min(this.#queues.location.waitMs, leftMs));
    }
    // What is not there at once is not waited for.
    for (const line of this.#lines) while (line.polls.size > 0 && askOne(line, false, 1000));
  }

  #start(line: Line, count: number, waitSeconds: number, short: Set<Promise<void>>): void {
    const poll = this.#poll(line, count, waitSeconds).finally(() => {
      line.polls.delete(poll);
      short.delete(poll);
      if (line.polls.size === 0) this.#left.delete(line);
      this.#change();
    });
    line.polls.set(poll, count);
    if (waitSeconds === 0) short.add(poll);
  }

  /** One request and its answer. Never rejects. */
  async #poll(line: Line, max: number, waitSeconds: number): Promise<void> {
    try {
      line.queue ??= await this.#queues.get(line.name);
      const { queue } = line;
      const leaseSeconds = secondsOf(this.#leaseMs);
      const request = { max, waitSeconds, leaseSeconds, signal: this.#cutting.signal };
      const messages = await queue.api.receive(queue, request);
      const now = Date.now();
      const pause = { lines: this.#lines.length, idleMs: this.#queues.location.idleMs };
      line.answered(messages.length, max, waitSeconds * 1000, pause);
      const surelyUntil = now + leaseSeconds * 1000 - Math.min(2000, this.#leaseMs / 10);
      const held = messages.map((message) => ({ taken: takenOf(message, queue, now), name: line.name, surelyUntil }));
      if (held.length > 0) await this.#accept(line, held);
    } catch (error) {
      if (this.#cutting.signal.aborted) return;
      line.failed(error as Error);
      if (isMissing(error)) {
        this.#queues.forget(line.name);
        line.queue = undefined;
      }
    }
  }

  /** What is not due goes on its way, what cannot be read becomes a dead letter, and the others are there to be taken. */
  async #accept(line: Line, held: readonly Held[]): Promise<void> {
    const now = Date.now();
    const early = held.filter(({ taken }) => taken.dueAt !== undefined && taken.dueAt > now);
    const bodies = await this.#bodies(held.filter((one) => !early.includes(one)));
    const unreadable: Held[] = [];
    const reasons: string[] = [];
    for (const one of held) {
      if (early.includes(one)) continue;
      try {
        const body = bodies.get(one.taken);
        if (body instanceof Error) throw body;
        this.#deliveries.set(one, deliveryOf(one.taken, line.name, body));
        line.buffer.push(one);
      } catch (error) {
        unreadable.push(one);
        reasons.push((error as Error).message);
      }
    }
    // A failure leaves them hidden for a while: then they come again.
    if (early.length > 0) {
      await this.#settling.defer(
        early,
        early.map(({ taken }) => taken.dueAt ?? 0),
      );
    }
    if (unreadable.length > 0) await this.#settling.reject(unreadable, reasons);
    if (!this.#lines.includes(line) || this.#unwanted || this.#closing.signal.aborted) this.#giveBack(line);
    else if (this.#receiving === 0) this.#keep();
  }

  /** What lies elsewhere of the bodies. */
  async #bodies(held: readonly Held[]): Promise<ReadonlyMap<Taken, string | Error>> {
    const taken = held.map((one) => one.taken);
    if (this.#payloads) return this.#payloads.fetch(taken);
    return new Map(taken.filter(isPointer).map((one) => [one, new ConfigError(NO_STORE)]));
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
    this.#lines.forEach((line, i) => {
      take(line, Math.ceil((max - got.length) / (this.#lines.length - i)));
    });
    for (const line of this.#lines) take(line, max - got.length);
    // The first queue goes to the back, so that each comes first in its turn.
    if (got.length > 0) this.#lines = [...this.#lines.slice(1), ...this.#lines.slice(0, 1)];
    return got;
  }

  /** Throws what is wrong with the queues: at once where it is wrong with all of them, else now and then. */
  #tell(): void {
    const failing = this.#lines.filter(({ error }) => error !== undefined);
    const [first] = failing;
    if (!first) return;
    const telling = failing.find((line) => line.tells());
    if (!telling && failing.length < this.#lines.length) return;
    const { error } = telling ?? first;
    // Told: what the next request finds counts.
    for (const line of failing.length < this.#lines.length && telling ? [telling] : failing) line.error = undefined;
    if (error) throw error;
  }

  /** Has what nobody takes go back, after a while. */
  #keep(): void {
    clearTimeout(this.#keeping);
    if (this.#receiving > 0 || this.#lines.every(({ buffer }) => buffer.length === 0)) return;
    this.#keeping = setTimeout(
      () => {
        for (const line of this.#lines) this.#giveBack(line);
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
