import { isFinished } from '../contracts/backend.ts';
import { ConfigError } from '../errors.ts';
import { newId } from '../util/ids.ts';
import type { ResultNode } from '../wire/result-tuple.ts';
import { AsyncResult, type ResultSource } from './result.ts';
import type { WaitOptions } from './results.ts';
import type { RevokeOptions } from './revoke.ts';

/** The results of one list of members: `[number, string]` for two tasks, `number[]` for as many as there are. */
type ResultsOf<Values extends readonly unknown[]> = { readonly [K in keyof Values]: AsyncResult<Values[K]> };

/**
 * A group of tasks that was sent: a handle on all their results, in the order of the group. `save()` keeps which tasks
 * they are in the result backend, where `app.groupResult(id)` and Celery's `GroupResult.restore(id)` find it.
 */
export class GroupResult<out Values extends readonly unknown[] = readonly unknown[]> {
  readonly id: string;
  readonly results: ResultsOf<Values>;
  readonly #source: ResultSource;

  constructor(id: string, results: ResultsOf<Values>, source: ResultSource) {
    this.id = id;
    this.results = results;
    this.#source = source;
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

  /** Has workers skip those that have not begun, and with `terminate` end those that run. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    if (this.#all.length > 0) await this.#source.revoke(this.#ids, options);
  }

  /** Removes what is stored about the tasks; a saved group stays. */
  async forget(): Promise<void> {
    if (this.#all.length > 0) await (await this.#source.results()).required().forgetMany(this.#ids);
  }

  /** Keeps which tasks belong to the group, for as long as results are kept from now. Saved again, the time begins anew. */
  async save(): Promise<void> {
    const node: ResultNode = { id: this.id, members: this.#ids.map((id) => ({ id })) };
    await (await this.#source.results()).saveGroup(node);
  }

  /** Removes what `save()` kept; the results stay. */
  async delete(): Promise<void> {
    await (await this.#source.results()).forgetGroup(this.id);
  }

  get #all(): readonly AsyncResult[] {
    return this.results as readonly AsyncResult[];
  }

  get #ids(): string[] {
    return this.#all.map(({ id }) => id);
  }

  /** One question to the store, however many there are. */
  async #states(): Promise<string[]> {
    if (this.#all.length === 0) return [];
    const records = await (await this.#source.results()).required().fetchMany(this.#ids);
    return records.map((record) => record?.state ?? 'PENDING');
  }
}

/** The result of a group without members, which is no application's. */
export function emptyGroup<Values extends readonly unknown[]>(): GroupResult<Values> {
  const nobody = () =>
    Promise.reject(new ConfigError('a group without members cannot be saved: there is nothing to find'));
  const none = [] as unknown as ResultsOf<Values>;
  return new GroupResult(newId(), none, { results: nobody, revoke: nobody, errorClasses: new Map() });
}

/** Finds a group that was saved, by Celery or by `GroupResult.save()`. Groups inside of it count with their tasks. */
export async function restoreGroup(id: string, source: ResultSource): Promise<GroupResult | undefined> {
  if (typeof id !== 'string' || id === '')
    throw new ConfigError(`app.groupResult: expected the id of a group, got ${JSON.stringify(id)}`);
  const taskIds = await (await source.results()).fetchGroup(id);
  return (
    taskIds &&
    new GroupResult(
      id,
      taskIds.map((taskId) => new AsyncResult(taskId, source)),
      source,
    )
  );
}
