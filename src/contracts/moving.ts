import type { ItemFailure } from './common.ts';
import type { Lease, Outgoing } from './message.ts';

/** A message that is not due yet, seen and not taken. Its tag is good for {@link ParkedMessages} only. */
export interface ParkedMessage extends Lease {
  readonly message: Outgoing['message'];
  /** When it becomes ready, epoch milliseconds. */
  readonly dueAt: number;
}

/** Messages that are not due yet, which no consumer receives: for who moves them to another broker. */
export interface ParkedMessages {
  /** Those of a queue that are due first, at most `limit`. Changes nothing. */
  list(queue: string, limit: number): Promise<ParkedMessage[]>;
  /** Takes messages out for good. Fails with `LeaseLostError` for one that is not parked any more; it may be ready by now. */
  takeMany(messages: readonly Lease[]): Promise<ItemFailure[]>;
}

/**
 * Publishes a batch whole or not at all, and once: of all calls with one `key` within `ttlMs` exactly one takes place and
 * answers true; the others change nothing and answer false. So whoever does not know whether an earlier call took place
 * calls again. At most `features.maxBatch` messages.
 * @throws MessageTooLargeError for the batch, where one message is
 */
export type PublishOnce = (messages: readonly Outgoing[], key: string, ttlMs: number) => Promise<boolean>;

/**
 * Shows every message of a queue, ready or parked, and leaves all as it is; until `see` answers true, which says that it
 * has seen enough. It is complete only while nobody else receives from the queue. Present where {@link PublishOnce} is not
 * to be had, and looking costs less than receiving and giving back.
 */
export type LookThrough = (
  queue: string,
  see: (message: Outgoing['message']) => boolean,
  signal: AbortSignal,
) => Promise<void>;
