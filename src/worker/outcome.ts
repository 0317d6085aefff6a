import type { TaskDefinition } from '../app/task.ts';
import type { Delivery } from '../contracts/broker.ts';
import type { TaskMessage } from '../wire/task-message.ts';

/** One request to a pool. */
export interface Run {
  readonly message: TaskMessage;
  readonly queue: string;
  /** Deliveries of the message so far. */
  readonly attempt: number;
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
      readonly children: readonly string[];
      readonly replayed?: boolean;
    } & Forgetting)
  /** FAILURE is stored, error links are sent, the message is acked (or rejected, if the task says so). */
  | ({ readonly kind: 'failure'; readonly error: unknown; readonly children: readonly string[] } & Forgetting)
  /** The task is sent again with the same id, RETRY is stored, the message is acked. */
  | { readonly kind: 'retry'; readonly error: unknown; readonly dueAt: number; readonly children: readonly string[] }
  /** Nothing is stored, the message is acked. */
  | ({ readonly kind: 'ignore' } & Forgetting)
  /** Nothing is stored, the message goes to the dead letters or back to its queue. */
  | { readonly kind: 'reject'; readonly reason: string; readonly requeue: boolean }
  /** REVOKED is stored, the message is acked. */
  | { readonly kind: 'revoked'; readonly reason: 'revoked' | 'expired' }
  /** FAILURE is stored where the id is known, the message goes to the dead letters. */
  | { readonly kind: 'dead'; readonly error: Error }
  /** Not due yet: parked in the broker. */
  | { readonly kind: 'defer'; readonly dueAt: number }
  /** Not done: back to the queue, uncounted. */
  | { readonly kind: 'release' };

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
}

/** A held message and how it ended: what the settler takes. */
export interface Settlement {
  readonly held: Held;
  readonly outcome: Outcome;
}
