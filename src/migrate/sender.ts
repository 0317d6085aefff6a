import type { Broker } from '../contracts/broker.ts';
import type { Outgoing } from '../contracts/message.ts';
import { isPassing, MessageTooLargeError, SerializationError } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { sleep } from '../util/sleep.ts';
import type { Batch, Entry, Journal } from './journal.ts';

/** For so long a store remembers which batches it has: a migration that was broken off can be taken up again until then. */
export const REMEMBERED_MS = 30 * 24 * 3600_000;

/** A margin for clocks that differ. */
const MARGIN_MS = 3600_000;

/** The same where the store remembers for minutes only; also the time in which a batch that begins now has arrived. */
const SHORT_MARGIN_MS = 30_000;

const MAX_ITEMS = 500;
const MAX_BYTES = 4 * 1024 * 1024;
const TRIES = 6;
const BACKOFF = { startMs: 200, maxMs: 5000 };

/** What a sender is made with. */
export interface SenderOptions {
  readonly to: Broker;
  readonly journal: Journal;
  readonly signal: AbortSignal;
  /** Called after each batch. */
  readonly onSent: () => void;
}

/** The way into the destination: what is taken is sent, and noted as sent. */
export class Sender {
  readonly #to: Broker;
  readonly #journal: Journal;
  readonly #signal: AbortSignal;
  readonly #onSent: () => void;
  /** Batches in a row of which nothing got through. */
  #rejected = 0;

  constructor({ to, journal, signal, onSent }: SenderOptions) {
    this.#to = to;
    this.#journal = journal;
    this.#signal = signal;
    this.#onSent = onSent;
  }

  /** Sends all of a queue that is taken. Where the store cannot tell copies, some may stay undecided. */
  async sendAll(queue: string): Promise<void> {
    const limits = { maxItems: Math.min(MAX_ITEMS, this.#to.features.maxBatch), maxBytes: MAX_BYTES };
    if (!this.#to.publishOnce) limits.maxItems = MAX_ITEMS;
    for (;;) {
      const batch = this.#journal.nextBatch(queue, limits);
      if (!batch) return;
      await this.#send(batch);
    }
  }

  /** Sends again what an earlier run was sending, where the store can tell copies. Returns the messages that are undecided. */
  async finish(): Promise<Entry[]> {
    const undecided: Entry[] = [];
    const forMs = this.#to.publishOnce
      ? REMEMBERED_MS - MARGIN_MS
      : (this.#to.features.remembersMs ?? 0) - SHORT_MARGIN_MS;
    for (const batch of this.#journal.sending()) {
      if (Date.now() < batch.sentAt + forMs) await this.#send(batch);
      else undecided.push(...batch.entries);
    }
    return undecided;
  }

  async #send(batch: Batch): Promise<void> {
    const { publishOnce } = this.#to;
    if (publishOnce) await this.#sendOnce(batch, publishOnce.bind(this.#to));
    else await this.#sendPlain(batch);
    this.#onSent();
  }

  async #sendOnce(batch: Batch, publishOnce: NonNullable<Broker['publishOnce']>): Promise<void> {
    try {
      await this.#trying(() => publishOnce(this.#outgoing(batch), batch.key, REMEMBERED_MS));
    } catch (error) {
      if (!isOfMessage(error)) throw error;
      if (batch.entries.length === 1) this.#journal.notSent(batch.entries, error.message);
      else for (const single of this.#journal.split(batch)) await this.#sendOnce(single, publishOnce);
      return;
    }
    this.#journal.sent(batch.entries);
  }

  /** Of a failure that passes nobody knows whether the message arrived: an answer may have been lost. It stays undecided. */
  async #sendPlain(batch: Batch): Promise<void> {
    const failures = new Map<number, Error>();
    try {
      for (const { index, error } of await this.#to.publishMany(this.#outgoing(batch))) failures.set(index, error);
      this.#rejected = 0;
    } catch (error) {
      this.#rejected += 1;
      if (!(error instanceof Error) || !isPassing(error) || this.#rejected >= TRIES) throw error;
      await sleep(backoffMs(this.#rejected, BACKOFF), this.#signal);
      return;
    }
    this.#journal.sent(batch.entries.filter((_, index) => !failures.has(index)));
    for (const [index, error] of failures) {
      const entry = batch.entries[index];
      if (entry && !isPassing(error)) this.#journal.notSent([entry], error.message);
    }
  }

  #outgoing({ entries }: Batch): Outgoing[] {
    const now = Date.now();
    const { maxDelayMs } = this.#to.features;
    return entries.map(({ queue, message, dueAt = 0 }) => {
      const delayMs = Math.min(dueAt - now, maxDelayMs);
      return delayMs > 0 ? { queue, message, delayMs } : { queue, message };
    });
  }

  /** Tries again while the destination is in trouble; what it does may be repeated. */
  async #trying<T>(body: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await body();
      } catch (error) {
        if (!(error instanceof Error) || !isPassing(error) || isOfMessage(error) || attempt + 1 >= TRIES) throw error;
        await sleep(backoffMs(attempt, BACKOFF), this.#signal);
        if (this.#signal.aborted) throw error;
      }
    }
  }
}

/** What is wrong with a message itself. */
function isOfMessage(error: unknown): error is MessageTooLargeError | SerializationError {
  return error instanceof MessageTooLargeError || error instanceof SerializationError;
}
