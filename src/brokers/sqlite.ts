import { setImmediate as nextTurn } from 'node:timers/promises';
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
import { MessageTooLargeError } from '../errors.ts';
import { SqliteBus } from '../stores/sqlite/bus.ts';
import { SqliteClaims } from '../stores/sqlite/claims.ts';
import { MAX_BATCH, SqliteConsumer, settleMany } from '../stores/sqlite/consumer.ts';
import { SqliteDeadLetters } from '../stores/sqlite/dead-letters.ts';
import { diagnoseSqlite } from '../stores/sqlite/diagnosis.ts';
import { packLabel } from '../stores/sqlite/label.ts';
import { type NewMessage, SqliteMessages } from '../stores/sqlite/messages.ts';
import { SqliteParked } from '../stores/sqlite/parked.ts';
import { openSqlite, type StoreHandle } from '../stores/sqlite/store.ts';
import { type SqliteLocation, type SqliteOptions, sqliteLocation } from '../stores/sqlite/url.ts';
import { newId } from '../util/ids.ts';
import { Opening } from '../util/opening.ts';
import { inSlices } from '../util/slices.ts';

// A transaction holds the file, and blocks the event loop, for some milliseconds at most.
const PUBLISH_LIMITS = {
  maxItems: MAX_BATCH,
  maxSize: 8 * 1024 * 1024,
  sizeOf: ({ message }: Outgoing) => message.body.byteLength,
  refuse: tooLarge,
};
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/**
 * A broker in a SQLite file: no server, shared by all processes of one machine, durable.
 * @throws ConfigError for a wrong URL or option
 */
export function sqliteBroker(url: string, options: SqliteOptions = {}): Broker {
  const recipe = { module: import.meta.url, factory: 'sqliteBroker', args: [url, options] };
  return new SqliteBroker(sqliteLocation(url, options), recipe);
}

/** What a started broker works with. */
interface Opened extends StoreHandle {
  readonly messages: SqliteMessages;
  readonly letters: SqliteDeadLetters;
  readonly bus: SqliteBus;
  readonly parked: SqliteParked;
  readonly claims: SqliteClaims;
  readonly consumers: Set<SqliteConsumer>;
}

class SqliteBroker implements Broker {
  readonly name = 'sqlite';
  readonly url: string;
  readonly features: BrokerFeatures;
  readonly recipe: Recipe;
  readonly bus: Bus = busOf(async () => (await this.#opening.get()).bus);
  readonly deadLetters: DeadLetters = deadLettersOf(async () => (await this.#opening.get()).letters);
  readonly parked: ParkedMessages = parkedOf(async () => (await this.#opening.get()).parked);
  readonly #location: SqliteLocation;
  readonly #opening: Opening<Opened>;

  constructor(location: SqliteLocation, recipe: Recipe) {
    this.url = location.url;
    this.recipe = recipe;
    this.#location = location;
    this.#opening = new Opening(`the broker ${location.url}`, () => open(location));
    this.features = {
      maxDelayMs: Number.POSITIVE_INFINITY,
      leaseMs: location.visibilityMs,
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
    try {
      for (const consumer of opened.consumers) await consumer.close();
    } finally {
      opened.bus.close();
      await opened.release();
    }
  }

  diagnose(): Promise<Diagnosis> {
    return diagnoseSqlite(this.#location);
  }

  async declareMany(queues: readonly QueueSpec[]): Promise<void> {
    const { store, messages } = await this.#opening.get();
    const names = queues.map(({ name }) => name);
    await store.write(() => messages.declare(names));
    messages.remember(names);
  }

  async publishMany(outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    const { store, messages } = await this.#opening.get();
    const failures = await inSlices(outgoing, PUBLISH_LIMITS, async (slice) => {
      const now = Date.now();
      const added = slice.map((item) => newMessage(item, now));
      await store.write(() => messages.insertMany(added));
      messages.remember(new Set(added.map(({ queue }) => queue)));
      return [];
    });
    store.tasks.notify();
    return failures;
  }

  async publishOnce(outgoing: readonly Outgoing[], key: string, ttlMs: number): Promise<boolean> {
    const { store, messages, claims } = await this.#opening.get();
    for (const one of outgoing) {
      const refused = tooLarge(one);
      if (refused) throw refused;
    }
    const published = await store.write(() => {
      const now = Date.now();
      claims.sweep(1, now);
      // A claim that nobody ends: whoever comes second is refused it.
      const { granted } = claims.claim({ key: `publish:${key}`, holder: newId(), leaseMs: ttlMs }, now);
      if (granted) messages.insertMany(outgoing.map((item) => newMessage(item, now)));
      return granted;
    });
    store.tasks.notify();
    return published;
  }

  async consume(queues: readonly string[], { leaseMs }: ConsumeOptions = {}): Promise<Consumer> {
    const { store, messages, consumers } = await this.#opening.get();
    const consumer = new SqliteConsumer({
      store,
      messages,
      queues,
      leaseMs: leaseMs ?? this.#location.visibilityMs,
      onClose: () => consumers.delete(consumer),
    });
    consumers.add(consumer);
    return consumer;
  }

  async extendMany(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    const { store, messages } = await this.#opening.get();
    return settleMany(store, leases, (tag) => messages.extend(tag, Date.now() + leaseMs));
  }

  async listQueues(): Promise<string[]> {
    const { store, messages } = await this.#opening.get();
    return store.read(() => messages.queues());
  }

  async countMany(queues: readonly string[]): Promise<(QueueDepth | undefined)[]> {
    const { store, messages } = await this.#opening.get();
    const now = Date.now();
    return store.read(() => queues.map((queue) => messages.count(queue, now)));
  }

  async purge(queue: string): Promise<number> {
    const { store, messages } = await this.#opening.get();
    for (let purged = 0; ; await nextTurn()) {
      const some = await store.write(() => messages.purge(queue, MAX_BATCH, Date.now()));
      purged += some;
      if (some < MAX_BATCH) return purged;
    }
  }
}

async function open(location: SqliteLocation): Promise<Opened> {
  const handle = await openSqlite(location);
  const { store } = handle;
  const messages = new SqliteMessages(store);
  return {
    ...handle,
    messages,
    letters: new SqliteDeadLetters(store, messages),
    bus: new SqliteBus(store),
    parked: new SqliteParked(store),
    claims: new SqliteClaims(store),
    consumers: new Set(),
  };
}

function newMessage({ queue, message, delayMs = 0 }: Outgoing, now: number): NewMessage {
  const wanted = message.properties.priority;
  return {
    queue,
    priority: typeof wanted === 'number' ? Math.min(9, Math.max(0, Math.trunc(wanted) || 0)) : 0,
    dueAt: delayMs > 0 ? now + delayMs : undefined,
    body: message.body,
    label: packLabel(message),
  };
}

function tooLarge({ queue, message }: Outgoing): MessageTooLargeError | undefined {
  if (message.body.byteLength <= MAX_MESSAGE_BYTES) return undefined;
  return new MessageTooLargeError(
    `a message for queue '${queue}' has a body of ${message.body.byteLength} bytes; the sqlite broker takes up to ${MAX_MESSAGE_BYTES}. Send a reference to the data instead`,
  );
}
