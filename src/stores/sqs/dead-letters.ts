import type { DeadLetter, DeadLetters } from '../../contracts/broker.ts';
import type { SqsQueue } from './api.ts';
import { attributeNames, copyOf, numberIn, readableBody, type Taken, takenOf } from './messages.ts';
import { queueOf } from './names.ts';
import type { SqsPayloads } from './payloads.ts';
import type { SqsQueues } from './queues.ts';
import type { SqsStock } from './stock.ts';

/** Looking hides messages; what is not put back is seen again after this. */
const LOOK_SECONDS = 60;
/** Most messages that one look goes through, in one queue. */
const MAX_LOOK = 10_000;
/** What SQS moved by itself says no reason. */
const MOVED =
  'it was received as often as the redrive policy of its queue allows (maxReceiveCount), and never acknowledged';

/** What becomes of the messages of one look: those that `acts` picks are its business, the others are shown again. */
type Act = (dead: SqsQueue, picked: readonly Taken[]) => Promise<void>;

/**
 * The messages that were given up. SQS finds no message by its id: each look receives what is there, and shows it again. So
 * two looks at once see different parts.
 */
export class SqsDeadLetters implements DeadLetters {
  readonly #queues: SqsQueues;
  readonly #stock: SqsStock;
  readonly #payloads: SqsPayloads | undefined;

  constructor(queues: SqsQueues, stock: SqsStock, payloads: SqsPayloads | undefined) {
    this.#queues = queues;
    this.#payloads = payloads;
    this.#stock = stock;
  }

  async list({ queue, limit = 100 }: { queue?: string; limit?: number } = {}): Promise<DeadLetter[]> {
    const names = queue === undefined ? await this.#stock.list() : [queue];
    const letters = new Map<string, DeadLetter>();
    const seen = new Set<string>();
    for (const name of names) {
      const dead = await this.#queues.deadIfAny(name);
      // One queue may take the dead letters of many.
      if (!dead || seen.has(dead.url)) continue;
      seen.add(dead.url);
      await this.#look(name, undefined, async (_, picked) => {
        const bodies = await this.#bodies(picked);
        for (const one of picked) {
          const letter = this.#letter(one, name, bodies.get(one));
          if (queue === undefined || letter.queue === queue) letters.set(letter.id, letter);
        }
      });
    }
    return [...letters.values()].sort((a, b) => b.diedAt - a.diedAt).slice(0, limit);
  }

  async getMany(ids: readonly string[]): Promise<(DeadLetter | undefined)[]> {
    const found = new Map<string, DeadLetter>();
    await this.#each(ids, (name) => async (_, picked) => {
      const bodies = await this.#bodies(picked);
      for (const one of picked) {
        const letter = this.#letter(one, name, bodies.get(one));
        found.set(idOf(name, one), letter);
      }
    });
    return ids.map((id) => found.get(id));
  }

  async retryMany(ids: readonly string[]): Promise<number> {
    let count = 0;
    await this.#each(ids, (name) => async (dead, picked) => {
      const home = Map.groupBy(picked, (one) => {
        const { queue, message } = this.#letter(one, name);
        return this.#queues.stepFor(queue, message.properties.priority);
      });
      for (const [queueName, some] of home) {
        const queue = await this.#queues.get(queueName);
        const entries = some.map((one) =>
          copyOf(one, queue, this.#queues.location, {
            group: one.attributes[attributeNames.group]?.StringValue,
          }),
        );
        const failures = await queue.api.sendMany(queue, entries);
        const failed = new Set(failures.map(({ index }) => index));
        const sent = some.filter((_, i) => !failed.has(i));
        count += sent.length - (await this.#delete(dead, sent));
        if (failures[0]) throw failures[0].error;
      }
    });
    return count;
  }

  async dropMany(ids: readonly string[]): Promise<number> {
    let count = 0;
    await this.#each(ids, () => async (dead, picked) => {
      count += picked.length - (await this.#delete(dead, picked));
      await this.#payloads?.remove(picked);
    });
    return count;
  }

  /** Bodies that lie elsewhere; one that cannot be had is shown as where it should be. */
  async #bodies(taken: readonly Taken[]): Promise<ReadonlyMap<Taken, string | Error>> {
    return (await this.#payloads?.fetch(taken).catch(() => undefined)) ?? new Map();
  }

  async #delete(dead: SqsQueue, taken: readonly Taken[]): Promise<number> {
    const failures = await dead.api.deleteMany(
      dead,
      taken.map(({ tag }) => tag.handle),
    );
    return failures.length;
  }

  /** One look into each queue that ids name. */
  async #each(ids: readonly string[], act: (name: string) => Act): Promise<void> {
    const byName = Map.groupBy(new Set(ids), (id) => id.slice(0, Math.max(0, id.lastIndexOf('/'))));
    for (const [name, own] of byName) if (name !== '') await this.#look(name, new Set(own), act(name));
  }

  /** Goes through the dead letters of a queue, until all of `ids` are found where they are given. */
  async #look(name: string, ids: ReadonlySet<string> | undefined, act: Act): Promise<void> {
    const dead = await this.#queues.deadIfAny(name);
    if (!dead) return;
    const all = new Map<string, Taken>();
    const picked: Taken[] = [];
    try {
      for (let empty = 0; empty < 2 && all.size < MAX_LOOK; ) {
        // An answer at once may overlook some.
        const request = { max: 10, waitSeconds: empty, leaseSeconds: LOOK_SECONDS };
        const messages = await dead.api.receive(dead, request);
        const now = Date.now();
        for (const message of messages) {
          const taken = takenOf(message, dead, now);
          if (!all.has(taken.tag.id) && (!ids || ids.has(idOf(name, taken)))) picked.push(taken);
          all.set(taken.tag.id, taken);
        }
        empty = messages.length > 0 ? 0 : empty + 1;
        if (ids && picked.length === ids.size) break;
      }
      await act(dead, picked);
    } finally {
      const items = [...all.values()].map(({ tag }) => ({ handle: tag.handle, seconds: 0 }));
      // What is deleted cannot be shown, and what is not shown comes back by itself.
      if (items.length > 0) await dead.api.hideMany(dead, items).catch(() => {});
    }
  }

  #letter(taken: Taken, name: string, whole?: string | Error): DeadLetter {
    const { attributes, sourceArn } = taken;
    const body = typeof whole === 'string' ? whole : taken.body;
    const text = (key: keyof typeof attributeNames) => attributes[attributeNames[key]]?.StringValue;
    const source = sourceArn?.slice(sourceArn.lastIndexOf(':') + 1);
    const moved = source === undefined ? name : queueOf(source, this.#queues.location);
    return {
      id: idOf(name, taken),
      queue: text('queue') ?? moved,
      message: readableBody(body),
      reason: text('reason') ?? MOVED,
      diedAt: numberIn(attributes, attributeNames.died) ?? taken.sentAt,
      attempt: numberIn(attributes, attributeNames.attempts) ?? 0,
    };
  }
}

function idOf(name: string, { tag }: Taken): string {
  return `${name}/${tag.id}`;
}
