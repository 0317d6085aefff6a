import type { CallOptions } from '../app/task-options.ts';
import { ConfigError } from '../errors.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { Canvas, type Sent, type SignatureSender, type Taking } from './canvas.ts';
import { toWireOptions } from './wire-options.ts';
import { chainOf, kindOf, tasksOf, upgraded, withOptions } from './wire-tree.ts';

/** Steps, each of which gets the result of the one before in front of its own arguments. */
export class Chain<
  in Rest extends readonly unknown[] = never,
  out R = unknown,
  out As extends Sent = Sent,
> extends Canvas<Rest, R, As> {
  readonly steps: readonly Canvas[];

  constructor(sender: SignatureSender, steps: readonly Canvas[], options: CallOptions = {}) {
    super(sender, options);
    this.steps = steps;
  }

  protected override withOptions(options: CallOptions): this {
    return new Chain(this.sender, this.steps, options) as this;
  }

  /** A group with a step after it is written as a chord, and a chain in it step by step, as Celery writes them. */
  override toWire(): WireSignature {
    return chainOf(upgraded(this.steps.map((step) => step.toWire()).flatMap(unchained)), toWireOptions(this.options));
  }
}

/** A chain without options of its own is its steps. */
function unchained(step: WireSignature): readonly WireSignature[] {
  if (kindOf(step) !== 'chain') return [step];
  const { link_error: errors, ...rest } = step.options;
  if (Object.keys(rest).length > 0) return [step];
  return tasksOf(step).map((one) => withOptions(one, { link_error: errors }));
}

/**
 * Puts a chain together: `await chain(add.s(1, 2), double.s()).delay()`. A step must take what the step before gives, or
 * nothing; a group gives the list of its results. The result is that of the last step; `result.parent` is the one before.
 * @throws ConfigError for what are no signatures, or none at all
 */
export const chain = ((...steps: readonly Canvas[]): Chain => {
  const wrong = steps.findIndex((step) => !(step instanceof Canvas));
  if (wrong >= 0)
    throw new ConfigError(
      `chain: expected signatures, such as add.s(1, 2), got ${typeof steps[wrong]} at index ${wrong}`,
    );
  const [first] = steps;
  if (!first) throw new ConfigError('chain: expected at least one signature; a chain without steps has no result');
  return new Chain(first.sender, steps);
}) as unknown as ChainMaker;

/** As many steps as there are here are checked one by one; a chain may have chains as steps. */
interface ChainMaker {
  <A extends readonly unknown[], R1, H extends Sent>(s1: Canvas<A, R1, H>): Chain<A, R1, H>;
  <A extends readonly unknown[], R1, R2, H extends Sent>(s1: Canvas<A, R1>, s2: Taking<R1, R2, H>): Chain<A, R2, H>;
  <A extends readonly unknown[], R1, R2, R3, H extends Sent>(
    s1: Canvas<A, R1>,
    s2: Taking<R1, R2>,
    s3: Taking<R2, R3, H>,
  ): Chain<A, R3, H>;
  <A extends readonly unknown[], R1, R2, R3, R4, H extends Sent>(
    s1: Canvas<A, R1>,
    s2: Taking<R1, R2>,
    s3: Taking<R2, R3>,
    s4: Taking<R3, R4, H>,
  ): Chain<A, R4, H>;
  <A extends readonly unknown[], R1, R2, R3, R4, R5, H extends Sent>(
    s1: Canvas<A, R1>,
    s2: Taking<R1, R2>,
    s3: Taking<R2, R3>,
    s4: Taking<R3, R4>,
    s5: Taking<R4, R5, H>,
  ): Chain<A, R5, H>;
  <A extends readonly unknown[], R1, R2, R3, R4, R5, R6, H extends Sent>(
    s1: Canvas<A, R1>,
    s2: Taking<R1, R2>,
    s3: Taking<R2, R3>,
    s4: Taking<R3, R4>,
    s5: Taking<R4, R5>,
    s6: Taking<R5, R6, H>,
  ): Chain<A, R6, H>;
  /** Any number of steps that all take and give one type. */
  <T, H extends Sent>(...steps: readonly Taking<T, T, H>[]): Chain<[T], T, H>;
}
