import type { GroupResult } from '../app/group-result.ts';
import type { AsyncResult } from '../app/result.ts';
import type { CallOptions, Sendable } from '../app/task-options.ts';
import { ConfigError } from '../errors.ts';
import type { WireSignature } from '../wire/task-message.ts';
import type { Group } from './group.ts';

/** Who can send a signature; an app. */
export interface SignatureSender {
  sendSignature<R>(
    signature: Signature<never, R>,
    args: readonly unknown[],
    options: CallOptions,
  ): Promise<AsyncResult<R>>;
  sendGroup<Values extends readonly unknown[]>(group: Group<Values>): Promise<GroupResult<Values>>;
  sendChord<R>(header: readonly Signature[], body: Signature<never, R>): Promise<AsyncResult<R>>;
}

/**
 * A call that has not been made: a task name, (some of) its arguments and how to send it. `Rest` are the arguments
 * still to come, which are put in front of its own, as Celery does.
 */
export class Signature<in Rest extends readonly unknown[] = never, out R = unknown> {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly options: CallOptions;
  /** Takes no results of tasks before it. */
  readonly immutable: boolean;
  /** @internal */
  readonly sender: SignatureSender;

  constructor(
    sender: SignatureSender,
    task: string,
    args: readonly unknown[],
    options: CallOptions = {},
    immutable = false,
  ) {
    this.sender = sender;
    this.task = task;
    this.args = args;
    this.options = options;
    this.immutable = immutable;
  }

  /** The same call with other options. */
  set(options: CallOptions): Signature<Rest, R> {
    return new Signature(this.sender, this.task, this.args, { ...this.options, ...options }, this.immutable);
  }

  /** The same call, and `callback` with its result when it succeeds. */
  link(callback: Signature<[R]> | Signature<[]>): Signature<Rest, R> {
    return this.set({ link: [...[this.options.link ?? []].flat(), callback] });
  }

  /** The same call, and `errback` with its id when it fails. */
  linkError(errback: Signature<[string]> | Signature<[]>): Signature<Rest, R> {
    return this.set({ linkError: [...[this.options.linkError ?? []].flat(), errback] });
  }

  /** Sends it, with the missing arguments. */
  delay(...rest: Rest): Promise<AsyncResult<R>> {
    return this.applyAsync(rest);
  }

  /** Sends it, with the missing arguments and more options. */
  applyAsync(rest: Rest, options: CallOptions = {}): Promise<AsyncResult<R>> {
    const args = this.immutable ? this.args : [...rest, ...this.args];
    return this.sender.sendSignature(this as Signature<never, R>, args, { ...this.options, ...options });
  }

  /** Celery's six-key map of it (wire SPEC 7.1). */
  toWire(): WireSignature {
    return {
      task: this.task,
      args: this.args,
      kwargs: this.options.kwargs ?? {},
      options: wireOptions(this.options),
      subtask_type: null,
      immutable: this.immutable,
    };
  }
}

/** Options under Celery's names. */
function wireOptions(options: CallOptions): Record<string, unknown> {
  const iso = (value: Date | number) => new Date(value).toISOString().replace('Z', '+00:00');
  const signatures = (value: Sendable | readonly Sendable[]) => [value].flat().map((s) => s.toWire());
  const wire: Record<string, unknown> = {};
  const put = <T>(name: string, value: T | undefined, write: (value: T) => unknown = (v) => v) => {
    if (value !== undefined) wire[name] = write(value);
  };
  put('task_id', options.taskId);
  put('countdown', options.countdown);
  put('eta', options.eta, iso);
  put('expires', options.expires, (v) => (typeof v === 'number' ? v : iso(v)));
  put('queue', options.queue);
  put('priority', options.priority);
  put('link', options.link, signatures);
  put('link_error', options.linkError, signatures);
  put('headers', options.headers);
  put('ignore_result', options.ignoreResult);
  put('serializer', options.serializer);
  put('compression', options.compression);
  put('shadow', options.shadow);
  if (options.signal)
    throw new ConfigError("a signature cannot carry the option 'signal': it is not part of a message");
  return wire;
}
