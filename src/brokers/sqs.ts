import type {
  Broker,
  BrokerFeatures,
  ConsumeOptions,
  Consumer,
  DeadLetters,
  QueueDepth,
  QueueSpec,
} from '../contracts/broker.ts';
import type { ItemFailure, Recipe } from '../contracts/common.ts';
import type { Diagnosis } from '../contracts/diagnosis.ts';
import type { Lease, Outgoing } from '../contracts/message.ts';
import type { LookThrough } from '../contracts/moving.ts';
import { deadLettersOf } from '../contracts/opened.ts';
import type { StoreNeeds, StoreSetup } from '../contracts/setup.ts';
import { openSqs, type SqsApi } from '../stores/sqs/api.ts';
import { SqsConsumer } from '../stores/sqs/consumer.ts';
import { SqsDeadLetters } from '../stores/sqs/dead-letters.ts';
import { diagnoseSqs } from '../stores/sqs/diagnosis.ts';
import { SqsLeases } from '../stores/sqs/leases.ts';
import { sqsLookThrough } from '../stores/sqs/look.ts';
import { payloadsOf, type SqsPayloads } from '../stores/sqs/payloads.ts';
import { sqsSetup } from '../stores/sqs/provision.ts';
import { MAX_BODY_BYTES, MAX_STORED_BYTES, SqsPublishing } from '../stores/sqs/publishing.ts';
import { SqsQueues } from '../stores/sqs/queues.ts';
import { SqsStock } from '../stores/sqs/stock.ts';
import { type SqsLocation, type SqsOptions, sqsLocation } from '../stores/sqs/url.ts';
import { Opening } from '../util/opening.ts';

/** As many as go out in parallel. */
const MAX_BATCH = 100;
/** FIFO queues drop what has a deduplication id that they have seen within this (SQS developer guide). */
const DEDUPLICATION_MS = 300_000;

/**
 * A broker on Amazon SQS, in the form of Celery's own: Python and TypeScript share its queues.
 * @throws ConfigError for a wrong URL or option
 */
export function sqsBroker(url = 'sqs://', options: SqsOptions = {}): Broker {
  const recipe = { module: import.meta.url, factory: 'sqsBroker', args: [url, options] };
  const location = sqsLocation(url, options);
  return new SqsBroker(location, payloadsOf(location), recipe);
}

/** What a started broker works with. */
interface Opened {
  readonly api: SqsApi;
  readonly queues: SqsQueues;
  readonly publishing: SqsPublishing;
  readonly leases: SqsLeases;
  readonly stock: SqsStock;
  readonly letters: SqsDeadLetters;
  readonly lookThrough: LookThrough;
  readonly consumers: Set<SqsConsumer>;
}

class SqsBroker implements Broker {
  readonly name = 'sqs';
  readonly url: string;
  readonly features: BrokerFeatures;
  readonly recipe: Recipe;
  readonly setup: StoreSetup;
  readonly deadLetters: DeadLetters = deadLettersOf(async () => (await this.#opening.get()).letters);
  readonly lookThrough: LookThrough = async (...args) => (await this.#opening.get()).lookThrough(...args);
  readonly #location: SqsLocation;
  readonly #opening: Opening<Opened>;
  readonly #payloads: SqsPayloads | undefined;

  constructor(location: SqsLocation, payloads: SqsPayloads | undefined, recipe: Recipe) {
    this.url = location.url;
    this.recipe = recipe;
    this.setup = sqsSetup(location, payloads?.setup);
    this.#location = location;
    this.#opening = new Opening(`the broker ${location.url}`, () => open(location, payloads));
    this.#payloads = payloads;
    this.features = {
      maxDelayMs: Number.POSITIVE_INFINITY,
      leaseMs: location.leaseMs,
      priority: location.options.prioritySteps !== undefined,
      ordering: false,
      maxBatch: MAX_BATCH,
      maxMessageBytes: payloads ? MAX_STORED_BYTES : MAX_BODY_BYTES,
      durable: true,
      shared: true,
      attempts: true,
      countsReleases: location.isFifo,
      stepMs: 1000,
      groups: location.isFifo,
      approximate: true,
      remembersMs: location.isFifo ? DEDUPLICATION_MS : 0,
    };
  }

  start(): Promise<void> {
    return this.#opening.start();
  }

  async stop(): Promise<void> {
    const opened = await this.#opening.end();
    if (!opened) return;
    const closed = await Promise.allSettled([...opened.consumers].map((consumer) => consumer.close()));
    await opened.queues.close();
    opened.api.close();
    await this.#payloads?.stop();
    for (const one of closed) if (one.status === 'rejected') throw one.reason;
  }

  diagnose(needs: StoreNeeds): Promise<Diagnosis> {
    return diagnoseSqs(this.#location, needs, this.#payloads);
  }

  async declareMany(queues: readonly QueueSpec[]): Promise<void> {
    const { queues: known } = await this.#opening.get();
    const names = queues.flatMap(({ name }) => known.steps(name).map(({ at }) => at));
    const found = await Promise.allSettled(names.map((name) => known.get(name)));
    // One that is not there must not keep the others from being served; whoever uses it is told.
    const failed = found.filter((one) => one.status === 'rejected');
    if (failed[0] && failed.length === found.length) throw failed[0].reason;
  }

  async publishMany(outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    return (await this.#opening.get()).publishing.publish(outgoing);
  }

  async consume(queues: readonly string[], { leaseMs }: ConsumeOptions = {}): Promise<Consumer> {
    const { queues: known, consumers } = await this.#opening.get();
    const consumer = new SqsConsumer({
      queues: known,
      names: queues,
      payloads: this.#payloads,
      leaseMs: leaseMs ?? this.#location.leaseMs,
      onClose: () => consumers.delete(consumer),
    });
    consumers.add(consumer);
    return consumer;
  }

  async extendMany(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    return (await this.#opening.get()).leases.extend(leases, leaseMs);
  }

  async listQueues(): Promise<string[]> {
    return (await this.#opening.get()).stock.list();
  }

  async countMany(queues: readonly string[], { readyOnly = false } = {}): Promise<(QueueDepth | undefined)[]> {
    return (await this.#opening.get()).stock.count(queues, readyOnly);
  }

  async purge(queue: string): Promise<number> {
    return (await this.#opening.get()).stock.purge(queue);
  }
}

async function open(location: SqsLocation, payloads: SqsPayloads | undefined): Promise<Opened> {
  const api = await openSqs(location.address, location.url);
  try {
    await payloads?.start();
  } catch (error) {
    api.close();
    throw error;
  }
  const queues = new SqsQueues(location, api);
  const stock = new SqsStock(queues, api);
  return {
    api,
    queues,
    publishing: new SqsPublishing(queues, payloads),
    leases: new SqsLeases(queues, api),
    stock,
    letters: new SqsDeadLetters(queues, stock, payloads),
    lookThrough: sqsLookThrough(queues, payloads),
    consumers: new Set(),
  };
}
