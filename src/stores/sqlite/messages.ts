import type { StatementSync } from 'node:sqlite';
import type { QueueDepth } from '../../contracts/broker.ts';
import { DELAYED, LEASED, READY } from './schema.ts';
import type { SqliteStore } from './store.ts';

/** A message on its way into the tables. `label` is everything of it except the body, as JSON. */
export interface NewMessage {
  readonly queue: string;
  readonly priority: number;
  /** Epoch milliseconds when it becomes ready; `undefined`: now. */
  readonly dueAt: number | undefined;
  readonly body: Uint8Array;
  readonly label: string;
}

/** What proves that a consumer holds a message. */
export interface Tag {
  readonly id: number;
  readonly token: number;
}

/** What a claim gives to its messages. */
export interface NewLease {
  readonly token: number;
  /** Epoch milliseconds. */
  readonly until: number;
}

/** A message just leased. */
export interface Claimed {
  readonly id: number;
  readonly queue: string;
  readonly attempt: number;
  readonly body: Uint8Array;
  readonly label: string;
}

/** What a consumer of some queues can look forward to. */
export interface Outlook {
  readonly ready: boolean;
  /** When the next delay or lease ends, epoch milliseconds; `Infinity` where there is none. */
  readonly nextAt: number;
}

// More than this is not promoted in one transaction, so that a flood of due messages does not hold the file long.
const MAX_PROMOTED = 1000;

type Row = [id: number, attempt: number, body: Uint8Array, label: string];

/**
 * The tables of queues and messages. Everything here is synchronous and runs inside `SqliteStore.read` or `write`.
 * Instants are epoch milliseconds; the columns take whole ones only, so fractions are rounded up.
 *
 * Messages are handed out by priority, then by `rank`: the place in the order of arrival, which a delayed message gets
 * when it is due. A lease ends when its token is taken away, which happens when a consumer of the queue looks and the
 * time is up; so a late acknowledgement that nobody has overtaken still counts.
 */
export class SqliteMessages {
  readonly #known = new Set<string>();
  readonly #sql: ReturnType<typeof prepareAll>;

  constructor(store: SqliteStore) {
    this.#sql = prepareAll(store);
  }

  declare(queues: Iterable<string>): void {
    for (const name of queues) this.#sql.declare.run(name);
  }

  /** Saves the next {@link insertMany} the work of declaring these. Call it after the transaction, for it may fail. */
  remember(queues: Iterable<string>): void {
    for (const name of queues) this.#known.add(name);
  }

  /** Adds messages, and their queues where they are new. */
  insertMany(messages: readonly NewMessage[]): void {
    let id = this.#allocate(messages.length);
    for (const { queue, priority, dueAt, body, label } of messages) {
      if (!this.#known.has(queue)) this.#sql.declare.run(queue);
      this.#sql.insert.run(id, queue, priority, id, dueAt === undefined ? READY : DELAYED, Math.ceil(dueAt ?? 0));
      this.#sql.insertPayload.run(id, body, label);
      id += 1;
    }
  }

  /** A look without a write transaction. */
  outlook(queues: readonly string[], now: number): Outlook {
    let nextAt = Number.POSITIVE_INFINITY;
    for (const queue of queues) {
      const [ready, until] = this.#sql.outlook.get(queue) as unknown as [number | null, number | null];
      if (ready !== null || (until !== null && until <= now)) return { ready: true, nextAt: now };
      if (until !== null && until < nextAt) nextAt = until;
    }
    return { ready: false, nextAt };
  }

  /** Leases up to `max` ready messages: first a fair share of each queue, then what is left of the first ones. */
  claim(queues: readonly string[], max: number, lease: NewLease, now: number): Claimed[] {
    for (const queue of queues) this.#promote(queue, now);
    const claimed: Claimed[] = [];
    queues.forEach((queue, i) => {
      this.#take(queue, Math.ceil((max - claimed.length) / (queues.length - i)), lease, claimed);
    });
    if (queues.length > 1) {
      for (const queue of queues) this.#take(queue, max - claimed.length, lease, claimed);
    }
    return claimed;
  }

  extend(tag: Tag, until: number): boolean {
    return this.#sql.extend.run(Math.ceil(until), tag.id, tag.token).changes !== 0;
  }

  /** Forgets a message. False where the tag no longer holds it; so for all that take a tag. */
  remove(tag: Tag): boolean {
    if (this.#sql.remove.run(tag.id, tag.token).changes === 0) return false;
    this.#sql.removePayload.run(tag.id);
    return true;
  }

  /** Puts a message back at its old place, the delivery uncounted. */
  release(tag: Tag): boolean {
    return this.#sql.release.run(tag.id, tag.token).changes !== 0;
  }

  /** Puts a message back when due, with this delivery uncounted or with none counted. */
  park(tag: Tag, dueAt: number, keepAttempts: boolean): boolean {
    return this.#sql.park.run(Math.ceil(dueAt), keepAttempts ? 1 : 0, tag.id, tag.token).changes !== 0;
  }

  bury(tag: Tag, reason: string, now: number): boolean {
    if (this.#sql.bury.run(reason, now, tag.id, tag.token).changes === 0) return false;
    return this.remove(tag);
  }

  queues(): string[] {
    return this.#sql.queues.all().map((row) => String(row.name));
  }

  count(queue: string, now: number): QueueDepth | undefined {
    if (!this.#sql.queueExists.get(queue)) return undefined;
    const [ready, inFlight, delayed, dead] = this.#sql.count.get(queue, now) as unknown as [
      number,
      number,
      number,
      number,
    ];
    return { ready, inFlight, delayed, dead };
  }

  /** Drops up to `limit` messages that nobody holds. Returns how many. */
  purge(queue: string, limit: number, now: number): number {
    this.#promote(queue, now);
    const ids = this.#sql.unheld.all(queue, limit) as unknown as [number][];
    for (const [id] of ids) {
      this.#sql.drop.run(id);
      this.#sql.removePayload.run(id);
    }
    return ids.length;
  }

  #allocate(count: number): number {
    const [last] = this.#sql.allocate.get(count) as unknown as [number];
    return last - count + 1;
  }

  /** Makes ready what is due, in the order of becoming due, and what a consumer did not finish in its time. */
  #promote(queue: string, now: number): void {
    const due = this.#sql.due.all(queue, now, MAX_PROMOTED) as unknown as [id: number, state: number][];
    if (due.length === 0) return;
    let rank = this.#allocate(due.length);
    for (const [id, state] of due) {
      if (state === DELAYED) this.#sql.arrive.run(rank++, id);
      else this.#sql.expire.run(id);
    }
  }

  #take(queue: string, max: number, { token, until }: NewLease, into: Claimed[]): void {
    if (max <= 0) return;
    for (const row of this.#sql.ready.all(queue, max) as unknown as Row[]) {
      const [id, attempt, body, label] = row;
      this.#sql.lease.run(Math.ceil(until), token, id);
      into.push({ id, queue, attempt: attempt + 1, body, label });
    }
  }
}

