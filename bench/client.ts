import type { ResultRecord } from '../src/contracts/backend.ts';
import { chord } from '../src/index.ts';
import { type BenchApp, type BenchTask, benchApp } from './app.ts';
import { Followed } from './followed.ts';

// As many calls as an application would pass to one `applyMany`.
const SLICE = 10_000;

/** The producer's side of what is measured: sends, and follows what it sent by the results that workers store. */
export interface StageClient extends AsyncDisposable {
  /** Opens the connections, so that nobody measures it by accident. */
  connect(): Promise<void>;
  /** Sends `count` tasks in bulk, or one after the other. Resolves when the broker has them; they are what the questions below are about. */
  enqueue(task: BenchTask, arg: (i: number) => number, count: number, mode?: 'bulk' | 'await'): Promise<void>;
  /** How many of the tasks sent last have a result. Each result is read about once, however often one asks. */
  countDone(): Promise<number>;
  /** When the first and the last task sent last completed, by their stored results; epoch milliseconds. */
  span(): Promise<{ first: number; last: number }>;
  /** Sends one no-op task and waits for its result. */
  roundTrip(i: number): Promise<number>;
  /** Sends chords of `size` no-op tasks, the callback adding up their results, and waits for all callbacks. */
  chords(count: number, size: number): Promise<void>;
  close(): Promise<void>;
}

/** Lovage as a producer. */
export class BenchClient implements StageClient {
  readonly #bench: BenchApp;
  #followed = this.#follow([]);

  constructor(bench: BenchApp | string) {
    this.#bench = typeof bench === 'string' ? benchApp(bench) : bench;
  }

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
    this.#followed = this.#follow(ids);
  }

  countDone(): Promise<number> {
    return this.#followed.countDone();
  }

  span(): Promise<{ first: number; last: number }> {
    return this.#followed.span();
  }

  async roundTrip(i: number): Promise<number> {
    const result = await this.#bench.noop.delay(i);
    return result.get({ timeout: 60 });
  }

  async chords(count: number, size: number): Promise<void> {
    const { noop, sum } = this.#bench;
    const header = Array.from({ length: size }, (_, i) => noop.s(i));
    const sent = await Promise.all(Array.from({ length: count }, () => chord(header, sum.s()).delay()));
    const wanted = (size * (size - 1)) / 2;
    for (const value of await Promise.all(sent.map((result) => result.get({ timeout: 120 })))) {
      if (value !== wanted) throw new Error(`a chord returned ${value} in place of ${wanted}`);
    }
  }

  async connect(): Promise<void> {
    await this.#bench.app.connections();
  }

  close(): Promise<void> {
    return this.#bench.app.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #follow(ids: readonly string[]): Followed<ResultRecord> {
    return new Followed(
      {
        fetch: async (page) => {
          const results = await this.#bench.app.results();
          return results.required().fetchMany(page);
        },
        dateDone: async (record) => (await this.#bench.app.results()).decode(record).dateDone,
      },
      ids,
    );
  }
}
