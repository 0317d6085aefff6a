import type { LovageApp } from '../app/app.ts';
import type { RetryOptions, TaskContext, TaskRequest } from '../app/current-task.ts';
import type { Logger } from '../app/logger.ts';
import { type TaskDefinition, taskOption } from '../app/task.ts';
import { ConfigError, MaxRetriesExceededError, Retry } from '../errors.ts';
import { saferepr } from '../wire/saferepr.ts';
import { Checkpoints } from './checkpoints.ts';
import type { Outcome, Run } from './outcome.ts';

/** The context of a task that a worker runs. */
export class WorkerContext implements TaskContext {
  readonly signal: AbortSignal;
  readonly #app: LovageApp;
  readonly #definition: TaskDefinition;
  readonly #run: Run;
  readonly #hostname: string;
  #request: TaskRequest | undefined;
  /** From the first use on: most tasks have none. */
  #checkpoints: Checkpoints | undefined;

  constructor(app: LovageApp, definition: TaskDefinition, run: Run, signal: AbortSignal, hostname: string) {
    this.#app = app;
    this.#definition = definition;
    this.#run = run;
    this.signal = signal;
    this.#hostname = hostname;
  }

  get request(): TaskRequest {
    if (this.#request) return this.#request;
    const { message, queue, attempt } = this.#run;
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
      origin: message.origin,
      lang: message.lang,
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

  retry({ error, countdown, eta, maxRetries }: RetryOptions = {}): never {
    const { message } = this.#run;
    const { options } = this.#definition;
    if (eta !== undefined && Number.isNaN(eta.getTime()))
      throw new ConfigError('retry: expected an eta that is a valid Date');
    if (countdown !== undefined && !(countdown >= 0 && Number.isFinite(countdown)))
      throw new ConfigError(`retry: expected a countdown of 0 or more seconds, got ${countdown}`);
    const limit = maxRetries === undefined ? taskOption(options, 'maxRetries') : maxRetries;
    if (limit !== null && limit !== undefined && message.retries >= limit) {
      if (error !== undefined) throw error;
      const call = `${message.task}[${message.id}] args:${saferepr(message.args)} kwargs:${saferepr(message.kwargs)}`;
      throw new MaxRetriesExceededError(`Can't retry ${call}: it has been retried ${message.retries} times`);
    }
    const delay = countdown ?? taskOption(options, 'defaultRetryDelay') ?? 0;
    const dueAt = eta ? eta.getTime() : Date.now() + delay * 1000;
    throw new Retry(`retry in ${Math.max(0, (dueAt - Date.now()) / 1000).toFixed(1)} s`, dueAt, error);
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
