import { hostname } from 'node:os';
import { stamped, withStamps } from '../../canvas/stamps.ts';
import { wireSignatures } from '../../canvas/wire-options.ts';
import { ArgumentsError, ConfigError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { Config } from '../config.ts';
import { currentRunning } from '../tasks/current-task.ts';
import { keyOf } from '../tasks/limits.ts';
import { type CallOptions, checkTimeLimits, type TaskOptions } from '../tasks/task-options.ts';
import type { Router } from './router.ts';

/** A task message with all that its way to the broker needs. */
export interface Prepared {
  readonly queue: string;
  readonly message: TaskMessage;
  readonly delayMs: number;
  readonly serializer: string;
  readonly compression: string | undefined;
  /** What its place in an order depends on. */
  readonly groupKey?: string | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Name of this process on messages, as Celery's `origin`. */
export const origin = `gen${process.pid}@${hostname()}`;
const replyTo = newId();
const none: Readonly<Record<string, never>> = Object.freeze({});

/** Turns calls into messages: routes them, fixes ids and instants, and ties them to the task that makes the call. */
export class Preparer {
  readonly #config: Config;
  readonly #router: Router;

  constructor(config: Config, router: Router) {
    this.#config = config;
    this.#router = router;
  }

  /** Queue and priority of a call. */
  route: Router['route'] = (task, options, own) => this.#router.route(task, options, own);

  /** `options` are checked by the caller, once for many calls. */
  call(task: string, args: readonly unknown[], options: CallOptions, own: TaskOptions | undefined): Prepared {
    if (!Array.isArray(args)) throw new ArgumentsError(`arguments of ${task}: expected a list, got ${typeof args}`);
    if (options.countdown !== undefined && options.eta !== undefined) {
      throw new ConfigError(`${task}: give either countdown or eta, not both`);
    }
    const { queue, priority } = this.#router.route(task, options, own);
    const now = Date.now();
    const parent = currentRunning();
    const id = options.taskId ?? newId();
    const message: Mutable<TaskMessage> = {
      task,
      id,
      args,
      kwargs: options.kwargs ?? none,
      lang: 'ts',
      retries: 0,
      rootId: parent?.message.rootId ?? id,
      ignoreResult: options.ignoreResult ?? own?.ignoreResult ?? this.#config.taskIgnoreResult,
      replacedTaskNesting: 0,
      headers: options.headers ?? none,
      replyTo,
      priority,
      origin,
    };
    if (parent) message.parentId = parent.message.id;
    const stamps = withStamps(options.stamps, parent?.message.stamps);
    if (stamps && Object.keys(stamps).length > 0) {
      message.stamps = stamps;
      message.stampedHeaders = Object.keys(stamps);
    }
    const delayMs = setTimes(message, options, own, now);
    const { timeLimit = own?.timeLimit, softTimeLimit = own?.softTimeLimit } = options;
    checkTimeLimits(task, { timeLimit, softTimeLimit });
    if (options.timeLimit !== undefined) message.timeLimit = options.timeLimit;
    if (options.softTimeLimit !== undefined) message.softTimeLimit = options.softTimeLimit;
    if (options.shadow !== undefined) message.shadow = options.shadow;
    if (options.argsRepr !== undefined) message.argsRepr = options.argsRepr;
    if (options.kwargsRepr !== undefined) message.kwargsRepr = options.kwargsRepr;
    if (options.link) message.link = wireSignatures(options.link).map((one) => stamped(one, stamps));
    if (options.linkError) message.linkError = wireSignatures(options.linkError).map((one) => stamped(one, stamps));
    return {
      queue,
      message,
      delayMs,
      serializer: options.serializer ?? own?.serializer ?? this.#config.taskSerializer,
      compression: options.compression ?? own?.compression ?? this.#config.taskCompression,
      groupKey: options.orderingKey ?? orderingKey(task, args, own),
    };
  }
}

/** The key of the order in which a call of a task stands; `undefined` where the task has none. */
export function orderingKey(
  task: string,
  args: readonly unknown[],
  own: Pick<TaskOptions, 'ordering'> | undefined,
): string | undefined {
  return own?.ordering && keyOf(own.ordering.key, args, `option 'ordering' of ${task}`);
}

/** Sets eta and expires; returns how long the message is to be kept back. */
function setTimes(
  message: Mutable<TaskMessage>,
  options: CallOptions,
  own: TaskOptions | undefined,
  now: number,
): number {
  const expires = options.expires ?? own?.expires;
  if (expires !== undefined) message.expires = typeof expires === 'number' ? now + expires * 1000 : expires.getTime();
  if (options.countdown === undefined && options.eta === undefined) return 0;
  const eta = options.eta === undefined ? now + (options.countdown ?? 0) * 1000 : Number(options.eta);
  message.eta = eta;
  return Math.max(0, eta - now);
}
