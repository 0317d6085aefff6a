import { eagerParts } from '../app/eager.ts';
import type { AsyncResult } from '../app/results/result.ts';
import type { CallOptions, EagerOptions } from '../app/tasks/task-options.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { Canvas, type Sent, type SignatureSender, withMore } from './canvas.ts';
import { stamped, withStamps } from './stamps.ts';
import { toWireOptions } from './wire-options.ts';

/** What of a signature is not in its options. */
interface Shape {
  readonly immutable?: boolean;
  /** Options and keys off the wire that have no name here; they are written again as they came. */
  readonly foreign?: Readonly<Record<string, unknown>>;
  readonly extra?: Readonly<Record<string, unknown>>;
}

/**
 * A call that has not been made: a task name, (some of) its arguments and how to send it. `Rest` are the arguments
 * still to come, which are put in front of its own, as Celery does.
 */
export class Signature<in Rest extends readonly unknown[] = never, out R = unknown> extends Canvas<
  Rest,
  R,
  AsyncResult<R>
> {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly #shape: Shape;

  constructor(
    sender: SignatureSender,
    task: string,
    args: readonly unknown[],
    options: CallOptions = {},
    shape: Shape = {},
  ) {
    super(sender, options);
    this.task = task;
    this.args = args;
    this.#shape = shape;
  }

  /** Takes no results of tasks before it. */
  get immutable(): boolean {
    return this.#shape.immutable ?? false;
  }

  /** The same call with more arguments in front of its own, and more options. */
  clone(args: readonly unknown[] = [], options: CallOptions = {}): Signature<Rest, R> {
    const kwargs = options.kwargs && { ...this.options.kwargs, ...options.kwargs };
    const all = { ...withMore(this.options, options), ...(kwargs && { kwargs }) };
    return new Signature(
      this.sender,
      this.task,
      this.immutable ? this.args : [...args, ...this.args],
      all,
      this.#shape,
    );
  }

  /** The same task, with other arguments or options in place of its own. */
  replace({ args = this.args, ...options }: { readonly args?: readonly unknown[] } & CallOptions): Signature<Rest, R> {
    const all = Object.keys(options).length > 0 ? options : this.options;
    return new Signature(this.sender, this.task, args, all, this.#shape);
  }

  protected override withOptions(options: CallOptions): this {
    return new Signature(this.sender, this.task, this.args, options, this.#shape) as this;
  }

  override applyAsync(rest: Rest, options: CallOptions = {}): Promise<AsyncResult<R>> {
    const args = this.immutable ? this.args : [...rest, ...this.args];
    return this.sender.sendSignature<R>(this, args, this.#sentWith(options));
  }

  protected override applied(rest: readonly unknown[], options: EagerOptions): Promise<Sent> {
    const { own, run } = eagerParts(this.#sentWith(options));
    const whole = new Signature(this.sender, this.task, this.args, own, this.#shape);
    return this.sender.applyCanvas(whole, rest, run);
  }

  /** Its options with others in their place. Its own stamps stay, as in Celery. */
  #sentWith<More extends CallOptions>(options: More): CallOptions & More {
    const stamps = withStamps(this.options.stamps, options.stamps);
    return { ...this.options, ...options, ...(stamps && { stamps }) };
  }

  override toWire(): WireSignature {
    const { immutable = false, foreign, extra } = this.#shape;
    return stamped({
      ...extra,
      task: this.task,
      args: this.args,
      kwargs: this.options.kwargs ?? {},
      options: { ...foreign, ...toWireOptions(this.options) },
      subtask_type: null,
      immutable,
    });
  }
}
