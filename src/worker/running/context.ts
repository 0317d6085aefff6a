import type { TaskHost } from '../../app/host.ts';
import type { Logger } from '../../app/logger.ts';
import type { AsyncResult } from '../../app/results/result.ts';
import { begin, launch } from '../../app/sending/launch.ts';
import { currentRunning, type TaskContext, type TaskRequest } from '../../app/tasks/current-task.ts';
import { type RetryOptions, retryOptionTable } from '../../app/tasks/retry-options.ts';
import { type TaskDefinition, taskOption } from '../../app/tasks/task.ts';
import { Canvas } from '../../canvas/canvas.ts';
import { partsOf } from '../../canvas/expand.ts';
import { freeze, idOf } from '../../canvas/freeze.ts';
import { withOptions } from '../../canvas/wire-tree.ts';
import { ConfigError, MaxRetriesExceededError, NotSupportedError, Replaced, Retry, Snooze } from '../../errors.ts';
import { checkOptions } from '../../util/options.ts';
import { toTuple } from '../../wire/result-tuple.ts';
import { saferepr } from '../../wire/saferepr.ts';
import type { Outcome, RetryChanges, Run } from '../outcome.ts';
import { type Again, derivedIds } from '../settling/follow-ups.ts';
import { Checkpoints } from './checkpoints.ts';
import { changesOf } from './retry.ts';

/** The context of a task that a worker runs. */
export class WorkerContext implements TaskContext {
  readonly signal: AbortSignal;
  readonly #app: TaskHost;
  readonly #definition: TaskDefinition;
  readonly #run: Run;
  readonly #hostname: string;
  #besides: Again[] | undefined;
  #changes: Map<Retry, RetryChanges> | undefined;
  #maxRetries: number | null | undefined;
  /** Calls of addToChord so far. */
  #added = 0;
  #request: TaskRequest | undefined;
  /** From the first use on: most tasks have none. */
  #checkpoints: Checkpoints | undefined;

  constructor(app: TaskHost, definition: TaskDefinition, run: Run, signal: AbortSignal, hostname: string) {
    this.#app = app;
    this.#definition = definition;
    this.#run = run;
    this.signal = signal;
    this.#hostname = hostname;
  }

  get request(): TaskRequest {
    if (this.#request) return this.#request;
    const { message, queue, attempt, isEager = false } = this.#run;
    this.#request = {
      id: message.id,
      task: message.task,
      args: message.args,
      kwargs: message.kwargs,
      retries: message.retries,
      deliveries: attempt,
      rootId: message.rootId,
      parentId: message.parentId,
      groupId: message.groupId,
      queue,
      priority: message.priority,
      eta: message.eta === undefined ? undefined : new Date(message.eta),
      expires: message.expires === undefined ? undefined : new Date(message.expires),
      hostname: this.#hostname,
      headers: message.headers,
      stamps: message.stamps ?? {},
      origin: message.origin,
      lang: message.lang,
      isEager,
    };
    return this.#request;
  }

  get logger(): Logger {
    const { id, task } = this.#run.message;
    const { logger } = this.#app;
    return {
      debug: (fields, text) => logger.debug({ task, id, ...fields }, text),
      info: (fields, text) => logger.info({ task, id, ...fields }, text),
      warn: (fields, text) => logger.warn({ task, id, ...fields }, text),
      error: (fields, text) => logger.error({ task, id, ...fields }, text),
    };
  }

