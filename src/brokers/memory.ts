import type {
  Broker,
  BrokerFeatures,
  ConsumeOptions,
  Consumer,
  DeadLetter,
  DeadLetters,
  QueueDepth,
  QueueSpec,
} from '../contracts/broker.ts';
import type { Bus } from '../contracts/bus.ts';
import type { ItemFailure } from '../contracts/common.ts';
import type { Delivery, Lease, Outgoing } from '../contracts/message.ts';
import type { ParkedMessages } from '../contracts/moving.ts';
import { ConfigError, LeaseLostError, MessageTooLargeError } from '../errors.ts';
import type { Buried, MemoryMessages, Stored, Tag } from '../stores/memory/messages.ts';
import {
  type MemoryHandle,
  type MemoryLocation,
  type MemoryOptions,
  memoryLocation,
  openMemory,
} from '../stores/memory/store.ts';
import type { WireMessage } from '../wire/message.ts';

const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/**
 * A broker inside this process, for tests and for trying things out. Everything that uses the same name shares it; it
 * ends, with its messages, when the last user stops.
 * @throws ConfigError for a wrong URL or option
 */
export function memoryBroker(url = 'memory://', options: MemoryOptions = {}): Broker {
  return new MemoryBroker(memoryLocation(url, options));
}

class MemoryBroker implements Broker {
  readonly name = 'memory';
  readonly url: string;
  readonly features: BrokerFeatures;
  readonly bus: Bus = {
    emitMany: async (topic, payloads) => this.#opened().store.bus.emitMany(topic, payloads),
    listen: async (topic, on) => {
      const stop = await this.#opened().store.bus.listen(topic, on);
      this.#listening.add(stop);
      return stop;
    },
  };
  readonly deadLetters: DeadLetters = {
    list: async ({ queue, limit = 100 } = {}) =>
      [...this.#messages().dead.values()]
        .filter(({ message }) => queue === undefined || message.queue === queue)
        .reverse()
        .slice(0, limit)
        .map(deadLetter),
    getMany: async (ids) =>
      ids.map((id) => {
        const buried = this.#messages().dead.get(Number(id));
        return buried && deadLetter(buried);
      }),
    retryMany: async (ids) => {
      const buried = this.#unbury(ids);
      for (const { message } of buried) this.#messages().add(message, 0);
      return buried.length;
    },
    dropMany: async (ids) => this.#unbury(ids).length,
  };
  readonly parked: ParkedMessages = {
    list: async (queue, limit) =>
      this.#messages()
        .parked(queue)
        .slice(0, limit)
        .map(({ id, dueAt, label, body }) => ({ queue, tag: { id }, dueAt, message: unpack(label, body) })),
    takeMany: async (messages) => settleMany(messages, ({ id }) => this.#messages().unpark(id)),
  };
  readonly #location: MemoryLocation;
  readonly #consumers = new Set<Consumer>();
  readonly #listening = new Set<() => Promise<void>>();
  #handle: MemoryHandle | undefined;

  constructor(location: MemoryLocation) {
    this.url = location.url;
    this.#location = location;
    this.features = {
      maxDelayMs: Number.POSITIVE_INFINITY,
      leaseMs: location.visibilityMs,
      priority: true,
      ordering: true,
      maxBatch: 1000,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      durable: false,
      shared: false,
      attempts: true,
      countsReleases: false,
      stepMs: 1,
      groups: false,
      approximate: false,
    };
  }

  async start(): Promise<void> {
    this.#handle ??= openMemory(this.#location.name);
  }

  async stop(): Promise<void> {
    const handle = this.#handle;
    for (const consumer of this.#consumers) await consumer.close();
    for (const stop of this.#listening) await stop();
    this.#listening.clear();
    this.#handle = undefined;
    handle?.release();
  }

  async declareMany(queues: readonly QueueSpec[]): Promise<void> {
    for (const { name } of queues) this.#messages().declare(name);
  }

  async publishMany(outgoing: readonly Outgoing[]): Promise<ItemFailure[]> {
    const messages = this.#messages();
    const failures: ItemFailure[] = [];
    outgoing.forEach(({ queue, message, delayMs = 0 }, index) => {
      const { body, contentType, contentEncoding, headers, properties } = message;
      if (body.byteLength > MAX_MESSAGE_BYTES) {
        failures.push({ index, error: tooLarge(queue, body.byteLength) });
        return;
      }
      const priority =
        typeof properties.priority === 'number' ? Math.min(9, Math.max(0, Math.trunc(properties.priority) || 0)) : 0;
      const label = JSON.stringify([contentType, contentEncoding, headers, properties]);
      messages.add({ queue, priority, body: new Uint8Array(body), label }, delayMs);
    });
    return failures;
  }

  async publishOnce(outgoing: readonly Outgoing[], key: string, ttlMs: number): Promise<boolean> {
    const large = outgoing.find(({ message }) => message.body.byteLength > MAX_MESSAGE_BYTES);
    if (large) throw tooLarge(large.queue, large.message.body.byteLength);
    const { published } = this.#opened().store;
    if (published.get(key)) return false;
    published.set(key, true, Date.now() + ttlMs);
    await this.publishMany(outgoing);
    return true;
  }

  async consume(queues: readonly string[], { leaseMs }: ConsumeOptions = {}): Promise<Consumer> {
    const consumer = new MemoryConsumer(this.#messages(), queues, leaseMs ?? this.#location.visibilityMs, () =>
      this.#consumers.delete(consumer),
    );
    this.#consumers.add(consumer);
    return consumer;
  }

  async extendMany(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    const messages = this.#messages();
    return settleMany(leases, (tag) => messages.extend(tag, leaseMs));
  }

  async listQueues(): Promise<string[]> {
    return this.#messages().queues();
  }

  async countMany(queues: readonly string[]): Promise<(QueueDepth | undefined)[]> {
    return queues.map((queue) => this.#messages().count(queue));
  }

  async purge(queue: string): Promise<number> {
    return this.#messages().purge(queue);
  }

  #opened(): MemoryHandle {
    if (this.#handle) return this.#handle;
    throw new ConfigError(`the broker ${this.url} is not started: await start() first`);
  }

  #messages(): MemoryMessages {
    return this.#opened().store.messages;
  }

  #unbury(ids: readonly string[]): Buried[] {
    return ids.flatMap((id) => this.#messages().unbury(Number(id)) ?? []);
  }
}

class MemoryConsumer implements Consumer {
  readonly #messages: MemoryMessages;
  readonly #leaseMs: number;
  readonly #onClose: () => void;
  readonly #held = new Map<number, Tag>();
  readonly #closing = new AbortController();
  #queues: readonly string[];

  constructor(messages: MemoryMessages, queues: readonly string[], leaseMs: number, onClose: () => void) {
    this.#messages = messages;
    this.#queues = [...new Set(queues)];
    this.#leaseMs = leaseMs;
    this.#onClose = onClose;
  }

  async receive(max: number, waitMs: number, signal: AbortSignal): Promise<Delivery[]> {
    const deadline = performance.now() + waitMs;
    while (max > 0 && !signal.aborted && !this.#closing.signal.aborted) {
      const claimed = this.#messages.claim(this.#queues, max, this.#leaseMs);
      if (claimed.length > 0) {
        // The first queue goes to the back, so that each comes first in its turn.
        this.#queues = [...this.#queues.slice(1), ...this.#queues.slice(0, 1)];
        return claimed.map((message) => this.#deliver(message));
      }
      const left = deadline - performance.now();
      if (left <= 0) break;
      await this.#messages.wait(left, signal, this.#closing.signal);
    }
    return [];
  }

  async ackMany(deliveries: readonly Delivery[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (tag) => this.#messages.remove(tag));
  }

  async releaseMany(deliveries: readonly Delivery[], delayMs = 0): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (tag) => this.#messages.release(tag, delayMs));
  }

  async rejectMany(deliveries: readonly Delivery[], reasons: readonly string[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (tag, i) => this.#messages.bury(tag, reasons[i] ?? ''));
  }

  async deferMany(deliveries: readonly Delivery[], dueAt: readonly number[]): Promise<ItemFailure[]> {
    return this.#settle(deliveries, (tag, i) => this.#messages.defer(tag, dueAt[i] ?? Date.now()));
  }

  async setQueues(queues: readonly string[]): Promise<void> {
    this.#queues = [...new Set(queues)];
    // A receive under way shall look at the new ones.
    this.#messages.wake();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const tag of this.#held.values()) this.#messages.release(tag, 0);
    this.#held.clear();
    this.#onClose();
  }

  #deliver({ id, token, queue, attempt, body, label }: Stored): Delivery {
    this.#held.set(id, { id, token });
    return { queue, attempt, tag: { id, token }, message: unpack(label, body) };
  }

  #settle(deliveries: readonly Delivery[], one: (tag: Tag, index: number) => boolean): ItemFailure[] {
    return settleMany(deliveries, (tag, index) => {
      if (this.#held.get(tag.id)?.token === tag.token) this.#held.delete(tag.id);
      return one(tag, index);
    });
  }
}

function settleMany(leases: readonly Lease[], one: (tag: Tag, index: number) => boolean): ItemFailure[] {
  const failures: ItemFailure[] = [];
  leases.forEach(({ queue, tag }, index) => {
    if (!one(tag as Tag, index)) failures.push({ index, error: leaseLost(queue) });
  });
  return failures;
}

function leaseLost(queue: string): LeaseLostError {
  return new LeaseLostError(
    `a message of queue '${queue}' is no longer leased here: it was settled, or its lease ended`,
  );
}

function tooLarge(queue: string, bytes: number): MessageTooLargeError {
  return new MessageTooLargeError(
    `a message for queue '${queue}' has a body of ${bytes} bytes; the memory broker takes up to ${MAX_MESSAGE_BYTES}`,
  );
}

function unpack(label: string, body: Uint8Array): WireMessage {
  const [contentType, contentEncoding, headers, properties] = JSON.parse(label);
  // A copy: whoever gets it may hand the bytes over to a thread, and the message may come again.
  return { body: new Uint8Array(body), contentType, contentEncoding, headers, properties };
}

function deadLetter({ id, message, reason, diedAt, attempt }: Buried): DeadLetter {
  return {
    id: String(id),
    queue: message.queue,
    message: unpack(message.label, message.body),
    reason,
    diedAt,
    attempt,
  };
}
