import type { TaskHost } from '../../app/host.ts';
import { type Running, runAs, type TaskRequest } from '../../app/tasks/current-task.ts';
import type { TaskDefinition } from '../../app/tasks/task.ts';
import {
  Ignore,
  LeaseLostError,
  Reject,
  Replaced,
  Retry,
  RetryAfter,
  Snooze,
  WorkerShutdownError,
} from '../../errors.ts';
import { type ResultTuple, toTuple } from '../../wire/result-tuple.ts';
import type { Outcome, Run } from '../outcome.ts';
import { type Again, again } from '../settling/follow-ups.ts';
import { definitionOf } from './builtin-tasks.ts';
import { WorkerContext } from './context.ts';
import { runAfter, runBefore } from './hooks.ts';
import { autoretry, isAutoretried } from './retry.ts';

/** A run that has begun. */
interface Begun {
  readonly run: Run;
  readonly definition: TaskDefinition;
  readonly context: WorkerContext;
  readonly children: ResultTuple[];
  readonly signal: AbortSignal;
}

const never = new AbortController().signal;

/** Runs task bodies: arguments, context, hooks, retries, and what an error means. It never throws. */
export class Executor {
  readonly #app: TaskHost;
  readonly #hostname: string;

  constructor(app: TaskHost, hostname: string) {
    this.#app = app;
    this.#hostname = hostname;
  }

