import type { Broker } from '../../contracts/broker.ts';
import type { Lease } from '../../contracts/message.ts';
import { LeaseLostError } from '../../errors.ts';
import { maxTimerMs } from '../../util/sleep.ts';

/**
 * Leases that began together, by numbers that both sides know: `first` and those that follow it. `leases` is the JSON of
 * `[queue, tag][]`: most leases end before anybody has to read it.
 */
export interface LeaseBundle {
  readonly first: number;
  readonly count: number;
  readonly leases: string;
}

/** The bundle of some leases, numbered from `first`. */
export function bundle(first: number, leases: readonly Lease[]): LeaseBundle {
  const text = JSON.stringify(leases.map(({ queue, tag }) => [queue, tag]));
  return { first, count: leases.length, leases: text };
}

/** What renews leases: a broker, or what stands for claims. */
export type Renewer = Pick<Broker, 'extendMany'>;

export interface LeaseBookEvents {
  lost(keys: readonly number[]): void;
  failed(text: string): void;
}

/** A bundle that nobody has read yet. */
interface Unread extends LeaseBundle {
  readonly renewedAt: number;
}

interface Kept {
  readonly key: number;
  readonly queue: string;
  readonly tag: unknown;
  renewedAt: number;
}

/** The leases that are held, and the timer that renews each of them once a third of its time has gone. */
export class LeaseBook {
  readonly #renewer: Renewer;
  readonly #leaseMs: number;
  readonly #events: LeaseBookEvents;
  readonly #kept = new Map<number, Kept>();
  readonly #unread = new Map<number, Unread>();
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;

  constructor(renewer: Renewer, leaseMs: number, events: LeaseBookEvents) {
    this.#renewer = renewer;
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

  add(leases: LeaseBundle, renewedAt = Date.now()): void {
    const unread = { ...leases, renewedAt };
    for (let i = 0; i < leases.count; i++) this.#unread.set(leases.first + i, unread);
  }

  /** Resolves when no renewal of these can be under way any more. */
  async remove(keys: readonly number[]): Promise<void> {
    for (const key of keys) if (!this.#unread.delete(key)) this.#kept.delete(key);
    await this.#renewing;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#kept.clear();
    this.#unread.clear();
    await this.#renewing;
  }

  async #renew(beforeRenewal: () => void): Promise<void> {
    beforeRenewal();
    const now = Date.now();
    const isDue = ({ renewedAt }: { renewedAt: number }) => now - renewedAt >= this.#leaseMs / 3;
    for (const unread of new Set(this.#unread.values())) if (isDue(unread)) this.#read(unread);
    const due = [...this.#kept.values()].filter(isDue);
    if (due.length === 0) return;
    try {
      const failures = await this.#renewer.extendMany(due, this.#leaseMs);
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

  #read({ first, leases, renewedAt }: Unread): void {
    const list: readonly (readonly [queue: string, tag: unknown])[] = JSON.parse(leases);
    list.forEach(([queue, tag], i) => {
      const key = first + i;
      if (this.#unread.delete(key)) this.#kept.set(key, { key, queue, tag, renewedAt });
    });
  }
}
