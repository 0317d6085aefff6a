import type { Logger } from '../../app/logger.ts';
import type { Broker } from '../../contracts/broker.ts';
import { WorkerStuckError } from '../../errors.ts';
import { maxTimerMs } from '../../util/sleep.ts';
import { within } from '../../util/within.ts';

/** What the watchdog sees of the fetcher. */
export interface Progress {
  /** Grows whenever messages came, or the broker came back. */
  readonly steps: number;
  /** How long it has been asking for messages with free slots, and got none; 0 while it does not ask. Milliseconds. */
  readonly waitingMs: number;
  /** A single request for messages goes on for longer than it may. */
  readonly overdue: boolean;
}

export interface WatchdogOptions {
  readonly broker: Pick<Broker, 'countMany'>;
  readonly queues: readonly string[];
  readonly fetcher: Progress;
  readonly intervalMs: number;
  /** Makes the consumer anew. */
  rebuild(): Promise<void>;
  /** Nothing has helped. */
  onStuck(error: WorkerStuckError): void;
  readonly logger: Logger;
}

/** What one look finds: nothing is known, there is nothing to fetch, or messages wait and none comes. */
export type Look = 'unknown' | 'empty' | 'stalled';

/** What the looks so far have come to: stalled ones in a row, and whether the consumer was made anew already. */
export interface Suspicion {
  readonly strikes: number;
  readonly rebuilt: boolean;
}

export const unsuspicious: Suspicion = { strikes: 0, rebuilt: false };

/**
 * The suspicion after a look, and what is to be done. One stalled look proves nothing: other workers may be about to take
 * those messages. A rebuilt consumer is on probation until a message comes.
 */
export function judge(
  { strikes, rebuilt }: Suspicion,
  look: Look,
): [next: Suspicion, act: 'nothing' | 'rebuild' | 'give up'] {
  if (look !== 'stalled') return [{ strikes: 0, rebuilt }, 'nothing'];
  if (strikes === 0) return [{ strikes: 1, rebuilt }, 'nothing'];
  return [{ strikes: 0, rebuilt: true }, rebuilt ? 'give up' : 'rebuild'];
}

/** A question to a broker that may be the culprit is not waited for longer than this. */
const patienceMs = 15_000;

/**
 * Notices a worker that looks alive and consumes nothing: messages wait, slots are free, and for two looks in a row none
 * has come. Then the consumer is made anew; should that not help, the worker ends, so that whoever started it starts
 * another. It looks only when nothing came for a whole interval, with one count of the queues.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  #suspicion = unsuspicious;
  #steps = 0;
  #looking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  start(): void {
    const onTick = () => {
      if (!this.#looking) void this.#look();
    };
    this.#timer = setInterval(onTick, Math.min(this.#options.intervalMs, maxTimerMs)).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const { fetcher, intervalMs } = this.#options;
    if (fetcher.steps !== this.#steps) this.#suspicion = unsuspicious;
    this.#steps = fetcher.steps;
    if (fetcher.waitingMs < intervalMs) return;
    this.#looking = true;
    try {
      const ready = await this.#ready();
      // It may have fetched, stopped, or lost its broker while the queues were counted.
      if (!this.#timer || fetcher.steps !== this.#steps || fetcher.waitingMs === 0) return;
      const stalled = fetcher.overdue || (ready ?? 0) > 0;
      const look: Look = stalled ? 'stalled' : ready === undefined ? 'unknown' : 'empty';
      const [next, act] = judge(this.#suspicion, look);
      this.#suspicion = next;
      if (act === 'rebuild') await this.#rebuild(ready);
      else if (act === 'give up') this.#giveUp(ready);
    } finally {
      this.#looking = false;
    }
  }

  /** Messages that could be fetched; `undefined` where that cannot be found out, which the fetcher will notice, too. */
  async #ready(): Promise<number | undefined> {
    const { broker, queues } = this.#options;
    try {
      const depths = await within(broker.countMany(queues, { readyOnly: true }), patienceMs);
      return depths?.reduce((sum, depth) => sum + (depth?.ready ?? 0), 0);
    } catch {
      return undefined;
    }
  }

  async #rebuild(ready: number | undefined): Promise<void> {
    const { logger, queues, rebuild } = this.#options;
    const fields = { queues, ready };
    logger.warn(fields, `${this.#finding(ready)}: the consumer is made anew`);
    try {
      // What comes of it is seen at the next looks.
      await within(rebuild(), patienceMs);
    } catch (error) {
      logger.warn({ ...fields, error }, 'the consumer could not be made anew');
    }
  }

  #giveUp(ready: number | undefined): void {
    this.stop();
    this.#options.onStuck(
      new WorkerStuckError(
        `${this.#finding(ready)}, although the consumer was made anew. Start the worker again; if this comes back, look at the broker`,
      ),
    );
  }

  #finding(ready: number | undefined): string {
    const { fetcher, queues } = this.#options;
    const waiting = ready
      ? `${ready} ${ready === 1 ? 'message waits' : 'messages wait'}`
      : 'the broker does not answer';
    return `${waiting} (${queues.join(', ')}), slots are free, and nothing was received for ${Math.round(fetcher.waitingMs / 1000)} s`;
  }
}
