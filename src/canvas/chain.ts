import type { CallOptions } from '../app/tasks/task-options.ts';
import { ConfigError } from '../errors.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { Canvas, type Sent, type SignatureSender, senderOf, type Taking } from './canvas.ts';
import type { RestOfOne } from './group.ts';
import { stamped } from './stamps.ts';
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
    const steps = upgraded(this.steps.map((step) => step.toWire()).flatMap(unchained));
    return stamped(chainOf(steps, toWireOptions(this.options)));
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
 * A chain without steps sends nothing and has no result, as in Celery.
 * @throws ConfigError for what are no signatures
 */
export const chain = ((...steps: readonly Canvas[]): Chain => {
  const wrong = steps.findIndex((step) => !(step instanceof Canvas));
  if (wrong >= 0)
    throw new ConfigError(
      `chain: expected signatures, such as add.s(1, 2), got ${typeof steps[wrong]} at index ${wrong}`,
    );
  return new Chain(senderOf(steps), steps);
}) as unknown as ChainMaker;

interface ChainMaker {
  (): Chain<[], undefined, undefined>;
  /** Steps that are checked one by one; a chain may have chains as steps. */
  <Steps extends readonly [Canvas, ...Canvas[]]>(
    ...steps: Steps & Fitting<Steps>
  ): Chain<RestOfOne<Steps[0]>, ResultOf<Last<Steps>>, HandleOf<Last<Steps>>>;
  /** As many steps as there will be, that all take and give one type. */
  <T, H extends Sent>(...steps: readonly Taking<T, T, H>[]): Chain<[T], T, H>;
}

/** The steps as they have to be: each takes what the one before gives, or nothing. */
type Fitting<
  Steps extends readonly unknown[],
  Before = unknown,
  Done extends readonly unknown[] = [],
> = Steps extends readonly [infer Step, ...infer More]
  ? Fitting<More, ResultOf<Step>, [...Done, Done extends readonly [] ? Step : Fit<Step, Before>]>
  : Done;

type Fit<Step, Before> = Step extends Taking<Before> ? Step : Taking<Before>;

type ResultOf<Step> = Step extends Canvas<never, infer R> ? R : never;

type Last<Steps extends readonly unknown[]> = Steps extends readonly [...unknown[], infer Step] ? Step : never;

type HandleOf<Step> = Step extends Canvas<never, unknown, infer As> ? As : never;
