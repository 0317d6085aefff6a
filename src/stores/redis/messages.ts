import type { QueueDepth } from '../../contracts/broker.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Delivery, Lease, Outgoing } from '../../contracts/message.ts';
import { ConfigError, LeaseLostError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { inSlices } from '../../util/slices.ts';
import { decodeEnvelope, encodeEnvelope } from '../../wire/envelope.ts';
import type { WireMessage } from '../../wire/message.ts';
import type { RedisLayout } from './layout.ts';
import { keyIn, newBatchName, type RedisScripts, redisScripts } from './scripts.ts';
import type { RedisCommand, RedisStore } from './store.ts';
import { redisOptions } from './url.ts';

/** Most messages that one script takes: Lua has a bound for the arguments of a call, and a server one thread. */
export const MAX_BATCH = 1000;

/** Most bytes of envelopes in one batch, unless one message alone has more: it is in the memory of the worker as a whole. */
export const MAX_BATCH_BYTES = 8 * 1024 * 1024;

/** What identifies a delivery to the scripts. */
export interface Tag {
  /** The key under which it is held; each delivery has another, so that a holder from before is told apart. */
  readonly key: string;
  /** The list it came from, and goes back to. */
  readonly list: string;
}

/** A message as it came out of its list. */
export interface Received {
  readonly tag: Tag;
  readonly envelope: string;
}

/** What becomes of a held message, and what the script wants to know for it. */
export type Settlement =
  | { readonly what: 'ack' }
  | { readonly what: 'release'; readonly delayMs: number }
  | { readonly what: 'reject'; readonly reasons: readonly string[]; readonly attempts: readonly number[] }
  | { readonly what: 'defer'; readonly dueAt: readonly number[] };

/** What the receive script answers. */
type ReceiveReply = readonly [nextMs?: string, runs?: readonly (string | number)[], envelopes?: readonly string[]];

const SWEEP_MS = 30_000;

/** The messages in a Redis: all that brokers and consumers do with them, as commands and scripts. */
export class RedisMessages {
  readonly layout: RedisLayout;
  readonly #store: RedisStore;
  readonly #scripts: RedisScripts;
  readonly #sweepMs: number;
  #sweepAt = 0;
  /** Queues that this connection has declared. */
  readonly #known = new Set<string>();
  #knownSince = 0;

  constructor(store: RedisStore, layout: RedisLayout) {
    const { visibilityMs, options } = store.location;
    this.layout = layout;
    this.#store = store;
    this.#sweepMs = Math.min(SWEEP_MS, visibilityMs / 4);
    this.#scripts = redisScripts(layout, {
      visibilityMs,
      restoreLimit: options.unackedRestoreLimit ?? redisOptions.unackedRestoreLimit.default,
      maxBatch: MAX_BATCH,
      maxBytes: MAX_BATCH_BYTES,
    });
  }

  async declare(queues: readonly string[]): Promise<void> {
    const commands = this.#declaring(queues);
    for (const reply of await this.#pipeline(commands)) if (reply instanceof Error) throw reply;
    for (const queue of queues) this.#known.add(queue);
  }

  /** Publishes at most {@link MAX_BATCH} messages. */
  async publish(slice: readonly Outgoing[]): Promise<ItemFailure[]> {
    const { parkDelayed = true } = this.#store.location.options;
    const lists = new Map<string, { envelopes: string[]; indexes: number[]; queue: string }>();
    const parked: (string | number)[] = [];
    const failures: ItemFailure[] = [];
    const batch = newId();
    slice.forEach(({ queue, message, delayMs = 0 }, index) => {
      const list = this.layout.list(queue, message.properties.priority);
      let envelope: string;
      try {
        envelope = encodeEnvelope(message, { routingKey: queue, tag: tagOf(batch, index) });
      } catch (error) {
        failures.push({ index, error: error as Error });
        return;
      }
      if (delayMs > 0 && parkDelayed) {
        parked.push(delayMs, list, envelope);
        return;
      }
      const same = lists.get(list);
      if (same) {
        same.envelopes.push(envelope);
        same.indexes.push(index);
      } else lists.set(list, { envelopes: [envelope], indexes: [index], queue });
    });
    const unknown = this.#unknown(slice);
    const commands: RedisCommand[] = this.#declaring(unknown);
    const before = commands.length;
    for (const [list, { envelopes }] of lists) commands.push(['LPUSH', this.layout.prefix + list, ...envelopes]);
    const [replies] = await Promise.all([
      this.#pipeline(commands),
      parked.length > 0 ? this.#store.script(this.#scripts.park, parked) : undefined,
    ]);
    if (!replies.some((reply) => reply instanceof Error)) for (const queue of unknown) this.#known.add(queue);
    const filled = new Map<string, string>();
    [...lists].forEach(([list, { envelopes, indexes, queue }], i) => {
      const reply = replies[before + i];
      if (reply instanceof Error) for (const index of indexes) failures.push({ index, error: reply });
      // Nobody waits for a list in which there was something: who had found it empty was told then.
      else if (reply === envelopes.length) filled.set(list, queue);
    });
    this.#wake(filled);
    return failures;
  }

  /** Publishes at most {@link MAX_BATCH} messages, all or none; false where a batch of this key was published before. */
  async publishOnce(batch: readonly Outgoing[], key: string, ttlMs: number): Promise<boolean> {
    const { parkDelayed = true } = this.#store.location.options;
    await this.declare(this.#unknown(batch));
    const id = newId();
    const args = batch.flatMap(({ queue, message, delayMs = 0 }, index) => [
      parkDelayed ? delayMs : 0,
      this.layout.list(queue, message.properties.priority),
      encodeEnvelope(message, { routingKey: queue, tag: tagOf(id, index) }),
    ]);
    const mark = this.layout.own(`published:${key}`);
    return (await this.#store.script(this.#scripts.publishOnce, [mark, Math.ceil(ttlMs), ...args])) === 1;
  }

  /** Takes parked messages out. Returns the positions of those that are not parked any more. */
  async takeParked(members: readonly (readonly [queue: string, member: string])[]): Promise<number[]> {
    return (await this.#store.script(this.#scripts.takeParked, members.flat())) as number[];
  }

  /** Takes up to `max` messages. `nextMs` says when to look again, as far as the store knows: 0 where there may be more. */
  async receive(
    queues: readonly string[],
    max: number,
    leaseMs: number,
  ): Promise<{ received: Received[]; nextMs: number }> {
    const batch = newBatchName();
    const now = performance.now();
    const sweep = now >= this.#sweepAt;
    if (sweep) this.#sweepAt = now + this.#sweepMs;
    const args = [Math.min(max, MAX_BATCH), leaseMs, batch, sweep ? '1' : '0', ...queues];
    const reply = (await this.#store.script(this.#scripts.receive, args)) as ReceiveReply;
    const [next = '', runs = [], envelopes = []] = reply;
    const received: Received[] = [];
    for (let run = 0; run < runs.length; run += 2) {
      const list = String(runs[run]);
      for (let left = Number(runs[run + 1]); left > 0; left -= 1) {
        const place = received.length;
        received.push({ tag: { key: keyIn(batch, place + 1), list }, envelope: envelopes[place] ?? '' });
      }
    }
    // What Python workers hold is looked at in the sweep only.
    const sweepMs = this.#sweepAt - performance.now();
    return { received, nextMs: next === '' ? sweepMs : Math.min(Number(next), sweepMs) };
  }

  /** Whether one of the queues has something, or some other type where its list should be. */
  async hasSome(queues: readonly string[]): Promise<boolean> {
    const keys = queues.flatMap((queue) => this.layout.lists(queue)).map((list) => this.layout.prefix + list);
    return keys.length > 0 && Number(await this.#store.command('EXISTS', ...keys)) > 0;
  }

  settle(leases: readonly Lease[], settlement: Settlement): Promise<ItemFailure[]> {
    return inSlices(leases, { maxItems: MAX_BATCH }, async (slice, from) => {
      if (settlement.what === 'ack') {
        return this.#lost(slice, await this.#store.script(this.#scripts.ack, slice.map(keyOf)));
      }
      const args = slice.flatMap(({ tag }, i) => {
        const { key, list } = asTag(tag);
        return [key, list, extra(settlement, from + i)];
      });
      return this.#lost(slice, await this.#store.script(this.#scripts.settle, [settlement.what, ...args]));
    });
  }

  extend(leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
    return inSlices(leases, { maxItems: MAX_BATCH }, async (slice) => {
      return this.#lost(slice, await this.#store.script(this.#scripts.extend, [leaseMs, ...slice.map(keyOf)]));
    });
  }

  async count(queues: readonly string[]): Promise<(QueueDepth | undefined)[]> {
    const flat = (await this.#store.script(this.#scripts.count, queues)) as number[];
    return queues.map((_, i) => {
      const [ready = 0, inFlight = 0, delayed = 0, dead = 0, known] = flat.slice(5 * i, 5 * i + 5);
      return known === 1 ? { ready, inFlight, delayed, dead } : undefined;
    });
  }

  async purge(queue: string): Promise<number> {
    return Number(await this.#store.script(this.#scripts.purge, [queue]));
  }

  /** Queues that were declared here or by Celery. */
  async queues(): Promise<string[]> {
    const names = new Set((await this.#store.command('SMEMBERS', this.layout.own('queues'))) as string[]);
    for (const key of await this.#scan(`${escapeGlob(this.layout.binding(''))}*`)) {
      // Mailboxes of workers are nobody's work.
      if (/\.pidbox$|_kombu\.binding\.celeryev/.test(key)) continue;
      for (const member of (await this.#store.command('SMEMBERS', key)) as string[]) {
        const queue = member.split(this.layout.sep).at(-1);
        if (queue) names.add(queue);
      }
    }
    return [...names].sort();
  }

  async letters(what: 'retry' | 'drop', ids: readonly string[]): Promise<number> {
    let count = 0;
    await inSlices(ids, { maxItems: MAX_BATCH }, async (slice) => {
      count += Number(await this.#store.script(this.#scripts.letters, [what, ...slice]));
      return [];
    });
    return count;
  }

  #declaring(queues: readonly string[]): RedisCommand[] {
    if (queues.length === 0) return [];
    const { layout } = this;
    return [
      ['SADD', layout.own('queues'), ...queues],
      ...queues.map((queue): RedisCommand => ['SADD', layout.binding(queue), layout.bindingMember(queue)]),
    ];
  }

  #unknown(slice: readonly Outgoing[]): string[] {
    if (this.#knownSince !== this.#store.connects) {
      // After a restart without persistence it knows nothing.
      this.#knownSince = this.#store.connects;
      this.#known.clear();
    }
    const unknown = new Set<string>();
    for (const { queue } of slice) if (!this.#known.has(queue)) unknown.add(queue);
    return [...unknown];
  }

  /** `lists` with their queues. */
  #wake(lists: ReadonlyMap<string, string>): void {
    for (const [list, queue] of lists) {
      // Only a hint: who misses it looks by itself a little later.
      this.#store.command('PUBLISH', this.layout.wakeChannel(queue), list).catch(() => {});
    }
  }

  async #pipeline(commands: readonly RedisCommand[]): Promise<unknown[]> {
    const [only] = commands;
    if (!only) return [];
    return commands.length === 1 ? [await this.#store.command(...only)] : this.#store.pipeline(commands);
  }

  async #scan(pattern: string): Promise<string[]> {
    const keys: string[] = [];
    let cursor = '0';
    do {
      const [next, some] = (await this.#store.command('SCAN', cursor, 'MATCH', pattern, 'COUNT', 5000)) as [
        string,
        string[],
      ];
      keys.push(...some);
      cursor = next;
    } while (cursor !== '0');
    return keys;
  }

  #lost(leases: readonly Lease[], indexes: unknown): ItemFailure[] {
    return (indexes as number[])
      .sort((a, b) => a - b)
      .map((index) => ({
        index,
        error: new LeaseLostError(
          `a message of queue '${leases[index]?.queue}' is no longer leased here: it was settled, or its lease ended. Raise leaseTimeout if this comes often`,
        ),
      }));
  }
}

/** The delivery that a received envelope makes. Throws {@link DecodeError} where it is none. */
export function toDelivery({ tag, envelope }: Received, queue: string): Delivery {
  const { message, redelivered } = decodeEnvelope(envelope);
  return { queue, message, tag, attempt: redelivered ? 1 + deliveriesBefore(envelope) : 1 };
}

/** A message for people to look at, whatever it was. */
export function toMessage(envelope: Buffer): WireMessage {
  try {
    return decodeEnvelope(envelope.toString()).message;
  } catch {
    return {
      body: envelope,
      contentType: 'application/octet-stream',
      contentEncoding: 'binary',
      headers: {},
      properties: {},
    };
  }
}

/** A UUID for each message of a batch, growing: the sorted sets in which it will stand are faster for it. */
function tagOf(batch: string, index: number): string {
  return batch.slice(0, -4) + index.toString(16).padStart(4, '0');
}

/** How often it was delivered before; our scripts count it beside kombu's flag. */
function deliveriesBefore(envelope: string): number {
  const counted = [...envelope.matchAll(/"delivery_info"\s*:\s*\{"redelivered": true, "deliveries": (\d+)/g)].at(-1);
  return counted ? Number(counted[1]) : 1;
}

function keyOf({ tag }: Lease): string {
  return asTag(tag).key;
}

function extra(settlement: Exclude<Settlement, { what: 'ack' }>, i: number): string | number {
  switch (settlement.what) {
    case 'release':
      return settlement.delayMs;
    case 'reject':
      return `${settlement.attempts[i] ?? 0} ${settlement.reasons[i] ?? ''}`;
    case 'defer':
      return settlement.dueAt[i] ?? Date.now();
  }
}

/** The tag of a delivery, checked: it may come from another process. */
export function asTag(tag: unknown): Tag {
  const { key, list } = Object(tag);
  if (typeof key === 'string' && typeof list === 'string') return { key, list };
  throw new ConfigError('expected the tag of a delivery of a redis broker, got another value');
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\]/g, '\\$&');
}
