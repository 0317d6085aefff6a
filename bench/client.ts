import { chord } from '../src/index.ts';
import { type BenchApp, type BenchTask, benchApp } from './app.ts';

// As many calls as an application would pass to one `applyMany`, and results as it would read in one go.
const SLICE = 10_000;
const PAGE = 1000;

/** The producer's side: sends, and follows what it sent by the results that workers store. */
export class BenchClient implements AsyncDisposable {
  readonly #bench: BenchApp;
  #sent: readonly string[] = [];
  #open: readonly string[] = [];

  constructor(bench: BenchApp | string) {
    this.#bench = typeof bench === 'string' ? benchApp(bench) : bench;
  }

  /** Sends `count` tasks in bulk, or one after the other. Resolves when the broker has them; they are what the questions below are about. */
  async enqueue(
    task: BenchTask,
    arg: (i: number) => number,
    count: number,
    mode: 'bulk' | 'await' = 'bulk',
  ): Promise<void> {
    const { [task]: target } = this.#bench;
    const ids: string[] = [];
    if (mode === 'await') for (let i = 0; i < count; i++) ids.push((await target.delay(arg(i))).id);
    else {
      for (let from = 0; from < count; from += SLICE) {
        const calls = Array.from({ length: Math.min(SLICE, count - from) }, (_, i): [number] => [arg(from + i)]);
        for (const { id } of await target.applyMany(calls)) ids.push(id);
      }
    }
    this.#sent = ids;
    this.#open = ids;
  }

  /** How many of the tasks sent last have a result. Each result is read about once, however often one asks. */
  async countDone(): Promise<number> {
    for (let page = PAGE; page === PAGE; ) {
      const ids = this.#open.slice(0, PAGE);
      const records = await this.#fetch(ids);
      const waiting = ids.filter((_, i) => records[i] === undefined);
      this.#open = [...waiting, ...this.#open.slice(PAGE)];
      page = ids.length - waiting.length;
    }
    return this.#sent.length - this.#open.length;
  }

  /** When the first and the last task sent last completed, by their stored results; epoch milliseconds. */
  async span(): Promise<{ first: number; last: number }> {
    const results = await this.#bench.app.results();
    let [first, last] = [Number.POSITIVE_INFINITY, 0];
    for (let from = 0; from < this.#sent.length; from += PAGE) {
      for (const record of await this.#fetch(this.#sent.slice(from, from + PAGE))) {
        const done = record && results.decode(record).dateDone;
        if (done === undefined) throw new Error('a completed task has no completion time');
        first = Math.min(first, done);
        last = Math.max(last, done);
      }
    }
    return { first, last };
  }

  /** Sends one no-op task and waits for its result. */
  async roundTrip(i: number): Promise<number> {
    const result = await this.#bench.noop.delay(i);
    return result.get({ timeout: 60 });
  }

  /** Sends chords of `size` no-op tasks, the callback adding up their results, and waits for all callbacks. */
  async chords(count: number, size: number): Promise<void> {
    const { noop, sum } = this.#bench;
    const header = Array.from({ length: size }, (_, i) => noop.s(i));
    const sent = await Promise.all(Array.from({ length: count }, () => chord(header, sum.s()).delay()));
    const wanted = (size * (size - 1)) / 2;
    for (const value of await Promise.all(sent.map((result) => result.get({ timeout: 120 })))) {
      if (value !== wanted) throw new Error(`a chord returned ${value} in place of ${wanted}`);
    }
  }

  /** Opens the connections, so that nobody measures it by accident. */
  async connect(): Promise<void> {
    await this.#bench.app.connections();
  }

  close(): Promise<void> {
    return this.#bench.app.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #fetch(ids: readonly string[]) {
    const results = await this.#bench.app.results();
    return ids.length === 0 ? [] : results.required().fetchMany(ids);
  }
}
