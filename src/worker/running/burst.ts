/** While tasks end as fast as they begin, up to so many times the slots are asked for at once. */
const burstFactor = 5;

/**
 * How many messages are fetched beyond what may be held. Short tasks are taken in bursts: as long as whole batches come and
 * end at once, the next may be twice as large, which spares trips to the store.
 */
export class Burst {
  readonly #enabled: boolean;
  #size = 0;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  get size(): number {
    return this.#size;
  }

  /** A batch has begun; `short`: it was a whole one, and has ended. */
  adapt(short: boolean, slots: number): void {
    this.#size = short && this.#enabled ? Math.min((burstFactor - 1) * slots, 2 * this.#size + slots) : 0;
  }
}
