import { AsyncLocalStorage } from 'node:async_hooks';
import type { Canvas } from '../../canvas/canvas.ts';
import type { Retry } from '../../errors.ts';
import type { ResultTuple } from '../../wire/result-tuple.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { Logger } from '../logger.ts';
import type { AsyncResult } from '../results/result.ts';
import type { RetryOptions } from './retry-options.ts';

/** The request a task is answering. */
export interface TaskRequest {
  readonly id: string;
  /** The task's registered name. */
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Retries before this run. */
  readonly retries: number;
  /** Deliveries of this message so far, from 1; above 1 a worker before died or lost its lease. 0 where the broker does not know. */
  readonly deliveries: number;
  readonly rootId: string;
  readonly parentId: string | undefined;
  readonly groupId: string | undefined;
  readonly queue: string;
  readonly priority: number;
  readonly eta: Date | undefined;
  readonly expires: Date | undefined;
  /** The worker, such as `celery@host`. */
  readonly hostname: string;
  /** The sender's own headers. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** What all tasks of its workflow are marked with. */
  readonly stamps: Readonly<Record<string, unknown>>;
  /** `gen<pid>@<host>` of the sender. */
  readonly origin: string | undefined;
  readonly lang: string;
  /** It runs here and now, by `apply()` or `taskAlwaysEager`, and not in a worker. */
  readonly isEager: boolean;
}

/** What a bound task gets as its first argument, and `currentTask()` returns. */
export interface TaskContext {
  readonly request: TaskRequest;
  /** Aborted when the task should stop: shutdown, revocation, a lost lease. `signal.reason` is the error that says why. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /**
   * Ends this run and has the task run again later. Write `throw self.retry(...)`; it throws by itself all the same.
   * With `{ throw: false }` this run goes on, ends as it will, and the task runs once more besides.
   * @throws Retry always, or `error` / MaxRetriesExceededError when no retries are left
   */
  retry(options: RetryOptions & { readonly throw: false }): Retry;
  retry(options?: RetryOptions): never;
  /**
   * Ends this run as if it had not been: the task comes back after so many seconds, or at a Date, and no retry is counted.
   * @throws Snooze always
   */
  snooze(when: number | Date): never;
  /**
   * Ends this run and has another signature run in its place: with its id, its chord, its links and the rest of its chain.
   * A group gives the list of its results.
   * @throws Replaced always
   */
  replace(signature: Canvas<[], unknown>): never;
  /**
   * Sends one task more that the chord of this task waits for; its result comes with those of the header. It may be called
   * again in a later run: each call counts once.
   * @throws ConfigError where this task is no member of a chord, or the signature ends in more than one task
   * @throws NotSupportedError where the result backend counts no members of chords
   */
  addToChord<R>(signature: Canvas<[], R>): Promise<AsyncResult<R>>;
  /** Stores a state of the task's own, such as `PROGRESS`, with a value that `AsyncResult.info` shows. */
  updateState(state: string, meta?: unknown): Promise<void>;
  /**
   * Keeps how far the task has come, for its next run: after a shutdown, a crash or a retry. Any value that results may
   * have, up to 64 KiB; a later one replaces it, and the end of the task removes it. May be called at every step: it is
   * stored at most once a second, and when the task is stopped; a crash so costs the last second.
   * @throws ConfigError without a result backend, SerializationError, MessageTooLargeError, LeaseLostError. A store that is
   *   in trouble for the moment is logged only
   */
  checkpoint(state: unknown): Promise<void>;
  /** What an earlier run of this task has kept with `checkpoint()`; `undefined` where there is nothing. */
  lastCheckpoint<State = unknown>(): Promise<State | undefined>;
}

/** What follows a running task around: its context, and what it sends. */
export interface Running {
  readonly context: TaskContext;
  readonly message: TaskMessage;
  readonly children: ResultTuple[];
}

const running = new AsyncLocalStorage<Running | undefined>();

/** Runs `body` as the given task: everything it calls, also later, sees it through `currentTask()`. */
export function runAs<T>(task: Running, body: () => T): T {
  return running.run(task, body);
}

/** Runs `body` as if no task were running here: what it sends is nobody's child. */
export function runOutside<T>(body: () => T): T {
  return running.run(undefined, body);
}

/** The task that is running here, with its record of children; for the core. */
export function currentRunning(): Running | undefined {
  return running.getStore();
}

/** The context of the task that is running here; `undefined` outside of tasks. */
export function currentTask(): TaskContext | undefined {
  return running.getStore()?.context;
}
