import type { TaskDefinition } from '../app/tasks/task.ts';
import type { ResultRecord } from '../contracts/backend.ts';
import type { Claim } from '../contracts/limits.ts';
import type { Delivery } from '../contracts/message.ts';
import type { ResultTuple } from '../wire/result-tuple.ts';
import type { TaskMessage, WireSignature } from '../wire/task-message.ts';

/** One request to a pool. */
export interface Run {
  readonly message: TaskMessage;
  readonly queue: string;
  /** Deliveries of the message so far. */
  readonly attempt: number;
  /** Not in a worker. Default false. */
  readonly isEager?: boolean;
}

/** What a retry changes in its message and on its way. Plain data. */
export interface RetryChanges {
  readonly message: Partial<TaskMessage>;
  readonly queue?: string | undefined;
  readonly serializer?: string | undefined;
  readonly compression?: string | undefined;
}

/** What has had its day in the result backend once the outcome is stored. */
export interface Forgetting {
  readonly forget?: readonly string[];
}

/** How a delivery ended. Each kind names what is stored and what becomes of the message. */
export type Outcome =
  /** SUCCESS is stored, links are sent, the message is acked. `replayed`: it had succeeded in an earlier delivery. */
  | ({
      readonly kind: 'success';
      readonly value: unknown;
      readonly children: readonly ResultTuple[];
      readonly replayed?: boolean;
    } & Forgetting)
  /** FAILURE is stored, error links are sent, the message is acked (or rejected, if the task says so). */
  | ({
      readonly kind: 'failure';
      readonly error: unknown;
      readonly children: readonly ResultTuple[];
      /** What was stored of it in an earlier delivery. */
      readonly replayed?: ResultRecord;
    } & Forgetting)
  /**
   * The task is sent again with the same id, RETRY is stored, the message is acked. `snoozed`: it counts as no retry.
   * `replayed`: it had been sent, perhaps.
   */
  | {
      readonly kind: 'retry';
      readonly error: unknown;
      readonly dueAt: number;
      readonly children: readonly ResultTuple[];
      readonly snoozed?: boolean;
      readonly changes?: RetryChanges;
      readonly replayed?: boolean;
    }
  /** The task sends another signature in its place, with its id; nothing is stored, the message is acked. */
  | ({ readonly kind: 'replace'; readonly signature: WireSignature; readonly args: readonly unknown[] } & Forgetting)
  /** Nothing is stored, the message is acked. */
  | ({ readonly kind: 'ignore' } & Forgetting)
  /** Nothing is stored, the message goes to the dead letters or back to its queue. */
  | { readonly kind: 'reject'; readonly reason: string; readonly requeue: boolean }
  /** REVOKED is stored, the message is acked. */
  | { readonly kind: 'revoked'; readonly reason: 'revoked' | 'expired' | 'terminated' }
  /** FAILURE is stored where the id is known, the message goes to the dead letters. */
  | { readonly kind: 'dead'; readonly error: Error }
  /** Not due yet, or not its turn: parked in the broker. */
  | { readonly kind: 'defer'; readonly dueAt: number }
  /**
   * Not done: back to the queue, uncounted. `later`: after so many milliseconds. `stillRuns`: its body could not be stopped,
   * so its claims are kept.
   */
  | { readonly kind: 'release'; readonly later?: number; readonly stillRuns?: boolean }
  /** Its thread or process died: its lease ends by itself, so that this delivery counts. */
  | { readonly kind: 'abandon'; readonly error: Error };

/** The claims that a run holds. */
export interface HeldClaims {
  /** That nobody else runs the task, now or later. */
  readonly once?: Claim;
  /** One of the places of its serial key. */
  readonly serial?: Claim;
}

/** A message that this worker holds. */
export interface Held {
  readonly delivery: Delivery;
  /** From the headers, also where the body could not be read. */
  readonly taskId: string | undefined;
  readonly message: TaskMessage | undefined;
  readonly definition: TaskDefinition | undefined;
  /** Acked before its run; its lease is over. */
  acked: boolean;
  readonly receivedAt: number;
  /** When it was handed to its lane, by `performance.now()`. */
  startedAt?: number;
  readonly claims?: HeldClaims;
}

/** A held message and how it ended: what the settler takes. */
export interface Settlement {
  readonly held: Held;
  readonly outcome: Outcome;
}

/** What came of a batch of deliveries: those to run, and those that ended at the gate. */
export interface Sorted {
  readonly runs: readonly Held[];
  readonly settled: readonly Settlement[];
}

/** A message that goes back as it came. */
export function release(held: Held): Settlement {
  return { held, outcome: { kind: 'release' } };
}

/** A message of which nothing is known but that it is here. */
export function unread(delivery: Delivery): Held {
  const receivedAt = Date.now();
  return { delivery, taskId: undefined, message: undefined, definition: undefined, acked: false, receivedAt };
}
