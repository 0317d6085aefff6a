import type { Held } from '../outcome.ts';
import type { Settler } from '../settling/settler.ts';

/** Acks what is acked early: when it really begins, and before it does. */
export class EarlyAcks {
  readonly #settler: Settler;
  readonly #underWay = new Set<Promise<void>>();
  #count = 0;

  constructor(settler: Settler) {
    this.#settler = settler;
  }

  /** Messages that are being acked; they have slots already. */
  get count(): number {
    return this.#count;
  }

  /** Acks, then calls `then` with those that are ours still and those that are not. */
  ack(early: readonly Held[], then: (ours: readonly Held[], others: readonly Held[]) => void): void {
    const acking = this.#ack(early, then).finally(() => this.#underWay.delete(acking));
    this.#underWay.add(acking);
  }

  /** Resolves when all that was being acked has begun. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #ack(early: readonly Held[], then: (ours: readonly Held[], others: readonly Held[]) => void): Promise<void> {
    this.#count += early.length;
    const ours = await this.#settler.ackEarly(early.map(({ delivery }) => delivery));
    this.#count -= early.length;
    for (const held of early) held.acked = true;
    const others = early.filter(({ delivery }) => !ours.has(delivery));
    await this.#settler.dropClaims(others);
    then(
      early.filter(({ delivery }) => ours.has(delivery)),
      others,
    );
  }
}