  /** Returns the outcome at once where the body is synchronous, so that short tasks cost no turn of the event loop. */
  run(run: Run, signal: AbortSignal): Outcome | Promise<Outcome> {
    const definition = definitionOf(this.#app, run.message.task);
    if (!definition) return { kind: 'release' };
    const context = new WorkerContext(this.#app, definition, run, signal, this.#hostname);
    const running: Running = { context, message: run.message, children: [] };
    const begun: Begun = { run, definition, context, children: running.children, signal };
    if (definition.hooks.length > 0) return runAs(running, () => this.#hooked(begun));
    const failed = (error: unknown) => this.#finish(begun, this.#failed(error, begun));
    const ended = (value: unknown) => this.#finish(begun, this.#ended(value, begun));
    try {
      const value = runAs(running, () => this.#body(begun));
      return value instanceof Promise
        ? value.then(ended).catch(failed)
        : isThenable(value)
          ? Promise.resolve(value).then(ended, failed)
          : ended(value);
    } catch (error) {
      return failed(error);
    }
  }

  /**
   * What becomes of a run that was ended from outside, by its time limit or by the death of its process: it fails, or is
   * tried again where `autoretryFor` names that very class. `Error` does not stand for it: what hangs once may always hang.
   */
  stopped(run: Run, error: Error): Outcome {
    const definition = definitionOf(this.#app, run.message.task);
    const names = definition?.options.autoretryFor?.some((one) => one === error.constructor);
    if (!definition || !names) return { kind: 'failure', error, children: [] };
    const context = new WorkerContext(this.#app, definition, run, never, this.#hostname);
    return this.#failed(error, { run, definition, context, children: [], signal: never });
  }

  /** The same with hooks around the body; they are awaited, so this is never done at once. */
  async #hooked(begun: Begun): Promise<Outcome> {
    const { run, definition, context } = begun;
    let outcome: Outcome;
    try {
      if (this.#tracks(begun)) await this.#started(run, context.request);
      await runBefore(definition.hooks, context);
      outcome = await this.#readable(begun, this.#ended(await this.#call(begun), begun));
    } catch (error) {
      outcome = this.#failed(error, begun);
    }
    outcome = await this.#close(begun, outcome);
    await runAfter(definition.hooks, context, outcome, this.#app.logger);
    // A hook may have asked for one more run.
    return this.#finish(begun, outcome);
  }

  /** The last steps of a run, the same for all. */
  #finish(begun: Begun, outcome: Outcome): Outcome | Promise<Outcome> {
    const closed = this.#close(begun, outcome);
    const { context } = begun;
    return closed instanceof Promise ? closed.then((last) => context.end(last)) : context.end(closed);
  }

  #body(begun: Begun): unknown {
    if (!this.#tracks(begun)) return this.#call(begun);
    const { run, context } = begun;
    return Promise.all([this.#bind(begun), this.#started(run, context.request)]).then(([args]) =>
      this.#apply(begun, args),
    );
  }

  #call(begun: Begun): unknown {
    const args = this.#bind(begun);
    return args instanceof Promise ? args.then((bound) => this.#apply(begun, bound)) : this.#apply(begun, args);
  }

  #bind({ run: { message }, definition }: Begun): readonly unknown[] | Promise<readonly unknown[]> {
    // TypeScript callers have had their arguments checked by the compiler; others have not.
    return definition.bind(message.args, message.kwargs, message.lang !== 'ts');
  }

  #apply({ definition, context }: Begun, args: readonly unknown[]): unknown {
    if (!definition.options.bind) return definition.fn(...args);
    return definition.fn(definition.self ? definition.self() : context, ...args);
  }

  /** Of a task that runs once people want to know whether it does now. An ECS task says RUNNING by itself. */
  #tracks({ run, definition: { options } }: Begun): boolean {
    if (run.message.ignoreResult) return false;
    return options.trackStarted ?? ((options.once && options.runOn === undefined) || this.#app.config.taskTrackStarted);
  }

  async #started({ message }: Run, request: TaskRequest): Promise<void> {
    const results = await this.#app.results();
    if (!results.backend) return;
    const result = { pid: process.pid, hostname: request.hostname };
    try {
      await results.store({ taskId: message.id, state: 'STARTED', result, children: [] });
    } catch (error) {
      // It is a note for those who watch; the task itself does not hang on it.
      this.#app.logger.warn({ task: message.task, id: message.id, error }, 'STARTED could not be stored');
    }
  }

  #ended(value: unknown, { signal, children }: Begun): Outcome {
    // Somebody else has the message now, and its result will count.
    if (signal.reason instanceof LeaseLostError) return { kind: 'release' };
    return { kind: 'success', value, children };
  }

  /** A value that cannot be written is the failure of its task; its hooks are to hear of that, not of a success. */
  async #readable({ run: { message }, children }: Begun, outcome: Outcome): Promise<Outcome> {
    if (outcome.kind !== 'success' || message.ignoreResult) return outcome;
    const results = await this.#app.results();
    if (!results.backend) return outcome;
    try {
      results.encode({ taskId: message.id, state: 'SUCCESS', result: outcome.value, children: [] });
      return outcome;
    } catch (error) {
      return { kind: 'failure', error, children };
    }
  }

  #failed(error: unknown, begun: Begun): Outcome {
    const { run, definition, context, children, signal } = begun;
    if (error instanceof Retry) return retryOutcome(error, begun);
    if (error instanceof Snooze) return { kind: 'retry', error, dueAt: error.dueAt, children, snoozed: true };
    if (error instanceof Replaced) return { kind: 'replace', signature: error.signature, args: error.args };
    if (error instanceof Ignore) return { kind: 'ignore' };
    if (error instanceof Reject) return { kind: 'reject', reason: error.message, requeue: error.requeue };
    const stopped =
      signal.aborted && (signal.reason instanceof WorkerShutdownError || signal.reason instanceof LeaseLostError);
    if (stopped) return { kind: 'release' };
    try {
      if (error instanceof RetryAfter) context.retry({ error: error.cause, eta: error.dueAt });
      if (isAutoretried(error, definition)) context.retry(autoretry(error, definition, run.message.retries));
    } catch (thrown) {
      if (thrown instanceof Retry) return retryOutcome(thrown, begun, error);
      // No retries are left.
      if (error instanceof RetryAfter) return { kind: 'failure', error: thrown, children };
    }
    return { kind: 'failure', error, children };
  }

  /** Sends what was retried with `throw: false`: it runs besides, however this run ended. */
  #close(begun: Begun, outcome: Outcome): Outcome | Promise<Outcome> {
    const besides = begun.context.takeBesides();
    if (!besides || outcome.kind === 'release') return outcome;
    return this.#sendBesides(begun, besides).then(
      () => outcome,
      (error: unknown) => ({ kind: 'failure', error, children: begun.children }),
    );
  }

  async #sendBesides({ run, children }: Begun, besides: readonly Again[]): Promise<void> {
    const { publisher } = await this.#app.connections();
    await publisher.publishMany(besides.map((one) => again(this.#app, run.message, run.queue, one)));
    children.push(toTuple({ id: run.message.id }));
  }
}

function retryOutcome(retry: Retry, { context, children }: Begun, error: unknown = retry.cause ?? retry): Outcome {
  const changes = context.changesOf(retry);
  return { kind: 'retry', error, dueAt: retry.dueAt, children, ...(changes && { changes }) };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
