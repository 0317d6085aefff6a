import type { Broker, BrokerFeatures } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Outgoing } from '../../contracts/message.ts';
import { isPassing, MessageTooLargeError, PublishError } from '../../errors.ts';
import { Batcher } from '../../util/batcher.ts';
import { sleep } from '../../util/sleep.ts';
import { encodeTask } from '../../wire/protocol.ts';
import type { Config, RetryPolicy } from '../config.ts';
import type { Prepared } from './prepare.ts';

/** What messages are brought to: a broker, or what takes its place in an eager run. */
export interface Outlet extends Pick<Broker, 'declareMany' | 'publishMany'> {
  readonly features: Pick<BrokerFeatures, 'maxDelayMs' | 'maxMessageBytes'>;
}

export interface PublishOptions {
  /** Overrides `taskPublishRetry`. */
  readonly retry?: boolean | undefined;
  /** Overrides those parts of `taskPublishRetryPolicy` that it names. */
  readonly retryPolicy?: RetryPolicy | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A message on its way, with its place in the call. */
interface Item {
  readonly index: number;
  readonly outgoing: Outgoing;
}

/** Messages joined into one call of the broker. */
const maxBatch = 500;

/** Brings messages to the broker: encodes them, batches calls that happen together, tries again as the policy says. */
export class Publisher {
  readonly #broker: Outlet;
  readonly #config: Config;
  readonly #batcher: Batcher<Outgoing>;
  readonly #declared = new Map<string, Promise<void>>();

  constructor(broker: Outlet, config: Config) {
    this.#broker = broker;
    this.#config = config;
    this.#batcher = new Batcher((items) => broker.publishMany(items), maxBatch);
  }

  /**
   * Resolves when the broker has confirmed every message.
   * @throws for a single message its own error: SerializationError, MessageTooLargeError, a StoreError
   * @throws PublishError listing the messages of several that were not taken; all others were
   */
  async publishMany(prepared: readonly Prepared[], options: PublishOptions = {}): Promise<void> {
    const failures = await this.tryMany(prepared, options);
    const [first] = failures;
    if (!first) return;
    if (prepared.length === 1) throw first.error;
    throw new PublishError(
      failures,
      prepared.map(({ message }) => message.id),
    );
  }

  /** The same, returning what failed: one bad message keeps no other from being sent. */
  async tryMany(prepared: readonly Prepared[], options: PublishOptions = {}): Promise<ItemFailure[]> {
    const failures: ItemFailure[] = [];
    let sending = Promise.resolve<ItemFailure[]>([]);
    // In slices, so that a great many messages neither block the event loop for long nor stand in memory twice. One is
    // made ready while the one before it is on its way.
    for (let from = 0; from < prepared.length; from += maxBatch) {
      const items: Item[] = [];
      prepared.slice(from, from + maxBatch).forEach((one, i) => {
        try {
          items.push({ index: from + i, outgoing: this.#encode(one) });
        } catch (error) {
          failures.push({ index: from + i, error: error as Error });
        }
      });
      const before = sending;
      sending = this.#send(items, options);
      failures.push(...(await before));
    }
    failures.push(...(await sending));
    return failures;
  }

  #encode({ queue, message, delayMs, serializer, compression, groupKey }: Prepared): Outgoing {
    const { features } = this.#broker;
    const wire = encodeTask(message, {
      serializer,
      jsonTags: this.#config.jsonTags,
      ...(compression !== undefined && { compression }),
    });
    const limit = Math.min(this.#config.maxMessageBytes ?? Number.POSITIVE_INFINITY, features.maxMessageBytes);
    if (wire.body.length > limit) {
      throw new MessageTooLargeError(
        `${message.task} was not sent: its body has ${wire.body.length} bytes, the limit is ${limit}. Pass a reference (a path, a key) in place of the data, or set taskCompression`,
      );
    }
    const delay = Math.min(delayMs, features.maxDelayMs);
    return {
      queue,
      message: wire,
      ...(delay > 0 && { delayMs: delay }),
      ...(groupKey !== undefined && { groupKey }),
    };
  }

  async #send(items: readonly Item[], options: PublishOptions): Promise<ItemFailure[]> {
    const { retry, retryPolicy, signal } = options;
    const policy = { ...this.#config.taskPublishRetryPolicy, ...retryPolicy };
    const tries = (retry ?? this.#config.taskPublishRetry) ? (policy.max_retries ?? Number.POSITIVE_INFINITY) : 0;
    const final: ItemFailure[] = [];
    let left = items;
    for (let attempt = 0; left.length > 0; attempt += 1) {
      const current = left;
      const failed = signal?.aborted
        ? current.map((_, index) => ({ index, error: signal.reason as Error }))
        : await this.#attempt(current.map(({ outgoing }) => outgoing));
      left = [];
      const again: Item[] = [];
      for (const { index, error } of failed) {
        const item = current[index];
        if (item && attempt < tries && isPassing(error) && !signal?.aborted) again.push(item);
        else if (item) final.push({ index: item.index, error });
      }
      left = again;
      const { interval_start: start = 0, interval_step: step = 0.2, interval_max: max = 1 } = policy;
      if (left.length > 0) await sleep(Math.min(max, start + step * attempt) * 1000, signal);
    }
    return final;
  }

  async #attempt(outgoing: readonly Outgoing[]): Promise<readonly ItemFailure[]> {
    try {
      for (const { queue } of outgoing) if (!this.#declared.has(queue)) await this.#declare(queue);
      return await this.#batcher.addMany(outgoing);
    } catch (error) {
      return outgoing.map((_, index) => ({ index, error: error as Error }));
    }
  }

  #declare(queue: string): Promise<void> {
    const declared = this.#broker.declareMany([{ name: queue }]);
    this.#declared.set(queue, declared);
    declared.catch(() => this.#declared.delete(queue));
    return declared;
  }
}
