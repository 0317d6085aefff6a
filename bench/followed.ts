/** Results as one reads them in one go. */
const PAGE = 1000;
/** How many of those still open are asked for first: whoever asks often must not be what is measured. */
const FIRST_PAGE = 16;

/** How results are read: those of some tasks, in their order, and the completion time of one in epoch milliseconds. */
export interface ResultReader<Stored> {
  fetch(ids: readonly string[]): Promise<readonly (Stored | undefined)[]>;
  dateDone(stored: Stored): Promise<number | undefined>;
}

/** What a producer sent last, followed by the results that workers store. */
export class Followed<Stored> {
  readonly #reader: ResultReader<Stored>;
  readonly #sent: readonly string[];
  #open: readonly string[];

  constructor(reader: ResultReader<Stored>, sent: readonly string[]) {
    this.#reader = reader;
    this.#sent = sent;
    this.#open = sent;
  }

  /**
   * How many of the tasks have a result, at least: the oldest ones without are asked for, then as many more as all of
   * them were there. Each result is read about once, however often one asks.
   */
  async countDone(): Promise<number> {
    for (let page = FIRST_PAGE; ; page = Math.min(2 * page, PAGE)) {
      const ids = this.#open.slice(0, page);
      const records = await this.#fetch(ids);
      const waiting = ids.filter((_, i) => records[i] === undefined);
      this.#open = [...waiting, ...this.#open.slice(page)];
      if (waiting.length > 0 || ids.length < page) return this.#sent.length - this.#open.length;
    }
  }

  /** When the first and the last of the tasks completed, by their stored results; epoch milliseconds. */
  async span(): Promise<{ first: number; last: number }> {
    let [first, last] = [Number.POSITIVE_INFINITY, 0];
    for (let from = 0; from < this.#sent.length; from += PAGE) {
      for (const record of await this.#fetch(this.#sent.slice(from, from + PAGE))) {
        const done = record && (await this.#reader.dateDone(record));
        if (done === undefined) throw new Error('a completed task has no completion time');
        first = Math.min(first, done);
        last = Math.max(last, done);
      }
    }
    return { first, last };
  }

  async #fetch(ids: readonly string[]): Promise<readonly (Stored | undefined)[]> {
    return ids.length === 0 ? [] : this.#reader.fetch(ids);
  }
}
