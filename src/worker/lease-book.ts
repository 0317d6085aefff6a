import type { Broker } from '../contracts/broker.ts';
import { LeaseLostError } from '../errors.ts';
import { maxTimerMs } from '../util/sleep.ts';

/** A lease by a number that both sides know: `[key, queue, tag]`. */
export type LeaseEntry = readonly [key: number, queue: string, tag: unknown];

export interface LeaseBookEvents {
  lost(keys: readonly number[]): void;
  failed(text: string): void;
}

interface Kept {
  readonly key: number;
  readonly queue: string;
  readonly tag: unknown;
  renewedAt: number;
}

/** The leases that are held, and the timer that renews each of them once a third of its time has gone. */
export class LeaseBook {
  readonly #broker: Broker;
  readonly #leaseMs: number;
  readonly #events: LeaseBookEvents;
  readonly #kept = new Map<number, Kept>();
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;

  constructor(broker: Broker, leaseMs: number, events: LeaseBookEvents) {
    this.#broker = broker;
    this.#leaseMs = leaseMs;
    this.#events = events;
  }

  /** `beforeRenewal` may bring the book up to date. */
  start(beforeRenewal: () => void = () => {}, afterRenewal: () => void = () => {}): void {
    const renew = () => {
      this.#renewing ??= this.#renew(beforeRenewal).finally(() => {
        this.#renewing = undefined;
        afterRenewal();
      });
    };
    this.#timer = setInterval(renew, Math.min(maxTimerMs, Math.max(10, this.#leaseMs / 6)));
    renew();
  }

  add(entries: readonly LeaseEntry[], renewedAt = Date.now()): void {
    for (const [key, queue, tag] of entries) this.#kept.set(key, { key, queue, tag, renewedAt });
  }

  /** Resolves when no renewal of these can be under way any more. */
  async remove(keys: readonly number[]): Promise<void> {
    for (const key of keys) this.#kept.delete(key);
    await this.#renewing;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#kept.clear();
    await this.#renewing;
  }

  async #renew(beforeRenewal: () => void): Promise<void> {
    beforeRenewal();
    const now = Date.now();
    const due = [...this.#kept.values()].filter((lease) => now - lease.renewedAt >= this.#leaseMs / 3);
    if (due.length === 0) return;
    try {
      const failures = await this.#broker.extendMany(due, this.#leaseMs);
      const failed = new Map(failures.map(({ index, error }) => [due[index]?.key, error]));
      for (const lease of due) if (!failed.has(lease.key)) lease.renewedAt = now;
      const lost = due.filter(({ key }) => failed.get(key) instanceof LeaseLostError).map(({ key }) => key);
      for (const key of lost) this.#kept.delete(key);
      if (lost.length > 0) this.#events.lost(lost);
      const other = [...failed.values()].find((error) => !(error instanceof LeaseLostError));
      if (other) this.#events.failed(`a lease could not be renewed, trying again: ${other.message}`);
    } catch (error) {
      this.#events.failed(
        `leases could not be renewed, trying again: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}
