import type { LovageApp } from '../app/app.ts';
import { type Running, runAs, type TaskRequest } from '../app/current-task.ts';
import { type TaskDefinition, taskOption } from '../app/task.ts';
import { ArgumentsError, Ignore, LeaseLostError, Reject, Retry, WorkerShutdownError } from '../errors.ts';
import { WorkerContext } from './context.ts';
import type { Outcome, Run } from './outcome.ts';

/** Runs task bodies: arguments, context, retries, and what an error means. It never throws. */
export class Executor {
  readonly #app: LovageApp;
  readonly #hostname: string;

  constructor(app: LovageApp, hostname: string) {
    this.#app = app;
    this.#hostname = hostname;
  }

  /** Returns the outcome at once where the body is synchronous, so that short tasks cost no turn of the event loop. */
  run(run: Run, signal: AbortSignal): Outcome | Promise<Outcome> {
    const definition = this.#app.tasks.get(run.message.task);
    if (!definition) return { kind: 'release' };
    const context = new WorkerContext(this.#app, definition, run, signal, this.#hostname);
    const running: Running = { context, message: run.message, children: [] };
    const failed = (error: unknown) => context.end(this.#failed(error, definition, running, signal));
    const ended = (value: unknown): Outcome | Promise<Outcome> => {
      // Somebody else has the message now, and its result will count.
      if (signal.reason instanceof LeaseLostError) return context.end({ kind: 'release' });
      return context.end({ kind: 'success', value, children: running.children });
    };
    try {
      const value = runAs(running, () => this.#body(run, definition, context));
      return value instanceof Promise
        ? value.then(ended).catch(failed)
        : isThenable(value)
          ? Promise.resolve(value).then(ended, failed)
          : ended(value);
    } catch (error) {
      return failed(error);
    }
  }

  #body(run: Run, definition: TaskDefinition, context: WorkerContext): unknown {
    const { message } = run;
    const call = (args: readonly unknown[]) =>
      definition.options.bind ? definition.fn(context, ...args) : definition.fn(...args);
    // TypeScript callers have had their arguments checked by the compiler; others have not.
    const args = definition.bind(message.args, message.kwargs, message.lang !== 'ts');
    const track = definition.options.trackStarted ?? this.#app.config.taskTrackStarted;
    if (!track || message.ignoreResult) return args instanceof Promise ? args.then(call) : call(args);
    return Promise.all([args, this.#started(run, context.request)]).then(([bound]) => call(bound));
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

  #failed(error: unknown, definition: TaskDefinition, running: Running, signal: AbortSignal): Outcome {
    const { children, message } = running;
    if (error instanceof Retry) return { kind: 'retry', error: error.cause ?? error, dueAt: error.dueAt, children };
    if (error instanceof Ignore) return { kind: 'ignore' };
    if (error instanceof Reject) return { kind: 'reject', reason: error.message, requeue: error.requeue };
    const stopped =
      signal.aborted && (signal.reason instanceof WorkerShutdownError || signal.reason instanceof LeaseLostError);
    if (stopped) return { kind: 'release' };
    if (isAutoretried(error, definition)) {
      try {
        running.context.retry({ error, countdown: autoretryDelay(definition, message.retries) });
      } catch (retry) {
        if (retry instanceof Retry) return { kind: 'retry', error, dueAt: retry.dueAt, children };
      }
    }
    return { kind: 'failure', error, children };
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function isAutoretried(error: unknown, { options }: TaskDefinition): boolean {
  // They will not fit the next time either.
  if (error instanceof ArgumentsError) return false;
  const among = (classes: TaskDefinition['options']['throws']) => (classes ?? []).some((c) => error instanceof c);
  return among(options.autoretryFor) && !among(options.dontAutoretryFor);
}

/** Seconds before an automatic retry: Celery's rule, `factor * 2^retries` up to a limit, with full jitter. */
function autoretryDelay({ options }: TaskDefinition, retries: number): number {
  const backoff = taskOption(options, 'retryBackoff');
  if (backoff === false || backoff === undefined) return taskOption(options, 'defaultRetryDelay') ?? 0;
  const full = Math.min(taskOption(options, 'retryBackoffMax') ?? 600, (backoff === true ? 1 : backoff) * 2 ** retries);
  return taskOption(options, 'retryJitter') ? Math.random() * full : full;
}
