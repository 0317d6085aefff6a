import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from '../app/logger.ts';
import type { Consumer, Delivery } from '../contracts/broker.ts';
import { isPassing } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { sleep } from '../util/sleep.ts';

export interface FetcherOptions {
  readonly consumer: Consumer;
  /** How many messages there is room for now. */
  room(): number;
  /** Resolves when there is room again, or the signal aborts. */
  hasRoom(signal: AbortSignal): Promise<void>;
  onDeliveries(deliveries: Delivery[]): Promise<void>;
  readonly logger: Logger;
}

/** One wait for messages; bounds how long a lost wake-up could go unnoticed. */
const waitMs = 20_000;

/** Pulls messages as there is room for them: never more than can be started (or were asked for as prefetch). */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #stopped = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: FetcherOptions) {
    this.#options = options;
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
    const { consumer, room, hasRoom, onDeliveries, logger } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      // A store that answers at once would otherwise keep timers, signals and sockets waiting as long as there is work.
      await turn();
      await hasRoom(signal);
      if (signal.aborted) return;
      try {
        const deliveries = await consumer.receive(room(), waitMs, signal);
        failures = 0;
        if (deliveries.length > 0) await onDeliveries(deliveries);
      } catch (error) {
        const passing = isPassing(error as Error);
        const wait = backoffMs(failures++, { startMs: 100, maxMs: passing ? 5_000 : 30_000 });
        logger.error(
          { error: error as Error },
          `cannot receive messages, trying again in ${(wait / 1000).toFixed(1)} s`,
        );
        await sleep(wait, signal);
      }
    }
  }
}
