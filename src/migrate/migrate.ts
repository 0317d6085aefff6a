import type { Broker, QueueDepth } from '../contracts/broker.ts';
import { ConfigError } from '../errors.ts';
import { type Entry, Journal } from './journal.ts';
import { hasJournal } from './journal-file.ts';
import { lookThrough } from './look-through.ts';
import { Sender } from './sender.ts';
import { Taker } from './taker.ts';

const LEASE_MS = 30_000;

/** How often it is looked whether messages have arrived of which that is not known. */
const DECIDED_TIMES = 10;

/** What is to be moved, and how. */
export interface MigrateOptions {
  /** Started; so is `to`. */
  readonly from: Broker;
  readonly to: Broker;
  readonly queues: readonly string[];
  /** Path of the journal; it is made where there is none, and removed when all is done. */
  readonly journal: string;
  /** Messages that may have arrived are sent once more, without a look whether they have. */
  readonly resend?: boolean;
  /** How long a received message may take to be taken; what a killed run has in the hand comes back after that. Default 30,000. */
  readonly leaseMs?: number;
  /** Ends it after the batch under way. */
  readonly signal: AbortSignal;
  /** Told after each batch how many have arrived, of how many. */
  readonly onProgress?: (moved: number, total: number) => void;
  readonly onNote?: (text: string) => void;
}

/** What a queue of the source still has. */
export interface LeftBehind extends QueueDepth {
  readonly queue: string;
}

/** How it ended. */
export interface MigrateReport {
  /** All that waited has arrived, and the journal is gone. */
  readonly done: boolean;
  /** Messages that have arrived, those of earlier runs of the same journal included. */
  readonly moved: number;
  /** Messages of an earlier run that were found to have arrived, or sent, now. */
  readonly resumed: number;
  /** Larger than the destination takes; they are where they were. */
  readonly tooLarge: number;
  /** In the journal only, with the reason. */
  readonly notSent: readonly { readonly queue: string; readonly id: string; readonly trouble: string }[];
  /** In the journal, and perhaps at the source: run again when the source holds none of that queue. */
  readonly unsure: number;
  /** Queues of the source that are not empty. */
  readonly left: readonly LeftBehind[];
}

/**
 * Moves all messages that wait, ready and parked, from one broker to another, in order, each exactly once. It may be killed
 * at any moment and run again.
 * @throws ConfigError, StoreError, MigrationError; what was done stays done
 */
export async function migrate(options: MigrateOptions): Promise<MigrateReport> {
  const { from, to } = options;
  checkBrokers(from, to);
  const isResumed = hasJournal(options.journal);
  const journal = new Journal({ path: options.journal, source: from.url, destination: to.url });
  try {
    const report = await new Migration(options, journal, isResumed).run();
    if (report.done) journal.remove();
    return report;
  } finally {
    journal.close();
  }
}

/** @throws ConfigError for brokers between which nothing can be moved */
export function checkBrokers(from: Broker, to: Broker): void {
  for (const { features, url } of [from, to]) {
    if (!features.shared)
      throw new ConfigError(`${url} lives in this process only: nothing can be moved from or to it`);
  }
  if (from.url === to.url) throw new ConfigError(`source and destination are the same: ${from.url}`);
}

class Migration {
  readonly #options: MigrateOptions;
  readonly #journal: Journal;
  readonly #taker: Taker;
  readonly #sender: Sender;
  #total = 0;

  constructor(options: MigrateOptions, journal: Journal, isResumed: boolean) {
    const { from, to, leaseMs = LEASE_MS, signal } = options;
    this.#options = options;
    this.#journal = journal;
    this.#taker = new Taker({ from, journal, leaseMs, isResumed, signal, maxBytes: to.features.maxMessageBytes });
    this.#sender = new Sender({ to, journal, signal, onSent: () => this.#progress() });
  }

  async run(): Promise<MigrateReport> {
    const { from, to, signal } = this.#options;
    const journal = this.#journal;
    const queues = [...new Set([...this.#options.queues, ...journal.queues()])];
    const depths = await from.countMany(queues);
    // Before anything is taken, and each by itself: one that cannot be is told.
    for (const [i, name] of queues.entries()) {
      const { ready = 0, delayed = 0, inFlight = 0 } = depths[i] ?? {};
      if (ready + delayed + inFlight > 0 || journal.queues().includes(name)) await to.declareMany([{ name }]);
    }
    const before = journal.counts();
    const waiting = depths.reduce((sum, depth) => sum + (depth ? depth.ready + depth.delayed : 0), 0);
    this.#total = waiting + before.held + before.taken + before.sending + before.sent;
    this.#progress();
    journal.forgiveTroubled();
    await this.#decide(await this.#sender.finish());
    await this.#taker.finish();
    for (const queue of queues) {
      if (signal.aborted) break;
      await this.#sender.sendAll(queue);
      await this.#taker.drain(queue, () => this.#sender.sendAll(queue));
      if (!signal.aborted) await this.#adoptUnsure(queue);
    }
    // What is sent again may be left undecided again.
    for (let round = 0; round < DECIDED_TIMES && !signal.aborted; round++) {
      if (journal.sending().length === 0) break;
      await this.#decide(await this.#sender.finish());
    }
    return this.#report(queues, before.held + before.taken + before.sending);
  }

  /** Of messages that did not come again from an empty queue it is known that they were taken. */
  async #adoptUnsure(queue: string): Promise<void> {
    const unsure = this.#journal.unsureOf(queue);
    if (unsure.length === 0) return;
    const [depth] = await this.#options.from.countMany([queue]);
    if (depth && depth.ready + depth.inFlight + depth.delayed > 0) return;
    this.#journal.taken(unsure);
    await this.#sender.sendAll(queue);
  }

  /** Decides about messages that may have arrived. */
  async #decide(entries: readonly Entry[]): Promise<void> {
    const { to, signal, leaseMs = LEASE_MS, resend = false, onNote = () => {} } = this.#options;
    for (const [queue, some] of Map.groupBy(entries, (entry) => entry.queue)) {
      if (resend) {
        this.#journal.notSent(some);
      } else {
        const look = { to, journal: this.#journal, leaseMs: 2 * leaseMs, signal, onNote };
        const { there, missing } = await lookThrough(queue, some, look);
        this.#journal.sent(there);
        this.#journal.notSent(missing);
      }
      await this.#sender.sendAll(queue);
    }
  }

  #progress(): void {
    const { sent } = this.#journal.counts();
    this.#options.onProgress?.(sent, Math.max(this.#total, sent));
  }

  async #report(queues: readonly string[], resumed: number): Promise<MigrateReport> {
    const depths = await this.#options.from.countMany(queues);
    const left = queues.flatMap((queue, index) => {
      const depth = depths[index];
      return depth && depth.ready + depth.inFlight + depth.delayed + depth.dead > 0 ? [{ queue, ...depth }] : [];
    });
    const counts = this.#journal.counts();
    const waits = left.some(({ ready, inFlight, delayed }) => ready + inFlight + delayed > 0);
    return {
      done: !waits && counts.held + counts.taken + counts.sending === 0,
      moved: counts.sent,
      resumed,
      tooLarge: this.#taker.tooLarge,
      notSent: this.#journal.troubled(),
      unsure: counts.held,
      left,
    };
  }
}
