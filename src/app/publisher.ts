import type { Broker, Outgoing } from '../contracts/broker.ts';
import { LovageError, MessageTooLargeError, PublishError } from '../errors.ts';
import { Batcher } from '../util/batcher.ts';
import { sleep } from '../util/sleep.ts';
import { encodeTask } from '../wire/protocol.ts';
import type { Config } from './config.ts';
import type { Prepared } from './prepare.ts';

export interface PublishOptions {
  /** Overrides `taskPublishRetry`. */
  readonly retry?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Messages joined into one call of the broker. */
const maxBatch = 500;

/** Brings messages to the broker: encodes them, batches calls that happen together, tries again as the policy says. */
export class Publisher {
  readonly #broker: Broker;
  readonly #config: Config;
  readonly #batcher: Batcher<Outgoing>;
  readonly #declared = new Map<string, Promise<void>>();

  constructor(broker: Broker, config: Config) {
    this.#broker = broker;
    this.#config = config;
    this.#batcher = new Batcher((items) => broker.publishMany(items), maxBatch);
  }

  /**
   * Resolves when the broker has confirmed every message.
   * @throws SerializationError, MessageTooLargeError before anything is sent
   * @throws PublishError listing the messages of a batch that were not taken; for a single message its own error
   */
  async publishMany(prepared: readonly Prepared[], options: PublishOptions = {}): Promise<void> {
    // In slices, so that a great many messages neither block the event loop for long nor stand in memory twice.
    for (let from = 0; from < prepared.length; from += maxBatch) {
      const slice = prepared.slice(from, from + maxBatch);
      const outgoing = slice.map((one) => this.#encode(one));
      for (const { queue } of outgoing) if (!this.#declared.has(queue)) await this.#declare(queue);
      await this.#send(outgoing, from, options);
    }
  }

  #encode({ queue, message, delayMs, serializer, compression }: Prepared): Outgoing {
    const wire = encodeTask(message, {
      serializer,
      jsonTags: this.#config.jsonTags,
      ...(compression !== undefined && { compression }),
    });
    const limit = Math.min(
      this.#config.maxMessageBytes ?? Number.POSITIVE_INFINITY,
      this.#broker.features.maxMessageBytes,
    );
    if (wire.body.length > limit) {
      throw new MessageTooLargeError(
        `${message.task} was not sent: its body has ${wire.body.length} bytes, the limit is ${limit}. Pass a reference (a path, a key) in place of the data, or set taskCompression`,
      );
    }
    const delay = Math.min(delayMs, this.#broker.features.maxDelayMs);
    return delay > 0 ? { queue, message: wire, delayMs: delay } : { queue, message: wire };
  }

  #declare(queue: string): Promise<void> {
    let declared = this.#declared.get(queue);
    if (!declared) {
      declared = this.#broker.declareMany([{ name: queue }]);
      this.#declared.set(queue, declared);
      declared.catch(() => this.#declared.delete(queue));
    }
    return declared;
  }

  async #send(outgoing: readonly Outgoing[], from: number, { retry, signal }: PublishOptions): Promise<void> {
    const policy = this.#config.taskPublishRetryPolicy;
    const tries = (retry ?? this.#config.taskPublishRetry) ? (policy.max_retries ?? Number.POSITIVE_INFINITY) : 0;
    let left = outgoing.map((item, index) => ({ item, index }));
    for (let attempt = 0; ; attempt += 1) {
      signal?.throwIfAborted();
      let failures: readonly { index: number; error: Error }[];
      try {
        failures = await this.#batcher.addMany(left.map(({ item }) => item));
      } catch (error) {
        failures = left.map((_, index) => ({ index, error: error as Error }));
      }
      if (failures.length === 0) return;
      const canRetry =
        attempt < tries && failures.every(({ error }) => error instanceof LovageError && error.retryable);
      const failed = failures.flatMap(({ index, error }) => {
        const entry = left[index];
        return entry ? [{ ...entry, error }] : [];
      });
      if (!canRetry) {
        const [only] = failed;
        if (outgoing.length === 1 && only) throw only.error;
        throw new PublishError(
          failed.map(({ index, error }) => ({ index: from + index, error })),
          outgoing.length,
        );
      }
      left = failed;
      const { interval_start: start = 0, interval_step: step = 0.2, interval_max: max = 1 } = policy;
      await sleep(Math.min(max, start + step * attempt) * 1000, signal);
    }
  }
}
