import { isFinished } from '../../contracts/backend.ts';
import { ConfigError } from '../../errors.ts';
import { decodeError } from '../../wire/remote-error.ts';
import { fromTuple, type ResultNode, taskIdsOf } from '../../wire/result-tuple.ts';
import type { ResultMeta, WireError } from '../../wire/task-message.ts';
import type { ErrorClass } from '../config.ts';
import type { GroupResult } from './group-result.ts';
import type { Results, WaitOptions } from './results.ts';
import type { RevokeOptions } from './revoke.ts';

/** What a result needs of its application. */
export interface ResultSource {
  results(): Promise<Results>;
  revoke(taskIds: string | readonly string[], options?: RevokeOptions): Promise<void>;
  readonly errorClasses: ReadonlyMap<string, ErrorClass>;
  /** A handle on a node of a tree of results. */
  handle(node: ResultNode): AsyncResult | GroupResult;
}

/** What is left to say of a result when it is known whose it is. */
export interface ResultPlace {
  /** Nothing will be stored. */
  readonly ignored?: boolean;
  /** The task or group whose result it continues. */
  readonly parent?: AsyncResult | GroupResult | undefined;
}

/** A task that was sent: a handle on its state and its result. Making one costs nothing; each question asks the result backend. */
export class AsyncResult<out R = unknown> {
  readonly id: string;
  /** What the task gets its arguments from: the step before in its chain, the header of its chord; where it was sent here. */
  readonly parent: AsyncResult | GroupResult | undefined;
  readonly #source: ResultSource;
  readonly #ignored: boolean;
  #finished: ResultMeta | undefined;

  constructor(id: string, source: ResultSource, { ignored = false, parent }: ResultPlace = {}) {
    this.id = id;
    this.#source = source;
    this.#ignored = ignored;
    this.parent = parent;
  }

  /** It and its parents, as they are written: ids only. */
  get node(): ResultNode {
    return this.parent ? { id: this.id, parent: this.parent.node } : { id: this.id };
  }

  /**
   * Waits for the task and returns what it returned.
   * @throws what the task threw: registered classes as themselves, others as RemoteTaskError
   * @throws TaskRevokedError, TimeoutError, or the reason of `signal`
   */
  async get(options: WaitOptions = {}): Promise<R> {
    if (this.#ignored)
      throw new ConfigError(`the result of task ${this.id} is ignored (ignoreResult), so there is nothing to wait for`);
    const results = await this.#source.results();
    this.#finished ??= await results.wait(this.id, options);
    if (this.#finished.state === 'SUCCESS') return this.#finished.result as R;
    throw this.#error(this.#finished);
  }

  /** `PENDING` (also where the id is unknown), `STARTED`, `RETRY`, `SUCCESS`, `FAILURE`, `REVOKED`, or a state of the task's own. */
  get state(): Promise<string> {
    return this.#meta().then((meta) => meta?.state ?? 'PENDING');
  }

  async ready(): Promise<boolean> {
    return isFinished(await this.state);
  }

  async successful(): Promise<boolean> {
    return (await this.state) === 'SUCCESS';
  }

  async failed(): Promise<boolean> {
    return (await this.state) === 'FAILURE';
  }

  /** What is stored now: the return value, the error, or what `updateState` was given; `undefined` while there is nothing. */
  get info(): Promise<unknown> {
    return this.#meta().then((meta) => {
      if (!meta) return undefined;
      return ['FAILURE', 'REVOKED', 'RETRY'].includes(meta.state) ? this.#error(meta) : meta.result;
    });
  }

  /** The stack or Python traceback of the failure, where one was stored. */
  get traceback(): Promise<string | undefined> {
    return this.#meta().then((meta) => meta?.traceback);
  }

  /** What this task sent: tasks, and groups of them. */
  get children(): Promise<(AsyncResult | GroupResult)[]> {
    return this.#meta().then((meta) => {
      const sent = (meta?.children ?? []).flatMap((tuple) => fromTuple(tuple) ?? []);
      return sent.map((node) => this.#source.handle(node));
    });
  }

  /**
   * Waits for this task and all that it sent, and gives each result with its value, parents before children.
   * @throws what `get()` of the first one that failed throws
   */
  async *collect(options: WaitOptions = {}): AsyncGenerator<[result: AsyncResult | GroupResult, value: unknown]> {
    yield [this, await this.get(options)];
    for (const child of await this.children) yield* child.collect(options);
  }

  /** Removes what is stored about the task. */
  async forget(): Promise<void> {
    const results = await this.#source.results();
    await results.required().forgetMany([this.id]);
    this.#finished = undefined;
  }

  /**
   * Has workers skip the task if it has not begun: REVOKED is stored (for 30 days at least), and each worker looks before
   * it runs, and now and then while it runs. With `terminate` a run that has begun is ended. A finished result stays.
   * With `tree` it is so with all that it belongs to: what comes before it, and what it has sent.
   */
  async revoke({ tree = false, ...options }: RevokeOptions & TreeOption = {}): Promise<void> {
    await this.#source.revoke(tree ? await treeOf(this) : this.id, options);
  }

  async #meta(): Promise<ResultMeta | undefined> {
    if (this.#finished) return this.#finished;
    const results = await this.#source.results();
    const meta = await results.fetch(this.id);
    if (meta && isFinished(meta.state)) this.#finished = meta;
    return meta;
  }

  #error(meta: ResultMeta): Error {
    return decodeError(meta.result as WireError, this.#source.errorClasses, meta.traceback);
  }
}

export interface TreeOption {
  /** Take the whole tree: parents, members and children. Default false. */
  readonly tree?: boolean;
}

/** The ids of all tasks of a tree, as far as they are known: those that its tasks sent are known when these have finished. */
export async function treeOf(result: AsyncResult | GroupResult): Promise<string[]> {
  const ids = new Set<string>();
  const left: (AsyncResult | GroupResult)[] = [result];
  for (let one = left.pop(); one !== undefined; one = left.pop()) {
    const known = ids.size;
    for (const id of taskIdsOf(one.node)) ids.add(id);
    if (one.parent) left.push(one.parent);
    if (ids.size > known) left.push(...(await one.children));
  }
  return [...ids];
}
