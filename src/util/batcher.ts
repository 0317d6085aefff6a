/** What a batch function reports for an item it could not do. */
interface Failure {
  readonly index: number;
  readonly error: Error;
}

interface Group<T> {
  readonly items: readonly T[];
  readonly done: (failures: Failure[]) => void;
  readonly failed: (error: unknown) => void;
}

/** Batches under way at once: while the store works on one, the next is made ready. */
const MAX_UNDER_WAY = 2;

/**
 * Turns single calls into batches without a timer: what is added while nothing is under way goes out at the end of the
 * current turn; what is added meanwhile goes out together when the running batch returns, or as soon as it is a full
 * batch. So an idle caller waits for nobody, and a busy one gets large batches. Batches begin in the order of the calls.
 */
export class Batcher<T> {
  readonly #flush: (items: readonly T[]) => Promise<readonly Failure[]>;
  readonly #maxBatch: number;
  #waiting: Group<T>[] = [];
  #waitingItems = 0;
  #underWay = 0;

  /** `maxBatch` bounds how many items are joined; one `addMany` of more than that stays whole. */
  constructor(flush: (items: readonly T[]) => Promise<readonly Failure[]>, maxBatch: number) {
    this.#flush = flush;
    this.#maxBatch = maxBatch;
  }

  /** Items that wait for their batch. */
  get pending(): number {
    return this.#waitingItems;
  }

  /** Resolves when the item is done; rejects with its failure. */
  async add(item: T): Promise<void> {
    const failures = await this.addMany([item]);
    if (failures[0]) throw failures[0].error;
  }

  /** Resolves with the failures among these items; rejects when their whole batch failed. */
  addMany(items: readonly T[]): Promise<readonly Failure[]> {
    if (items.length === 0) return Promise.resolve([]);
    return new Promise((done, failed) => {
      this.#waiting.push({ items, done, failed });
      this.#waitingItems += items.length;
      // Not at once: calls of the same turn belong together.
      if (this.#mayRun) queueMicrotask(() => this.#run());
    });
  }

  get #mayRun(): boolean {
    if (this.#waiting.length === 0 || this.#underWay >= MAX_UNDER_WAY) return false;
    return this.#underWay === 0 || this.#waitingItems >= this.#maxBatch;
  }

  #run(): void {
    while (this.#mayRun) {
      this.#underWay += 1;
      void this.#runOne(this.#take()).finally(() => {
        this.#underWay -= 1;
        this.#run();
      });
    }
  }

  #take(): Group<T>[] {
    let count = 0;
    let groups = 0;
    for (const group of this.#waiting) {
      if (groups > 0 && count + group.items.length > this.#maxBatch) break;
      count += group.items.length;
      groups += 1;
    }
    const taken = groups === this.#waiting.length ? this.#waiting : this.#waiting.slice(0, groups);
    this.#waiting = groups === this.#waiting.length ? [] : this.#waiting.slice(groups);
    this.#waitingItems -= count;
    return taken;
  }

  async #runOne(groups: Group<T>[]): Promise<void> {
    const items = groups.length === 1 && groups[0] ? groups[0].items : groups.flatMap((group) => group.items);
    try {
      const failures = await this.#flush(items);
      let from = 0;
      for (const group of groups) {
        const to = from + group.items.length;
        const own = failures.length === 0 ? [] : failures.filter((f) => f.index >= from && f.index < to);
        const start = from;
        group.done(own.map((f) => ({ index: f.index - start, error: f.error })));
        from = to;
      }
    } catch (error) {
      for (const group of groups) group.failed(error);
    }
  }
}
