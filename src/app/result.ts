import { isFinished } from '../contracts/backend.ts';
import { ConfigError } from '../errors.ts';
import { decodeError } from '../wire/remote-error.ts';
import { fromTuple, taskIdsOf } from '../wire/result-tuple.ts';
import type { ResultMeta, WireError } from '../wire/task-message.ts';
import type { ErrorClass } from './config.ts';
import type { Results, WaitOptions } from './results.ts';
import type { RevokeOptions } from './revoke.ts';

/** What a result needs of its application. */
export interface ResultSource {
  results(): Promise<Results>;
  revoke(taskIds: string | readonly string[], options?: RevokeOptions): Promise<void>;
  readonly errorClasses: ReadonlyMap<string, ErrorClass>;
}

/** A task that was sent: a handle on its state and its result. Making one costs nothing; each question asks the result backend. */
export class AsyncResult<out R = unknown> {
  readonly id: string;
  readonly #source: ResultSource;
  readonly #ignored: boolean;
  #finished: ResultMeta | undefined;

  /** `ignored` says that nothing will be stored. */
  constructor(id: string, source: ResultSource, ignored = false) {
    this.id = id;
    this.#source = source;
    this.#ignored = ignored;
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

  /** The tasks that this one sent. */
  get children(): Promise<AsyncResult[]> {
    return this.#meta().then((meta) => {
      const sent = (meta?.children ?? []).flatMap((tuple) => fromTuple(tuple) ?? []);
      return sent.flatMap(taskIdsOf).map((id) => new AsyncResult(id, this.#source));
    });
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
   */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    await this.#source.revoke(this.id, options);
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
