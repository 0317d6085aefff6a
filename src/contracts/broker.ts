import type { WireMessage } from '../wire/message.ts';
import type { Bus } from './bus.ts';
import type { ItemFailure, Recipe, Service } from './common.ts';
import type { Diagnosable } from './diagnosis.ts';
import type { Delivery, Lease, Outgoing } from './message.ts';
import type { LookThrough, ParkedMessages, PublishOnce } from './moving.ts';
import type { StoreSetup } from './setup.ts';

/** What a store can do. The core and the conformance suite ask; nobody checks a driver's name. */
export interface BrokerFeatures {
  /** Longest delay of one publish, release or defer. `Infinity` where the store parks messages for as long as asked. */
  readonly maxDelayMs: number;
  /** How long a delivery stays with its consumer unless extended. `undefined` where a delivery is bound to a connection. */
  readonly leaseMs: number | undefined;
  /** Messages of priority 0 are handed out before those of 1 to 9. */
  readonly priority: boolean;
  /** Within a queue and a priority, messages come in the order of publishing. */
  readonly ordering: boolean;
  /** Most messages one call takes to the store at once; longer arrays are split by the driver. */
  readonly maxBatch: number;
  /** Largest body the store takes. */
  readonly maxMessageBytes: number;
  /** Messages and delays survive a restart of everything. */
  readonly durable: boolean;
  /** Other processes see the same queues. */
  readonly shared: boolean;
  /** `Delivery.attempt` counts deliveries, also over crashes. */
  readonly attempts: boolean;
  /** A release counts as a delivery: `attempt` may be too high, never too low. */
  readonly countsReleases: boolean;
  /** Delays and leases are rounded up to a multiple of this. */
  readonly stepMs: number;
  /** Messages need a `groupKey`; those of one group come in the order of publishing, one at a time. */
  readonly groups: boolean;
  /** Counts come late and roughly, and a purge takes messages that are held, too. */
  readonly approximate: boolean;
  /** A message that is published again under its id within this time is there once. Default 0: it is there twice. */
  readonly remembersMs?: number;
}

/** A queue to create if it is missing. */
export interface QueueSpec {
  readonly name: string;
}

/** How many messages a queue holds, by what they are waiting for. */
export interface QueueDepth {
  readonly ready: number;
  /** Leased to a consumer. */
  readonly inFlight: number;
  /** Parked until due. */
  readonly delayed: number;
  /** Given up: its dead letters. */
  readonly dead: number;
}

export interface ConsumeOptions {
  /** Overrides `features.leaseMs` for this consumer. */
  readonly leaseMs?: number;
}

/**
 * Where messages wait. A driver makes one attempt and tells the truth; retrying, logging and metrics belong to the core.
 * All methods may reject with a {@link StoreError}; hot ones take arrays and return what failed, item by item.
 */
export interface Broker extends Service, Partial<Diagnosable> {
  /** The URL scheme, such as `sqlite`. */
  readonly name: string;
  /** The URL with secrets masked, for banners and logs. */
  readonly url: string;
  readonly features: BrokerFeatures;
  /** Notes to all, where the store can carry them. */
  readonly bus?: Bus;
  readonly deadLetters: DeadLetters;
  /** Present where another thread or process can open the same store. */
  readonly recipe?: Recipe;
  /** Present where something has to be created, or allowed, before the first use. */
  readonly setup?: StoreSetup;
  /** Present where messages can be seen before they are due. */
  readonly parked?: ParkedMessages;
  /** Present where the store can tell that it has taken a batch before. */
  readonly publishOnce?: PublishOnce;
  /** Present where a queue can be looked through without receiving from it. */
  readonly lookThrough?: LookThrough;

  declareMany(queues: readonly QueueSpec[]): Promise<void>;
  /** Resolves once the store has the messages for good. */
  publishMany(messages: readonly Outgoing[]): Promise<ItemFailure[]>;
  consume(queues: readonly string[], options?: ConsumeOptions): Promise<Consumer>;
  /** Renews leases, from now, for another lease time. Fails with {@link LeaseLostError} where the lease has ended. */
  extendMany(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]>;
  /** Queues that are declared or hold messages. */
  listQueues(): Promise<string[]>;
  /** `undefined` for a queue that does not exist. `readyOnly`: the other numbers may be 0, where each would be one more question. */
  countMany(queues: readonly string[], options?: { readyOnly?: boolean }): Promise<(QueueDepth | undefined)[]>;
  /** Drops ready and delayed messages, not leased ones. Returns how many. */
  purge(queue: string): Promise<number>;
}

/**
 * One worker's window on its queues. Every delivery must end in exactly one of ack, release, reject, defer; each of them
 * fails with {@link LeaseLostError} for a delivery whose lease has ended, and then changes nothing.
 */
export interface Consumer {
  /** Waits up to `waitMs` for a first message, then returns what is there, at most `max`. Empty after the wait or an abort. */
  receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]>;
  /** Done: forget the message. */
  ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]>;
  /** Not done: ready again, after `delayMs` where given. The delivery is not counted as an attempt. */
  releaseMany(deliveries: readonly Delivery[], delayMs?: number): Promise<ItemFailure[]>;
  /** Never: to the dead letters. `reasons` has one text for each delivery. */
  rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]>;
  /** Not yet: parked durably until `dueAt[i]` (epoch milliseconds), as a message that was never delivered. */
  deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]>;
  setQueues(queues: readonly string[]): Promise<void>;
  /** Releases what is still leased. */
  close(): Promise<void>;
}

/** A message that was given up, with the reason. */
export interface DeadLetter {
  readonly id: string;
  readonly queue: string;
  readonly message: WireMessage;
  readonly reason: string;
  /** Epoch milliseconds. */
  readonly diedAt: number;
  readonly attempt: number;
}

/** The messages that were given up, kept until somebody decides. */
export interface DeadLetters {
  /** Newest first. */
  list(options?: { queue?: string; limit?: number }): Promise<DeadLetter[]>;
  getMany(ids: readonly string[]): Promise<(DeadLetter | undefined)[]>;
  /** Puts them back into their queues with the attempt count at zero. Returns how many there were. */
  retryMany(ids: readonly string[]): Promise<number>;
  dropMany(ids: readonly string[]): Promise<number>;
}
