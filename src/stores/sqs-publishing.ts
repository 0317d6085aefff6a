import type { Outgoing } from '../contracts/broker.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { MessageTooLargeError } from '../errors.ts';
import { byGroup } from '../util/by-group.ts';
import { isMissing, MAX_BYTES, type SqsEntry, type SqsQueue, sizeOf } from './sqs-api.ts';
import { entryOf } from './sqs-messages.ts';
import type { SqsQueues } from './sqs-queues.ts';

/** Sends messages, in batches, each queue's apart. */
export class SqsPublishing {
  readonly #queues: SqsQueues;

  constructor(queues: SqsQueues) {
    this.#queues = queues;
  }

  publish(outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    return byGroup(
      outgoing,
      ({ queue }) => queue,
      async (name, some) => {
        try {
          return await this.#send(await this.#queues.get(name), some);
        } catch (error) {
          if (isMissing(error)) this.#queues.forget(name);
          throw error;
        }
      },
    );
  }

  async #send(queue: SqsQueue, outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    const failures: ItemFailure[] = [];
    const entries: SqsEntry[] = [];
    const places: number[] = [];
    outgoing.forEach((one, index) => {
      try {
        entries.push(this.#entry(one, queue));
        places.push(index);
      } catch (error) {
        failures.push({ index, error: error as Error });
      }
    });
    const failed = await queue.api.sendMany(queue, entries);
    return [...failures, ...failed.map(({ index, error }) => ({ index: places[index] ?? index, error }))];
  }

  #entry(outgoing: Outgoing, queue: SqsQueue): SqsEntry {
    const entry = entryOf(outgoing, queue, this.#queues.location);
    const bytes = sizeOf(entry);
    const { byteLength } = outgoing.message.body;
    if (bytes <= MAX_BYTES - HEADROOM && byteLength <= MAX_BODY_BYTES) return entry;
    throw new MessageTooLargeError(
      `a message for queue '${outgoing.queue}' has ${bytes} bytes in SQS, of a body of ${byteLength}; SQS takes up to ${MAX_BYTES - HEADROOM}. Set payloadStore (s3://bucket/prefix), set taskCompression, or send a reference to the data instead`,
    );
  }
}

/** Left free for what a dead letter carries besides. */
const HEADROOM = 16_384;

/** The largest body that surely fits: it is written in base64 twice, with headers of usual length beside it. */
export const MAX_BODY_BYTES = 560 * 1024;
