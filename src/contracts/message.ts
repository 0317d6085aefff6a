import type { WireMessage } from '../wire/message.ts';

/** A message on its way in. */
export interface Outgoing {
  readonly queue: string;
  readonly message: WireMessage;
  /** Keep it back for so long. At most `features.maxDelayMs`. */
  readonly delayMs?: number;
  /** Messages of one key come one after the other, where the queue keeps such an order. */
  readonly groupKey?: string;
}

/** The part of a delivery that identifies it to the store, from any connection, thread or process. */
export interface Lease {
  readonly queue: string;
  /** Opaque to the core; survives a way through JSON. */
  readonly tag: unknown;
}

/** A message on its way out, leased to one consumer. */
export interface Delivery extends Lease {
  readonly message: WireMessage;
  /** Deliveries so far including this one, from 1; 0 where the store does not know. A release does not count. */
  readonly attempt: number;
  /** The key of its group, where it is in one. */
  readonly groupKey?: string;
  /** It has a place in an order that a new message would not have: a retry is a release with a delay, where it is. */
  readonly ordered?: boolean;
}
