import { emptyGroup, type GroupResult } from '../app/results/group-result.ts';
import type { CallOptions, EagerOptions } from '../app/tasks/task-options.ts';
import { ConfigError } from '../errors.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { Canvas, type Sent, type SignatureSender, senderOf } from './canvas.ts';
import { stamped } from './stamps.ts';
import { toWireOptions } from './wire-options.ts';
import { groupOf, withOptions } from './wire-tree.ts';

/** The results of members, one by one; groups among them count with their own members. */
export type ResultsOfAll<Members extends readonly unknown[]> = number extends Members['length']
  ? Members[number] extends infer M
    ? ResultOfOne<M>[]
    : never
  : Members extends readonly [infer First, ...infer More]
    ? First extends Group<never, infer Values>
      ? [...Values, ...ResultsOfAll<More>]
      : [ResultOfOne<First>, ...ResultsOfAll<More>]
    : [];

type ResultOfOne<M> =
  M extends Group<never, infer Values> ? Values[number] : M extends Canvas<never, infer R> ? R : never;

/** The arguments that all members still take. */
export type RestOfAll<Members extends readonly unknown[]> = [Exclude<RestOfOne<Members[number]>, readonly []>] extends [
  never,
]
  ? []
  : Common<Exclude<RestOfOne<Members[number]>, readonly []>>;

export type RestOfOne<M> = M extends { readonly types: (...rest: infer Rest) => unknown } ? Rest : never;
type Common<U> = (U extends unknown ? (one: U) => void : never) extends (
  all: infer All extends readonly unknown[],
) => void
  ? All
  : never;

/** Work that is sent together and runs side by side. */
export class Group<
  in Rest extends readonly unknown[] = never,
  out Values extends readonly unknown[] = readonly unknown[],
> extends Canvas<Rest, Values, GroupResult<Values>> {
  readonly members: readonly Canvas[];

  constructor(sender: SignatureSender, members: readonly Canvas[], options: CallOptions = {}) {
    super(sender, options);
    this.members = members;
  }

  /** The same, with its members starting `step` seconds one after the other, from `start` on and up to `stop`. */
  skew(start = 1, stop = Number.POSITIVE_INFINITY, step = 1): this {
    const members = this.members.map((member, i) => member.set({ countdown: Math.min(start + i * step, stop) }));
    return new Group(this.sender, members, this.options) as unknown as this;
  }

  protected override withOptions(options: CallOptions): this {
    if (options.link !== undefined)
      throw new ConfigError('group: a group has no link, for no task of it is its last; make it the header of a chord');
    return new Group(this.sender, this.members, options) as unknown as this;
  }

  /** Sends all of them in one batch, under one group id. A group without members is over at once, as in Celery. */
  override async applyAsync(rest: Rest, options: CallOptions = {}): Promise<GroupResult<Values>> {
    return (await super.applyAsync(rest, options)) ?? emptyGroup();
  }

  protected override async applied(rest: readonly unknown[], options: EagerOptions): Promise<Sent> {
    return (await super.applied(rest, options)) ?? emptyGroup();
  }

  override toWire(): WireSignature {
    const { link_error: errors, ...options } = toWireOptions(this.options);
    return stamped(
      groupOf(
        this.members.map((member) => withOptions(member.toWire(), { link_error: errors })),
        options,
      ),
    );
  }
}

/**
 * Puts a group together: `await group([add.s(1, 1), greet.s('Ada')]).delay()`. Groups in it are dissolved: their members are
 * its own.
 * @throws ConfigError for what are no signatures
 */
export function group<const Members extends readonly Canvas[]>(
  members: Members,
): Group<RestOfAll<Members>, ResultsOfAll<Members>> {
  const all = checkedMembers(members, 'group');
  return new Group(senderOf(all), all);
}

/** Signatures with the members of groups in place of those. */
export function checkedMembers(members: readonly unknown[], where: string): readonly Canvas[] {
  if (!Array.isArray(members)) throw new ConfigError(`${where}: expected a list of signatures, got ${typeof members}`);
  return members.flatMap((member: unknown, i) => {
    if (member instanceof Group) return member.members.map((one) => one.set(member.options));
    if (member instanceof Canvas) return [member as Canvas];
    throw new ConfigError(`${where}: expected signatures, such as add.s(1, 2), got ${typeof member} at index ${i}`);
  });
}
