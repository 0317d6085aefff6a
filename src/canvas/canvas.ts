import type { GroupResult } from '../app/results/group-result.ts';
import type { AsyncResult } from '../app/results/result.ts';
import { type CallOptions, callOptionTable, type EagerOptions, type Sendable } from '../app/tasks/task-options.ts';
import { ConfigError } from '../errors.ts';
import { checkOptions } from '../util/options.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { withStamps } from './stamps.ts';

/** What sending a signature gives: a handle on one result, or on those of a group. */
export type Sent = AsyncResult | GroupResult | undefined;

/** Who can send signatures; an app. */
export interface SignatureSender {
  sendSignature<R>(
    signature: Sendable & { readonly task: string },
    args: readonly unknown[],
    options: CallOptions,
  ): Promise<AsyncResult<R>>;
  sendCanvas(canvas: Sendable, args: readonly unknown[], options: CallOptions): Promise<Sent>;
  /** Runs a signature here and now. */
  applyCanvas(canvas: Sendable, args: readonly unknown[], options: EagerOptions): Promise<Sent>;
  /** Errbacks of a chord are those of its header, too (`taskAllowErrorCbOnChordHeader`). */
  readonly tellsHeaders: boolean;
}

/** Options with others in their place, and stamps besides those that are there. */
export function withMore(options: CallOptions, more: CallOptions): CallOptions {
  const stamps = withStamps(more.stamps, options.stamps);
  return { ...options, ...more, ...(stamps && { stamps }) };
}

/** Who sends wholes in which there is nothing to send. */
const nobody: SignatureSender = {
  sendSignature: () => Promise.reject(new ConfigError('there is no signature here to send')),
  sendCanvas: () => Promise.resolve(undefined),
  applyCanvas: () => Promise.resolve(undefined),
  tellsHeaders: false,
};

/** Who sends a whole: who sends its parts. */
export function senderOf(parts: readonly Canvas[]): SignatureSender {
  return parts.find(({ sender }) => sender !== nobody)?.sender ?? nobody;
}

/** A signature that takes the result `In`, or none (`si`, or all arguments given). */
export type Taking<In, Out = unknown, As extends Sent = Sent> = Canvas<[In], Out, As> | Canvas<[], Out, As>;

/**
 * Work that has not been sent: a task's signature, a chain, a group or a chord. `Rest` are the arguments that are still to
 * come, such as the result of the step before; `R` is what comes of it, and `As` the handle on that. A canvas never
 * changes: its methods give another one.
 */
export abstract class Canvas<in Rest extends readonly unknown[] = never, out R = unknown, out As extends Sent = Sent>
  implements Sendable
{
  readonly options: CallOptions;
  /** @internal */
  readonly sender: SignatureSender;
  /** For the compiler only. */
  declare readonly types: ((...rest: Rest) => R) & { readonly as?: As };

  /** @throws ConfigError for an option that does not exist, or a wrong value of one */
  constructor(sender: SignatureSender, options: CallOptions) {
    if (Object.keys(options).length > 0) checkOptions(callOptionTable, options, 'a signature');
    this.sender = sender;
    this.options = options;
  }

  /** Celery's six-key map of it (wire SPEC 7.1). */
  abstract toWire(): WireSignature;

  protected abstract withOptions(options: CallOptions): this;

  /** The same with other options; stamps add up. */
  set(options: CallOptions): this {
    return this.withOptions(withMore(this.options, options));
  }

  /** The same, and `callback` with its result when it succeeds. */
  link(callback: Taking<R>): this {
    return this.set({ link: [...[this.options.link ?? []].flat(), callback] });
  }

  /**
   * The same, and `errback` when it fails. An errback of one parameter is sent as a task with the id of what failed; one of
   * three or two gets the request, the error and its traceback, in the worker where that happened.
   */
  linkError(errback: Errback): this {
    return this.set({ linkError: [...[this.options.linkError ?? []].flat(), errback] });
  }

  /** Celery's other name for {@link linkError}. */
  onError(errback: Errback): this {
    return this.linkError(errback);
  }

  /** Sends it, with the arguments that are missing. */
  delay(...rest: Rest): Promise<As> {
    return this.applyAsync(rest);
  }

  /** Sends it, with the arguments that are missing and more options. */
  async applyAsync(rest: Rest, options: CallOptions = {}): Promise<As> {
    return (await this.sender.sendCanvas(this, rest, options)) as As;
  }

  /**
   * Runs it here and now, in this process, without a broker or a worker, and resolves when all of it has ended: retries at
   * once, links and errbacks included. The handle has what came of it.
   * @throws NotRegisteredError where the code of a task is not here; with `throw` what the first task that failed threw
   */
  apply(this: Canvas<[], unknown>): Promise<As>;
  apply(rest: Rest, options?: EagerOptions): Promise<As>;
  async apply(rest: readonly unknown[] = [], options: EagerOptions = {}): Promise<As> {
    return (await this.applied(rest, options)) as As;
  }

  protected applied(rest: readonly unknown[], options: EagerOptions): Promise<Sent> {
    return this.sender.applyCanvas(this, rest, options);
  }
}

/** What is told of a failure, in either calling convention. */
export type Errback =
  | Canvas<[taskId: string], unknown>
  | Canvas<[request: FailedRequest, error: unknown], unknown>
  | Canvas<[request: FailedRequest, error: unknown, traceback: string | undefined], unknown>
  | Canvas<[], unknown>;

/** Which task failed, for errbacks that ask for more than its id. */
export interface FailedRequest {
  readonly id: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly retries: number;
  readonly rootId: string;
  readonly parentId: string | undefined;
  readonly groupId: string | undefined;
}
