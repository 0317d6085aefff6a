import type { Delivery } from '../../contracts/message.ts';
import { ConfigError } from '../../errors.ts';
import { deliveryOf, type Taken } from './messages.ts';
import { isPointer, type SqsPayloads } from './payloads.ts';
import type { Held, SqsSettling } from './settling.ts';

const NO_STORE =
  'the body of this message lies in a store for large payloads, and this broker has none: give its option payloadStore';

/** What one answer of SQS comes to. */
export interface Sorted {
  /** There to be taken. */
  readonly ready: readonly { readonly held: Held; readonly delivery: Delivery }[];
  /** Not due. */
  readonly early: readonly Held[];
  /** No messages of ours, each with the reason. */
  readonly unreadable: readonly { readonly held: Held; readonly reason: string }[];
}

/** Looks at what was received before anybody gets it. */
export class SqsArrivals {
  readonly #settling: SqsSettling;
  readonly #payloads: SqsPayloads | undefined;

  constructor(settling: SqsSettling, payloads: SqsPayloads | undefined) {
    this.#settling = settling;
    this.#payloads = payloads;
  }

  /** `name` is how the application calls the queue. @throws StoreError where a body lies elsewhere and cannot be had now */
  async sort(name: string, held: readonly Held[]): Promise<Sorted> {
    const now = Date.now();
    const isEarly = ({ taken }: Held) => taken.dueAt !== undefined && taken.dueAt > now;
    const due = held.filter((one) => !isEarly(one));
    const bodies = await this.#bodies(due.map(({ taken }) => taken));
    const ready: { held: Held; delivery: Delivery }[] = [];
    const unreadable: { held: Held; reason: string }[] = [];
    for (const one of due) {
      try {
        const body = bodies.get(one.taken);
        if (body instanceof Error) throw body;
        ready.push({ held: one, delivery: deliveryOf(one.taken, name, body) });
      } catch (error) {
        unreadable.push({ held: one, reason: (error as Error).message });
      }
    }
    return { ready, early: held.filter(isEarly), unreadable };
  }

  /** What is not due goes on its way, what cannot be read becomes a dead letter. After a failure it comes again when its lease ends. */
  async turnAway({ early, unreadable }: Sorted): Promise<void> {
    const dueAt = early.map(({ taken }) => taken.dueAt ?? 0);
    if (early.length > 0) await this.#settling.defer(early, dueAt);
    if (unreadable.length === 0) return;
    await this.#settling.reject(
      unreadable.map(({ held }) => held),
      unreadable.map(({ reason }) => reason),
    );
  }

  /** What lies elsewhere of the bodies. */
  async #bodies(taken: readonly Taken[]): Promise<ReadonlyMap<Taken, string | Error>> {
    if (this.#payloads) return this.#payloads.fetch(taken);
    return new Map(taken.filter(isPointer).map((one) => [one, new ConfigError(NO_STORE)]));
  }
}
