import type { Canvas } from '../../canvas/canvas.ts';
import { ConfigError, type Retry } from '../../errors.ts';
import type { LovageApp } from '../app.ts';
import { localContext } from '../local-context.ts';
import type { Logger } from '../logger.ts';
import type { AsyncResult } from '../results/result.ts';
import { currentTask, type TaskContext, type TaskRequest } from './current-task.ts';
import type { TaskHooks } from './hooks.ts';
import type { RetryOptions } from './retry-options.ts';

/** Where an instance belongs. */
interface Place {
  readonly app: LovageApp;
  readonly name: string;
}

let attach: (task: TaskBase, place: Place) => void;

/**
 * A class for tasks, as Celery's `Task`: extend it, and give it as the option `base`. There is one instance for each task
 * in each process, made when the task first runs, so a field of it is a good place for a connection. With `bind: true` the
 * instance is what the body gets as its first argument; `this.request` is always the request of the run that asks.
 * An instance with `Symbol.asyncDispose` or `Symbol.dispose` is disposed of when its worker stops.
 *
 * Options for all its tasks stand in `static options`; those of a parent class hold as well, and those of `app.task` win.
 */
export class TaskBase implements TaskContext {
  #place: Place | undefined;
  #local: TaskContext | undefined;

  static {
    attach = (task, place) => {
      task.#place = place;
    };
  }

  /** The task's name. */
  get name(): string {
    return this.#placed.name;
  }

  get app(): LovageApp {
    return this.#placed.app;
  }

  get request(): TaskRequest {
    return this.#context.request;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get logger(): Logger {
    return this.#context.logger;
  }

  retry(options: RetryOptions & { readonly throw: false }): Retry;
  retry(options?: RetryOptions): never;
  retry(options?: RetryOptions): unknown {
    return this.#context.retry(options);
  }

  snooze(when: number | Date): never {
    return this.#context.snooze(when);
  }

  replace(signature: Canvas<[], unknown>): never {
    return this.#context.replace(signature);
  }

  addToChord<R>(signature: Canvas<[], R>): Promise<AsyncResult<R>> {
    return this.#context.addToChord(signature);
  }

  updateState(state: string, meta?: unknown): Promise<void> {
    return this.#context.updateState(state, meta);
  }

  checkpoint(state: unknown): Promise<void> {
    return this.#context.checkpoint(state);
  }

  lastCheckpoint<State = unknown>(): Promise<State | undefined> {
    return this.#context.lastCheckpoint<State>();
  }

  /** Runs before the body. What it throws counts as thrown by the body. */
  beforeStart(_taskId: string, _args: readonly unknown[], _kwargs: Kwargs): void | Promise<void> {}

  /** Runs when the body has returned a value. */
  onSuccess(_value: unknown, _taskId: string, _args: readonly unknown[], _kwargs: Kwargs): void | Promise<void> {}

  /** Runs when the task has failed and is not tried again. */
  onFailure(_error: unknown, _taskId: string, _args: readonly unknown[], _kwargs: Kwargs): void | Promise<void> {}

  /** Runs when the task is to be retried. */
  onRetry(_error: unknown, _taskId: string, _args: readonly unknown[], _kwargs: Kwargs): void | Promise<void> {}

  /** Runs after a success or a failure; `value` is the return value or the error. */
  afterReturn(
    _state: 'SUCCESS' | 'FAILURE',
    _value: unknown,
    _taskId: string,
    _args: readonly unknown[],
    _kwargs: Kwargs,
  ): void | Promise<void> {}

  get #placed(): Place {
    if (this.#place) return this.#place;
    throw new ConfigError(
      `this ${this.constructor.name} belongs to no task; give the class as the option base of app.task`,
    );
  }

  get #context(): TaskContext {
    const running = currentTask();
    if (running) return running;
    const { app, name } = this.#placed;
    this.#local ??= localContext(name, app.logger);
    return this.#local;
  }
}

type Kwargs = Readonly<Record<string, unknown>>;

/** A class that extends {@link TaskBase}. */
export type TaskClass<Self extends TaskContext = TaskBase> = new () => Self;

/** The instances of task classes in this process, one for each task. */
export class TaskInstances {
  readonly #byTask = new Map<string, TaskBase>();
  readonly #holders = new Set<object>();

  /** Keeps instances for one who runs tasks. */
  hold(holder: object): void {
    this.#holders.add(holder);
  }

  get(place: Place, base: TaskClass): TaskBase {
    const known = this.#byTask.get(place.name);
    if (known) return known;
    const task = new base();
    attach(task, place);
    this.#byTask.set(place.name, task);
    return task;
  }

  /** Returns the instances to dispose of, when nobody holds them any more. */
  release(holder: object): TaskBase[] {
    this.#holders.delete(holder);
    if (this.#holders.size > 0) return [];
    const all = [...this.#byTask.values()];
    this.#byTask.clear();
    return all;
  }
}

/** The hooks that a class overrides; `undefined` where it overrides none, so that its tasks cost nothing more. */
export function classHooks(base: TaskClass, self: () => TaskBase): TaskHooks | undefined {
  const own = (name: keyof TaskBase) => base.prototype[name] !== TaskBase.prototype[name];
  const hooks: TaskHooks = {
    before: own('beforeStart') ? ({ request: r }) => self().beforeStart(r.id, r.args, r.kwargs) : undefined,
    onSuccess: own('onSuccess')
      ? ({ request: r }, value) => self().onSuccess(value, r.id, r.args, r.kwargs)
      : undefined,
    onFailure: own('onFailure')
      ? ({ request: r }, error) => self().onFailure(error, r.id, r.args, r.kwargs)
      : undefined,
    onRetry: own('onRetry') ? ({ request: r }, error) => self().onRetry(error, r.id, r.args, r.kwargs) : undefined,
    after: own('afterReturn')
      ? ({ request: r }, end) => {
          if (end.state === 'SUCCESS') return self().afterReturn(end.state, end.value, r.id, r.args, r.kwargs);
          if (end.state === 'FAILURE') return self().afterReturn(end.state, end.error, r.id, r.args, r.kwargs);
        }
      : undefined,
  };
  return Object.values(hooks).some((hook) => hook !== undefined) ? hooks : undefined;
}
