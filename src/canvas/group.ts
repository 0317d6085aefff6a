import { emptyGroup, type GroupResult } from '../app/group-result.ts';
import { ConfigError } from '../errors.ts';
import { Signature } from './signature.ts';

/** The signatures of tasks that return `Values`, one after the other. */
export type SignaturesOf<Values extends readonly unknown[]> = {
  readonly [K in keyof Values]: Signature<[], Values[K]>;
};

/** Tasks that are sent together and run side by side. */
export class Group<out Values extends readonly unknown[] = readonly unknown[]> {
  readonly members: readonly Signature[];

  constructor(members: readonly Signature[]) {
    this.members = members;
  }

  /** Sends all of them in one batch, under one group id. A group without members is over at once, as in Celery. */
  async delay(): Promise<GroupResult<Values>> {
    const [first] = this.members;
    return first ? first.sender.sendGroup(this) : emptyGroup();
  }
}

/**
 * Puts a group together: `await group([add.s(1, 1), greet.s('Ada')]).delay()`.
 * @throws ConfigError for what are no signatures
 */
export function group<const Values extends readonly unknown[]>(members: SignaturesOf<Values>): Group<Values> {
  const given: unknown = members;
  if (!Array.isArray(given)) throw new ConfigError(`group: expected a list of signatures, got ${typeof given}`);
  const wrong = given.findIndex((member) => !(member instanceof Signature));
  if (wrong >= 0)
    throw new ConfigError(
      `group: expected signatures, such as add.s(1, 2), got ${typeof given[wrong]} at index ${wrong}`,
    );
  return new Group<Values>(given as readonly Signature[]);
}
