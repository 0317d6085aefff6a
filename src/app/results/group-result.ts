import { isFinished } from '../../contracts/backend.ts';
import { ConfigError, TimeoutError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { type ResultNode, taskIdsOf } from '../../wire/result-tuple.ts';
import { type AsyncResult, type ResultSource, type TreeOption, treeOf } from './result.ts';
import type { WaitOptions } from './results.ts';
import type { RevokeOptions } from './revoke.ts';

/** The results of one list of members: `[number, string]` for two tasks, `number[]` for as many as there are. */
type ResultsOf<Values extends readonly unknown[]> = { readonly [K in keyof Values]: AsyncResult<Values[K]> };

/**
 * A group of tasks that was sent: a handle on all their results, in the order of the group. `save()` keeps which tasks
 * they are in the result backend, where `app.groupResult(id)` and Celery's `GroupResult.restore(id)` find it. A member that
 * ends in a group has a GroupResult in its place.
 */
export class GroupResult<out Values extends readonly unknown[] = readonly unknown[]> {
  readonly id: string;
  readonly results: ResultsOf<Values>;
  /** What the group gets its arguments from: the step before in its chain. */
  readonly parent: AsyncResult | GroupResult | undefined;
  readonly #source: ResultSource;

  constructor(id: string, results: ResultsOf<Values>, source: ResultSource, parent?: AsyncResult | GroupResult) {
    this.id = id;
    this.results = results;
    this.parent = parent;
    this.#source = source;
  }

  /** It, its members and its parents, as they are written: ids only. */
  get node(): ResultNode {
    const members = this.#all.map(({ node }) => node);
    return this.parent ? { id: this.id, members, parent: this.parent.node } : { id: this.id, members };
  }

  /**
   * Waits for all tasks and returns what they returned.
   * @throws what the first task, in the order of the group, threw, once that one has finished; TimeoutError; the reason of
   *   `signal`
   */
  async get(options: WaitOptions = {}): Promise<{ -readonly [K in keyof Values]: Values[K] }> {
    // Who waits gives up when the first one fails: the others must not go on waiting for nobody.
    const over = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, over.signal]) : over.signal;
    const waits = this.#all.map((result) => result.get({ ...options, signal }));
    for (const wait of waits) wait.catch(() => {});
    try {
      const values: unknown[] = [];
      for (const wait of waits) values.push(await wait);
      return values as { -readonly [K in keyof Values]: Values[K] };
    } finally {
      over.abort();
    }
  }

  /** Celery's other name for {@link get}. */
  join(options: WaitOptions = {}): Promise<{ -readonly [K in keyof Values]: Values[K] }> {
    return this.get(options);
  }

  /**
   * Gives the handle of each member when it has finished, the quickest first; `get()` of it then answers at once. Give up
   * with `break`.
   * @throws TimeoutError when the next one takes longer than `timeout` seconds in all; the reason of `signal`
   */
  async *asCompleted(options: WaitOptions = {}): AsyncGenerator<Member<Values>> {
    const over = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, over.signal]) : over.signal;
    const done: Member<Values>[] = [];
    let failure: { error: unknown } | undefined;
    let wake = Promise.withResolvers<void>();
    for (const result of this.#all) {
      const end = (error?: unknown) => {
        // A member's own error is for who asks that member.
        if (error instanceof TimeoutError || signal.aborted) failure ??= { error };
        else done.push(result as Member<Values>);
        wake.resolve();
      };
      result.get({ ...options, signal }).then(() => end(), end);
    }
    try {
      for (let left = this.#all.length; left > 0; left -= 1) {
        while (done.length === 0 && !failure) {
          await wake.promise;
          wake = Promise.withResolvers();
        }
        const next = done.shift();
        if (next) yield next;
        else throw failure?.error;
      }
    } finally {
      over.abort();
    }
  }

  /** Waits for all tasks and all that they sent, and gives each result with its value, parents before children. */
  async *collect(options: WaitOptions = {}): AsyncGenerator<[result: AsyncResult | GroupResult, value: unknown]> {
    yield [this, await this.get(options)];
    for (const result of this.#all) yield* result.collect(options);
  }

  /** Its members, as {@link AsyncResult.children} has them. */
  get children(): Promise<(AsyncResult | GroupResult)[]> {
    return Promise.resolve([...this.#all]);
  }

  /** How many have succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#states()).filter((state) => state === 'SUCCESS').length;
  }

  /** All have finished. */
  async ready(): Promise<boolean> {
    return (await this.#states()).every(isFinished);
  }

  /** All have succeeded. */
  async successful(): Promise<boolean> {
    return (await this.#states()).every((state) => state === 'SUCCESS');
  }

  /** One has failed. */
  async failed(): Promise<boolean> {
    return (await this.#states()).includes('FAILURE');
  }

  /** Has workers skip those that have not begun, and with `terminate` end those that run; with `tree` all that they belong to. */
  async revoke({ tree = false, ...options }: RevokeOptions & TreeOption = {}): Promise<void> {
    const ids = tree ? await treeOf(this) : this.#ids;
    if (ids.length > 0) await this.#source.revoke(ids, options);
  }

  /** Removes what is stored about the tasks; a saved group stays. */
  async forget(): Promise<void> {
    if (this.#ids.length > 0) await (await this.#source.results()).required().forgetMany(this.#ids);
  }

  /** Keeps which tasks belong to the group, for as long as results are kept from now. Saved again, the time begins anew. */
  async save(): Promise<void> {
    await (await this.#source.results()).saveGroup(this.node);
  }

  /** Removes what `save()` kept; the results stay. */
  async delete(): Promise<void> {
    await (await this.#source.results()).forgetGroup(this.id);
  }

  get #all(): readonly AsyncResult[] {
    return this.results as readonly AsyncResult[];
  }

  get #ids(): string[] {
    return this.#all.flatMap(({ node }) => taskIdsOf(node));
  }

  /** One question to the store, however many there are. */
  async #states(): Promise<string[]> {
    const ids = this.#ids;
    if (ids.length === 0) return [];
    const records = await (await this.#source.results()).required().fetchMany(ids);
    return records.map((record) => record?.state ?? 'PENDING');
  }
}

type Member<Values extends readonly unknown[]> = ResultsOf<Values>[number];

/** The result of a group without members, which is no application's. */
export function emptyGroup<Values extends readonly unknown[]>(): GroupResult<Values> {
  const nobody = () =>
    Promise.reject(new ConfigError('a group without members cannot be saved: there is nothing to find'));
  const none = [] as unknown as ResultsOf<Values>;
  const handle = () => emptyGroup();
  return new GroupResult(newId(), none, { results: nobody, revoke: nobody, errorClasses: new Map(), handle });
}

/** Finds a group that was saved, by Celery or by `GroupResult.save()`, with its parents and the groups in it. */
export async function restoreGroup(id: string, source: ResultSource): Promise<GroupResult | undefined> {
  if (typeof id !== 'string' || id === '')
    throw new ConfigError(`app.groupResult: expected the id of a group, got ${JSON.stringify(id)}`);
  const node = await (await source.results()).fetchGroup(id);
  return node && (source.handle(node) as GroupResult);
}
