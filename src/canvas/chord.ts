import type { AsyncResult } from '../app/result.ts';
import { ConfigError } from '../errors.ts';
import type { Signature } from './signature.ts';

/** A header of tasks and a body that runs once, with the list of their results, when all have succeeded. */
export class Chord<out Result = unknown> {
  readonly header: readonly Signature[];
  readonly body: Signature<never, Result>;

  constructor(header: readonly Signature[], body: Signature<never, Result>) {
    this.header = header;
    this.body = body;
  }

  /**
   * Sends the header; the result is that of the body. If a member fails, so does the body, with a ChordError.
   * @throws ConfigError where the result backend cannot count members, or a member's result is ignored
   */
  delay(): Promise<AsyncResult<Result>> {
    return this.body.sender.sendChord(this.header, this.body);
  }
}

/** Puts a chord together: `await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay()`. */
export function chord<Member, Result>(
  header: readonly Signature<[], Member>[],
  body: Signature<[Member[]], Result> | Signature<[], Result>,
): Chord<Result> {
  if (!Array.isArray(header)) throw new ConfigError(`chord: expected a list of signatures first, got ${typeof header}`);
  return new Chord(header as readonly Signature[], body as Signature<never, Result>);
}
