import { setImmediate as turn } from 'node:timers/promises';
import type { Consumer } from '../../contracts/broker.ts';
import type { Delivery } from '../../contracts/message.ts';
import { isPassing, StoreError } from '../../errors.ts';
import { backoffMs } from '../../util/backoff.ts';
import { sleep } from '../../util/sleep.ts';
import { within } from '../../util/within.ts';
import type { Progress } from './watchdog.ts';

export interface FetcherOptions {
  readonly consumer: Pick<Consumer, 'receive'>;
  /** How many messages there is room for now. */
  room(): number;
  /** Resolves when there is room again, or the signal aborts. */
  hasRoom(signal: AbortSignal): Promise<void>;
  onDeliveries(deliveries: Delivery[]): Promise<void>;
  /** Resolves when the broker answers, and fails where it does not. */
  ask(): Promise<unknown>;
  /** Called at each try that fails; trying goes on until `stop`. */
  onLost(error: Error): void;
  /** Called at the first try that succeeds after one that failed. */
  onBack(): void;
}

/** One wait for messages; bounds how long a lost wake-up could go unnoticed. */
const waitMs = 20_000;
/** A receive may end so much later than asked. */
const slackMs = 30_000;
/** A broker that is back answers within this. */
const askMs = 15_000;

/** Pulls messages as there is room for them: never more than can be started (or were asked for as prefetch). */
export class Fetcher implements Progress {
  readonly #options: FetcherOptions;
  readonly #stopped = new AbortController();
  #loop: Promise<void> | undefined;
  #steps = 0;
  /** When the receive that is under way began. */
  #receivingSince: number | undefined;
  /** Since when there was room and nothing came. */
  #waitingSince: number | undefined;

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  get steps(): number {
    return this.#steps;
  }

  get waitingMs(): number {
    if (this.#receivingSince === undefined || this.#waitingSince === undefined) return 0;
    return performance.now() - this.#waitingSince;
  }

  get overdue(): boolean {
    return this.#receivingSince !== undefined && performance.now() - this.#receivingSince > waitMs + slackMs;
  }

  start(): void {
    this.#loop ??= this.#run(this.#stopped.signal);
  }

  /** Resolves when nothing more will come. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#loop;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { room, hasRoom, onDeliveries, ask, onLost, onBack } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      // A store that answers at once would otherwise keep timers, signals and sockets waiting as long as there is work.
      await turn();
      if (room() === 0) this.#waitingSince = undefined;
      await hasRoom(signal);
      if (signal.aborted) return;
      try {
        // After a failure the question is first whether the broker is there. A consumer may know that its queues were empty
        // a moment ago, so that its answer proves nothing.
        if (failures > 0) await this.#answer(ask());
        const deliveries = await this.#receive(room(), failures > 0 ? 0 : waitMs, signal);
        if (failures > 0) {
          failures = 0;
          this.#steps += 1;
          onBack();
        }
        if (deliveries.length > 0) await onDeliveries(deliveries);
      } catch (error) {
        this.#waitingSince = undefined;
        onLost(error as Error);
        const passing = isPassing(error as Error);
        await sleep(backoffMs(failures++, { startMs: 100, maxMs: passing ? 5_000 : 30_000 }), signal);
      }
    }
  }

  async #answer(asked: Promise<unknown>): Promise<void> {
    const answer = await within(
      asked.then(() => true),
      askMs,
    );
    if (!answer) throw new StoreError(`the broker did not answer within ${askMs / 1000} s`);
  }

  async #receive(max: number, ms: number, signal: AbortSignal): Promise<Delivery[]> {
    this.#receivingSince = performance.now();
    this.#waitingSince ??= this.#receivingSince;
    try {
      const deliveries = await this.#options.consumer.receive(max, ms, signal);
      if (deliveries.length > 0) {
        this.#waitingSince = undefined;
        this.#steps += 1;
      }
      return deliveries;
    } finally {
      this.#receivingSince = undefined;
    }
  }
}