  retry(options: RetryOptions & { readonly throw: false }): Retry;
  retry(options?: RetryOptions): never;
  retry(options: RetryOptions = {}): Retry {
    checkOptions(retryOptionTable, options, 'self.retry');
    if (options.countdown !== undefined && options.eta !== undefined)
      throw new ConfigError('self.retry: give either countdown or eta, not both');
    if (options.maxRetries !== undefined) this.#maxRetries = options.maxRetries;
    const { error } = options;
    const { message } = this.#run;
    if (message.retries >= this.#retryLimit(options)) {
      if (error !== undefined) throw error;
      const call = `${message.task}[${message.id}] args:${saferepr(message.args)} kwargs:${saferepr(message.kwargs)}`;
      throw new MaxRetriesExceededError(`Can't retry ${call}: it has been retried ${message.retries} times`);
    }
    const delay = options.countdown ?? taskOption(this.#definition.options, 'defaultRetryDelay') ?? 0;
    const dueAt = options.eta === undefined ? Date.now() + delay * 1000 : Number(options.eta);
    const retry = new Retry(`retry in ${Math.max(0, (dueAt - Date.now()) / 1000).toFixed(1)} s`, dueAt, error);
    const changes = changesOf(options);
    if (changes) {
      this.#changes ??= new Map();
      this.#changes.set(retry, changes);
    }
    if (options.throw !== false) throw retry;
    this.#besides ??= [];
    this.#besides.push({ dueAt, changes });
    return retry;
  }

  snooze(when: number | Date): never {
    throw new Snooze(when);
  }

  replace(signature: Canvas<[], unknown>): never {
    if (!(signature instanceof Canvas))
      throw new ConfigError(`self.replace: expected a signature, such as add.s(1, 2), got ${typeof signature}`);
    throw new Replaced(signature.toWire());
  }

  async addToChord<R>(signature: Canvas<[], R>): Promise<AsyncResult<R>> {
    const { message } = this.#run;
    const { chord, groupId, groupIndex } = message;
    if (!chord || groupId === undefined)
      throw new ConfigError(`self.addToChord: ${message.task} is no member of a chord here`);
    const ids = derivedIds(message.id, 'added', String(this.#added++));
    const place = { chord, group_id: groupId, group_index: groupIndex };
    const frozen = freeze(withOptions(signature.toWire(), place), ids);
    if (partsOf(frozen) !== 1) throw new ConfigError('self.addToChord: expected a signature that ends in one task');
    const { results, publisher } = await this.#app.connections();
    const { joins, name } = results.required();
    if (!joins)
      throw new NotSupportedError(`self.addToChord: the result backend ${name} cannot count the members of a chord`);
    await joins.grow(groupId, idOf(frozen), results.ttlMs);
    const all = launch(this.#app, frozen, { args: [], ids, ancestor: message });
    await publisher.publishMany(await begin(this.#app, results, all));
    currentRunning()?.children.push(...all.launched.map(toTuple));
    return this.#app.result<R>(idOf(frozen));
  }

  /** The retries that were asked for with `throw: false` since the last call; `undefined` for none. */
  takeBesides(): readonly Again[] | undefined {
    const besides = this.#besides;
    this.#besides = undefined;
    return besides;
  }

  /** What a retry of this run changes in its message. */
  changesOf(retry: Retry): RetryChanges | undefined {
    return this.#changes?.get(retry);
  }

  /** What this run said of `maxRetries` holds for its automatic retry too, else the task's. */
  #retryLimit({ maxRetries = this.#maxRetries }: RetryOptions): number {
    const limit = maxRetries === undefined ? taskOption(this.#definition.options, 'maxRetries') : maxRetries;
    return limit ?? Number.POSITIVE_INFINITY;
  }

  async updateState(state: string, meta?: unknown): Promise<void> {
    if (typeof state !== 'string' || state === '')
      throw new ConfigError(`updateState: expected the name of a state, got ${JSON.stringify(state)}`);
    const results = await this.#app.results();
    if (!results.backend || this.#run.message.ignoreResult) return;
    await results.store({ taskId: this.#run.message.id, state, result: meta ?? null, children: [] });
  }

  async checkpoint(state: unknown): Promise<void> {
    await this.#ownCheckpoints().save(state);
  }

  async lastCheckpoint<State>(): Promise<State | undefined> {
    // What the run before has left is of the type that it says; nobody can check that here.
    return (await this.#ownCheckpoints().last()) as State | undefined;
  }

  /** To be called with what comes of the run: it sees to the checkpoints, where there are any. */
  end(outcome: Outcome): Outcome | Promise<Outcome> {
    return this.#checkpoints ? this.#checkpoints.end(outcome) : outcome;
  }

  #ownCheckpoints(): Checkpoints {
    this.#checkpoints ??= new Checkpoints(this.#app, this.#run.message.id, this.signal);
    return this.#checkpoints;
  }
}
