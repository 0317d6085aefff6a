import type { ItemFailure } from '../../contracts/common.ts';
import type { Outgoing } from '../../contracts/message.ts';
import { MessageTooLargeError } from '../../errors.ts';
import { byGroup } from '../../util/by-group.ts';
import { isMissing, type SqsQueue } from './api.ts';
import { MAX_BYTES, type SqsEntry, sizeOf } from './batches.ts';
import { entryOf } from './messages.ts';
import type { SqsPayloads } from './payloads.ts';
import type { SqsQueues } from './queues.ts';

/** An entry with the place of its message. */
interface Ready {
  readonly index: number;
  readonly entry: SqsEntry;
}

/** Sends messages, in batches, each queue's apart. */
export class SqsPublishing {
  readonly #queues: SqsQueues;
  readonly #payloads: SqsPayloads | undefined;

  constructor(queues: SqsQueues, payloads: SqsPayloads | undefined) {
    this.#queues = queues;
    this.#payloads = payloads;
  }

  publish(outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    return byGroup(
      outgoing,
      ({ queue, message }) => this.#queues.stepFor(queue, message.properties.priority),
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
    const ready: Ready[] = [];
    const large: Ready[] = [];
    for (const [index, one] of outgoing.entries()) {
      try {
        const entry = this.#entry(one, queue);
        (this.#payloads && sizeOf(entry) > this.#payloads.threshold ? large : ready).push({ index, entry });
      } catch (error) {
        failures.push({ index, error: error as Error });
      }
    }
    const stored = (await this.#payloads?.store(large.map(({ entry }) => entry))) ?? [];
    for (const [i, { index }] of large.entries()) {
      const entry = stored[i];
      if (entry instanceof Error) failures.push({ index, error: entry });
      else if (entry) ready.push({ index, entry });
    }
    const failed = await queue.api.sendMany(
      queue,
      ready.map(({ entry }) => entry),
    );
    return [...failures, ...failed.map(({ index, error }) => ({ index: ready[index]?.index ?? index, error }))];
  }

  #entry(outgoing: Outgoing, queue: SqsQueue): SqsEntry {
    const { location } = this.#queues;
    const entry = entryOf(outgoing, queue, location);
    const bytes = sizeOf(entry);
    const payloads = this.#payloads;
    if (payloads) return bytes > payloads.threshold ? entryOf(payloads.compressed(outgoing), queue, location) : entry;
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

/** The same where larger ones go to a store of their own: it is in memory several times over. */
export const MAX_STORED_BYTES = 64 * 1024 * 1024;
