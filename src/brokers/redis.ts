import type {
  Broker,
  BrokerFeatures,
  ConsumeOptions,
  Consumer,
  DeadLetters,
  QueueDepth,
  QueueSpec,
} from '../contracts/broker.ts';
import type { Bus } from '../contracts/bus.ts';
import type { ItemFailure, Recipe } from '../contracts/common.ts';
import type { Diagnosis } from '../contracts/diagnosis.ts';
import type { Lease, Outgoing } from '../contracts/message.ts';
import type { ParkedMessages } from '../contracts/moving.ts';
import { busOf, deadLettersOf, parkedOf } from '../contracts/opened.ts';
import { MessageTooLargeError, StoreCorruptError } from '../errors.ts';
import { RedisBus } from '../stores/redis/bus.ts';
import { RedisConsumer } from '../stores/redis/consumer.ts';
import { RedisDeadLetters } from '../stores/redis/dead-letters.ts';
import { diagnoseRedis } from '../stores/redis/diagnosis.ts';
import { isOutOfMemory } from '../stores/redis/errors.ts';
import { RedisLayout } from '../stores/redis/layout.ts';
import { MAX_BATCH, RedisMessages } from '../stores/redis/messages.ts';
import { RedisParked } from '../stores/redis/parked.ts';
import { openRedis, type RedisHandle } from '../stores/redis/store.ts';
import { type RedisLocation, type RedisOptions, redisLocation } from '../stores/redis/url.ts';
import { Opening } from '../util/opening.ts';
import { inSlices } from '../util/slices.ts';

const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
const PUBLISH_LIMITS = {
  maxItems: MAX_BATCH,
  maxSize: 8 * 1024 * 1024,
  sizeOf: ({ message }: Outgoing) => message.body.byteLength,
  refuse: tooLarge,
};

/**
 * A broker on a Redis (6.2 or newer) or Valkey, in the layout of Celery's own: Python and TypeScript share its queues.
 * @throws ConfigError for a wrong URL or option
 */
export function redisBroker(url: string, options: RedisOptions = {}): Broker {
  const recipe = { module: import.meta.url, factory: 'redisBroker', args: [url, options] };
  return new RedisBroker(redisLocation(url, options), recipe);
}

/** What a started broker works with. */
interface Opened extends RedisHandle {
  readonly messages: RedisMessages;
  readonly letters: RedisDeadLetters;
  readonly bus: RedisBus;
  readonly parked: RedisParked;
  readonly consumers: Set<RedisConsumer>;
}

class RedisBroker implements Broker {
  readonly name = 'redis';
  readonly url: string;
  readonly features: BrokerFeatures;
  readonly recipe: Recipe;
  readonly bus: Bus = busOf(async () => (await this.#opening.get()).bus);
  readonly deadLetters: DeadLetters = deadLettersOf(async () => (await this.#opening.get()).letters);
  readonly parked: ParkedMessages = parkedOf(async () => (await this.#opening.get()).parked);
  readonly #location: RedisLocation;
  readonly #opening: Opening<Opened>;

  constructor(location: RedisLocation, recipe: Recipe) {
    this.url = location.url;
    this.recipe = recipe;
    this.#location = location;
    this.#opening = new Opening(`the broker ${location.url}`, () => open(location));
    this.features = {
      maxDelayMs: Number.POSITIVE_INFINITY,
      leaseMs: location.leaseMs,
      priority: true,
      ordering: true,
      maxBatch: MAX_BATCH,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      durable: true,
      shared: true,
      attempts: true,
      countsReleases: false,
      stepMs: 1,
      groups: false,
      approximate: false,
    };
  }

  start(): Promise<void> {
    return this.#opening.start();
  }

  async stop(): Promise<void> {
    const opened = await this.#opening.end();
    if (!opened) return;
    const closed = await Promise.allSettled([...opened.consumers].map((consumer) => consumer.close()));
    await opened.release();
    for (const one of closed) if (one.status === 'rejected') throw one.reason;
  }

  diagnose(): Promise<Diagnosis> {
    return diagnoseRedis(this.#location);
  }

  async declareMany(queues: readonly QueueSpec[]): Promise<void> {
    const { messages } = await this.#opening.get();
    try {
      await messages.declare(queues.map(({ name }) => name));
    } catch (error) {
      // At maxmemory a worker must be able to start, or nobody drains the queues. Who publishes declares once more.
      if (!isOutOfMemory(error)) throw error;
    }
  }

  async publishMany(outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    const { messages } = await this.#opening.get();
    return inSlices(outgoing, PUBLISH_LIMITS, async (slice) => {
      const failures = await messages.publish(slice).catch((error: Error) => {
        throw ofQueue(error, slice[0]);
      });
      return failures.map(({ index, error }) => ({ index, error: ofQueue(error, slice[index]) }));
    });
  }

  async publishOnce(outgoing: readonly Outgoing[], key: string, ttlMs: number): Promise<boolean> {
    const { messages } = await this.#opening.get();
    for (const one of outgoing) {
      const refused = tooLarge(one);
      if (refused) throw refused;
    }
    return messages.publishOnce(outgoing, key, ttlMs);
  }

  async consume(queues: readonly string[], { leaseMs }: ConsumeOptions = {}): Promise<Consumer> {
    const { store, messages, consumers } = await this.#opening.get();
    const consumer = new RedisConsumer({
      store,
      messages,
      queues,
      leaseMs: leaseMs ?? this.#location.leaseMs,
      onClose: () => consumers.delete(consumer),
    });
    consumers.add(consumer);
    try {
      await consumer.open();
    } catch (error) {
      await consumer.close();
      throw error;
    }
    return consumer;
  }

  async extendMany(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    return (await this.#opening.get()).messages.extend(leases, leaseMs);
  }

  async listQueues(): Promise<string[]> {
    return (await this.#opening.get()).messages.queues();
  }

  async countMany(queues: readonly string[]): Promise<(QueueDepth | undefined)[]> {
    return (await this.#opening.get()).messages.count(queues);
  }

  async purge(queue: string): Promise<number> {
    return (await this.#opening.get()).messages.purge(queue);
  }
}

async function open(location: RedisLocation): Promise<Opened> {
  const handle = await openRedis(location);
  const { store } = handle;
  const layout = new RedisLayout(location);
  const messages = new RedisMessages(store, layout);
  return {
    ...handle,
    messages,
    letters: new RedisDeadLetters(store, messages),
    bus: new RedisBus(store, layout),
    parked: new RedisParked(store, messages),
    consumers: new Set(),
  };
}

/** Which queue has a key of another type; Redis does not say. */
function ofQueue(error: Error, outgoing: Outgoing | undefined): Error {
  if (!(error instanceof StoreCorruptError) || !outgoing) return error;
  return new StoreCorruptError(`a message for queue '${outgoing.queue}' was not sent: ${error.message}`, {
    cause: error.cause,
  });
}

function tooLarge({ queue, message }: Outgoing): MessageTooLargeError | undefined {
  if (message.body.byteLength <= MAX_MESSAGE_BYTES) return undefined;
  return new MessageTooLargeError(
    `a message for queue '${queue}' has a body of ${message.body.byteLength} bytes; the redis broker takes up to ${MAX_MESSAGE_BYTES}. Send a reference to the data instead`,
  );
}
