import type { CallOptions } from '../app/tasks/task-options.ts';
import { ConfigError } from '../errors.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { Canvas, type Sent, type SignatureSender, senderOf, type Taking } from './canvas.ts';
import { checkedMembers, Group, type RestOfAll, type ResultsOfAll } from './group.ts';
import { stamped } from './stamps.ts';
import { toWireOptions } from './wire-options.ts';
import { chordOf, isMap, withOptions } from './wire-tree.ts';

/** How a member of a header has ended, where the body is told of all of them. */
export type MemberEnd<Value = unknown> =
  | { readonly state: 'SUCCESS'; readonly taskId: string; readonly value: Value }
  | { readonly state: 'FAILURE' | 'REVOKED'; readonly taskId: string; readonly type: string; readonly message: string };

/** What a chord does when a member of its header fails: its body fails, too, or it is told how each has ended. */
export type OnMemberFailure = 'fail' | 'collect';

/** The header of a body that is told of failures; a body carries it, so that it survives whoever completes the chord. */
export const collectHeader = 'lovage-collect';

/** A header of work side by side, and a body that runs once, with the list of its results. */
export class Chord<
  in Rest extends readonly unknown[] = never,
  out R = unknown,
  out As extends Sent = Sent,
> extends Canvas<Rest, R, As> {
  readonly header: readonly Canvas[];
  readonly body: Canvas;
  readonly onMemberFailure: OnMemberFailure;

  constructor(
    sender: SignatureSender,
    { header, body, onMemberFailure = 'fail' }: Pick<Chord, 'header' | 'body'> & { onMemberFailure?: OnMemberFailure },
    options: CallOptions = {},
  ) {
    super(sender, options);
    this.header = header;
    this.body = body;
    this.onMemberFailure = onMemberFailure;
  }

  protected override withOptions(options: CallOptions): this {
    return new Chord(this.sender, this, options) as this;
  }

  /** Links and errbacks are those of the body; by `taskAllowErrorCbOnChordHeader` errbacks are those of the header, too. */
  override toWire(): WireSignature {
    const { link, link_error, ...options } = toWireOptions(this.options);
    const body = withOptions(this.body.toWire(), { link, link_error });
    const errors = this.sender.tellsHeaders ? link_error : undefined;
    const header = this.header.map((member) => withOptions(member.toWire(), { link_error: errors }));
    return stamped(chordOf(header, this.onMemberFailure === 'collect' ? collecting(body) : body, options));
  }
}

function collecting(body: WireSignature): WireSignature {
  const { headers } = body.options;
  return withOptions(body, { headers: { ...(isMap(headers) && headers), [collectHeader]: true } });
}

type Settled<Values extends readonly unknown[]> = { -readonly [K in keyof Values]: MemberEnd<Values[K]> };

/**
 * Puts a chord together: `await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay()`. When a member fails, is revoked or
 * expires, the body fails with a ChordError; with `onMemberFailure: 'collect'` it runs, and gets for each member how it has
 * ended ({@link MemberEnd}).
 * @throws ConfigError for what are no signatures
 */
export function chord<const Members extends readonly Canvas[], R, As extends Sent>(
  header: Members | Group<never, readonly unknown[]>,
  body: Taking<Settled<ResultsOfAll<Members>>, R, As>,
  options: { readonly onMemberFailure: 'collect' },
): Chord<RestOfAll<Members>, R, As>;
export function chord<const Members extends readonly Canvas[], R, As extends Sent>(
  header: Members,
  body: Taking<ResultsOfAll<Members>, R, As>,
  options?: { readonly onMemberFailure?: 'fail' },
): Chord<RestOfAll<Members>, R, As>;
export function chord<Rest extends readonly unknown[], Values extends readonly unknown[], R, As extends Sent>(
  header: Group<Rest, Values>,
  body: Taking<Values, R, As>,
  options?: { readonly onMemberFailure?: 'fail' },
): Chord<Rest, R, As>;
export function chord(
  header: readonly Canvas[] | Group,
  body: Canvas,
  { onMemberFailure = 'fail' }: { readonly onMemberFailure?: OnMemberFailure } = {},
): Chord {
  const members = checkedMembers(header instanceof Group ? [header] : header, 'chord');
  if (!(body instanceof Canvas)) throw new ConfigError(`chord: expected a signature as its body, got ${typeof body}`);
  if (onMemberFailure !== 'fail' && onMemberFailure !== 'collect')
    throw new ConfigError(`chord: expected onMemberFailure to be 'fail' or 'collect', got ${String(onMemberFailure)}`);
  return new Chord(senderOf([body, ...members]), { header: members, body, onMemberFailure });
}