type Name =
  | 'declare'
  | 'allocate'
  | 'insert'
  | 'insertPayload'
  | 'outlook'
  | 'due'
  | 'arrive'
  | 'expire'
  | 'ready'
  | 'lease'
  | 'extend'
  | 'remove'
  | 'removePayload'
  | 'release'
  | 'park'
  | 'bury'
  | 'queues'
  | 'queueExists'
  | 'count'
  | 'unheld'
  | 'drop';

function prepareAll(store: SqliteStore): Record<Name, StatementSync> {
  const held = `id = ? AND token = ? AND state = ${LEASED}`;
  const ready = `messages INDEXED BY messages_ready WHERE queue = ?1 AND state = ${READY}`;
  const parked = `messages INDEXED BY messages_parked WHERE queue = ?1 AND state <> ${READY}`;
  return {
    declare: store.prepare('INSERT OR IGNORE INTO queues (name) VALUES (?)'),
    allocate: store.prepareRows("UPDATE counters SET value = value + ? WHERE name = 'messages' RETURNING value"),
    insert: store.prepare(
      'INSERT INTO messages (id, queue, priority, rank, state, until, token, attempt) VALUES (?, ?, ?, ?, ?, ?, 0, 0)',
    ),
    insertPayload: store.prepare('INSERT INTO payloads (id, body, label) VALUES (?, ?, ?)'),
    outlook: store.prepareRows(
      `SELECT (SELECT 1 FROM ${ready} LIMIT 1), (SELECT until FROM ${parked} ORDER BY until LIMIT 1)`,
    ),
    due: store.prepareRows(`SELECT id, state FROM ${parked} AND until <= ?2 ORDER BY until LIMIT ?3`),
    arrive: store.prepare(`UPDATE messages SET state = ${READY}, until = 0, rank = ? WHERE id = ?`),
    expire: store.prepare(`UPDATE messages SET state = ${READY}, until = 0, token = 0 WHERE id = ?`),
    ready: store.prepareRows(
      `SELECT m.id, m.attempt, p.body, p.label FROM
         (SELECT id, attempt, priority, rank FROM ${ready} ORDER BY priority, rank LIMIT ?2) AS m
         CROSS JOIN payloads AS p ON p.id = m.id ORDER BY m.priority, m.rank`,
    ),
    lease: store.prepare(
      `UPDATE messages SET state = ${LEASED}, until = ?, token = ?, attempt = attempt + 1 WHERE id = ?`,
    ),
    extend: store.prepare(`UPDATE messages SET until = ? WHERE ${held}`),
    remove: store.prepare(`DELETE FROM messages WHERE ${held}`),
    removePayload: store.prepare('DELETE FROM payloads WHERE id = ?'),
    release: store.prepare(
      `UPDATE messages SET state = ${READY}, until = 0, token = 0, attempt = attempt - 1 WHERE ${held}`,
    ),
    park: store.prepare(
      `UPDATE messages SET state = ${DELAYED}, until = ?, token = 0, attempt = (attempt - 1) * ? WHERE ${held}`,
    ),
    bury: store.prepare(
      `INSERT INTO dead_letters (queue, priority, reason, died_at, attempt, body, label)
         SELECT queue, priority, ?, ?, attempt, body, label FROM messages JOIN payloads USING (id) WHERE ${held}`,
    ),
    queues: store.prepare('SELECT name FROM queues ORDER BY name'),
    queueExists: store.prepare('SELECT 1 FROM queues WHERE name = ?'),
    count: store.prepareRows(
      `SELECT (SELECT count(*) FROM ${ready}) + (SELECT count(*) FROM ${parked} AND until <= ?2),
              (SELECT count(*) FROM ${parked} AND until > ?2 AND state = ${LEASED}),
              (SELECT count(*) FROM ${parked} AND until > ?2 AND state = ${DELAYED}),
              (SELECT count(*) FROM dead_letters WHERE queue = ?1)`,
    ),
    unheld: store.prepareRows(`SELECT id FROM messages WHERE queue = ? AND state <> ${LEASED} ORDER BY id LIMIT ?`),
    drop: store.prepare('DELETE FROM messages WHERE id = ?'),
  };
}
