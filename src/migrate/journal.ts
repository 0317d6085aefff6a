import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { newId } from '../util/ids.ts';
import { decodeEnvelope, encodeEnvelope } from '../wire/envelope.ts';
import type { WireMessage } from '../wire/message.ts';
import { fingerprint } from './fingerprint.ts';
import { type JournalPlace, openJournalFile, removeJournalFile } from './journal-file.ts';

/** `state` of a message: written down; whether the source has let it go is not known. */
const HELD = 0;
/** Ours alone: the source has forgotten it. */
const TAKEN = 1;
/** Being sent; whether the destination has it is not known. */
const SENDING = 2;
/** At the destination. */
const SENT = 3;

/** A message to be written down before the source is told to forget it. */
export interface Held {
  readonly queue: string;
  readonly message: WireMessage;
  /** Identifies it to the source, as JSON. */
  readonly tag: unknown;
  /** It was seen before it was due. */
  readonly parked: boolean;
  /** When it is due, epoch milliseconds. */
  readonly dueAt: number | undefined;
  /** Until then nobody else can have it, by the clock of this machine. */
  readonly heldUntil: number;
}

/** A message that is held, with its place in the journal. */
export interface HeldEntry {
  readonly seq: number;
  readonly queue: string;
  readonly tag: unknown;
  readonly parked: boolean;
  readonly heldUntil: number;
}

/** A message to be sent. */
export interface Entry {
  readonly seq: number;
  readonly queue: string;
  readonly message: WireMessage;
  readonly dueAt: number | undefined;
  readonly fingerprint: string;
}

/** Messages that are sent in one go. */
export interface Batch {
  /** No other batch has it, of this migration or another. */
  readonly key: string;
  /** When it was sent first, epoch milliseconds. */
  readonly sentAt: number;
  readonly entries: readonly Entry[];
}

/** How many messages are in which state. */
export interface JournalCounts {
  readonly held: number;
  readonly taken: number;
  readonly sending: number;
  readonly sent: number;
}

/** What limits a batch. */
export interface BatchLimits {
  readonly maxItems: number;
  readonly maxBytes: number;
}

type Row = Readonly<Record<string, SQLInputValue>>;

/**
 * What a migration knows, in a file. A message is in it before the source forgets it and until the destination has it, so
 * that one is in at least one place at any moment. Every method is one transaction.
 */
export class Journal {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #sql: ReturnType<typeof prepareAll>;

  /** @throws StoreLockedError, ConfigError, StoreError */
  constructor(place: JournalPlace) {
    this.path = place.path;
    this.#db = openJournalFile(place);
    this.#sql = prepareAll(this.#db);
  }

  /**
   * Writes messages down. One that may have been let go before, and has come again, takes its old place. Returns their
   * numbers, in order.
   */
  hold(messages: readonly Held[]): number[] {
    return this.#transact(() =>
      messages.map(({ queue, message, tag, parked, dueAt, heldUntil }) => {
        const print = fingerprint(queue, message);
        const known = this.#sql.unsureLike.get(print, queue)?.seq;
        if (known !== undefined) {
          this.#sql.holdAgain.run(JSON.stringify(tag), parked ? 1 : 0, dueAt ?? null, heldUntil, known);
          return Number(known);
        }
        const envelope = encodeEnvelope(message, { routingKey: queue, tag: '' });
        const added = [queue, print, envelope, dueAt ?? null, parked ? 1 : 0, JSON.stringify(tag), heldUntil];
        return Number(this.#sql.hold.run(...added).lastInsertRowid);
      }),
    );
  }

  /** Messages of which it is not known whether the source has let them go, and that can be asked for. */
  held(): HeldEntry[] {
    return this.#sql.held.all().map((row) => ({
      seq: Number(row.seq),
      queue: String(row.queue),
      tag: JSON.parse(String(row.tag)),
      parked: row.parked === 1,
      heldUntil: Number(row.held_until),
    }));
  }

  /** The source has let them go: they are ours. */
  taken(seqs: readonly number[]): void {
    this.#each(seqs, (seq) => this.#sql.setState.run(TAKEN, seq));
  }

  /** They were never ours: somebody else has them. */
  gone(seqs: readonly number[]): void {
    this.#each(seqs, (seq) => this.#sql.remove.run(seq));
  }

  /** Only the source as a whole can tell: when nothing of a queue is left there, and they did not come again, they are ours. */
  unsure(seqs: readonly number[]): void {
    this.#each(seqs, (seq) => this.#sql.unsure.run(seq));
  }

  /** Those that are still unsure, of one queue. */
  unsureOf(queue: string): number[] {
    return this.#sql.unsureOf.all(queue).map(({ seq }) => Number(seq));
  }

  /** The next messages to send, of one queue; from now on they are being sent. */
  nextBatch(queue: string, { maxItems, maxBytes }: BatchLimits): Batch | undefined {
    const rows: Row[] = [];
    let bytes = 0;
    for (const row of this.#sql.nextTaken.iterate(queue, maxItems) as Iterable<Row>) {
      bytes += String(row.envelope).length;
      if (rows.length > 0 && bytes > maxBytes) break;
      rows.push(row);
    }
    return rows.length === 0 ? undefined : this.#begin(rows.map(toEntry));
  }

  /** Sends the messages of a batch one by one: each is a batch of its own from now on. */
  split({ entries }: Batch): Batch[] {
    return entries.map((entry) => this.#begin([entry]));
  }

  /** Batches of which it is not known whether the destination has them. */
  sending(): Batch[] {
    const batches = new Map<string, { sentAt: number; entries: Entry[] }>();
    for (const row of this.#sql.sending.all() as Row[]) {
      const key = String(row.batch);
      const batch = batches.get(key) ?? { sentAt: Number(row.sent_at), entries: [] };
      batch.entries.push(toEntry(row));
      batches.set(key, batch);
    }
    return [...batches].map(([key, batch]) => ({ key, ...batch }));
  }

  /** The destination has them. */
  sent(entries: readonly Entry[]): void {
    this.#each(entries, ({ seq }) => this.#sql.sent.run(seq));
  }

  /** The destination has not got them. With `trouble` they wait for the next run of the migration. */
  notSent(entries: readonly Entry[], trouble?: string): void {
    this.#each(entries, ({ seq }) => this.#sql.notSent.run(trouble ?? null, seq));
  }

  /** Messages that could not be sent, with the reason. */
  troubled(): { readonly queue: string; readonly id: string; readonly trouble: string }[] {
    return this.#sql.troubled.all().map((row) => {
      const { headers, properties } = decodeEnvelope(String(row.envelope)).message;
      return {
        queue: String(row.queue),
        id: String(headers.id ?? properties.correlation_id),
        trouble: String(row.trouble),
      };
    });
  }

  /** Lets messages that could not be sent be tried again. */
  forgiveTroubled(): void {
    this.#sql.forgive.run();
  }

  /** How many messages of this fingerprint are known to be at the destination. */
  sentLike(print: string): number {
    return Number(this.#sql.sentLike.get(Buffer.from(print, 'hex'))?.n);
  }

  /** Queues of which messages are on their way. */
  queues(): string[] {
    return this.#sql.queues.all().map(({ queue }) => String(queue));
  }

  counts(): JournalCounts {
    const counts = [0, 0, 0, 0];
    for (const { state, n } of this.#sql.counts.all()) counts[Number(state)] = Number(n);
    const [held = 0, taken = 0, sending = 0, sent = 0] = counts;
    return { held, taken, sending, sent };
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  /** Closes it and removes its file. */
  remove(): void {
    this.close();
    removeJournalFile(this.path);
  }

  #begin(entries: readonly Entry[]): Batch {
    const key = newId();
    const sentAt = Date.now();
    this.#each(entries, ({ seq }) => this.#sql.begin.run(key, sentAt, seq));
    return { key, sentAt, entries };
  }

  #each<T>(items: readonly T[], one: (item: T) => unknown): void {
    if (items.length > 0) this.#transact(() => items.forEach(one));
  }

  #transact<T>(body: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}

function toEntry(row: Row): Entry {
  return {
    seq: Number(row.seq),
    queue: String(row.queue),
    message: decodeEnvelope(String(row.envelope)).message,
    dueAt: row.due_at === null ? undefined : Number(row.due_at),
    fingerprint: Buffer.from(row.fingerprint as Uint8Array).toString('hex'),
  };
}

type Name =
  | 'hold'
  | 'holdAgain'
  | 'held'
  | 'setState'
  | 'remove'
  | 'unsure'
  | 'unsureOf'
  | 'unsureLike'
  | 'nextTaken'
  | 'begin'
  | 'sending'
  | 'sent'
  | 'notSent'
  | 'troubled'
  | 'forgive'
  | 'sentLike'
  | 'queues'
  | 'counts';

function prepareAll(db: DatabaseSync): Record<Name, StatementSync> {
  const unsure = `state = ${HELD} AND tag IS NULL`;
  return {
    hold: db.prepare(
      `INSERT INTO messages (queue, state, fingerprint, envelope, due_at, parked, tag, held_until)
         VALUES (?, ${HELD}, ?, ?, ?, ?, ?, ?)`,
    ),
    holdAgain: db.prepare('UPDATE messages SET tag = ?, parked = ?, due_at = ?, held_until = ? WHERE seq = ?'),
    held: db.prepare(`SELECT * FROM messages WHERE state = ${HELD} AND tag IS NOT NULL ORDER BY seq`),
    setState: db.prepare('UPDATE messages SET state = ?, tag = NULL WHERE seq = ?'),
    remove: db.prepare('DELETE FROM messages WHERE seq = ?'),
    unsure: db.prepare('UPDATE messages SET tag = NULL WHERE seq = ?'),
    unsureOf: db.prepare(`SELECT seq FROM messages WHERE ${unsure} AND queue = ? ORDER BY seq`),
    unsureLike: db.prepare(`SELECT seq FROM messages WHERE fingerprint = ? AND queue = ? AND ${unsure} LIMIT 1`),
    nextTaken: db.prepare(
      `SELECT * FROM messages WHERE state = ${TAKEN} AND queue = ? AND trouble IS NULL ORDER BY seq LIMIT ?`,
    ),
    begin: db.prepare(`UPDATE messages SET state = ${SENDING}, batch = ?, sent_at = ? WHERE seq = ?`),
    sending: db.prepare(`SELECT * FROM messages WHERE state = ${SENDING} ORDER BY seq`),
    sent: db.prepare(`UPDATE messages SET state = ${SENT}, envelope = NULL WHERE seq = ?`),
    notSent: db.prepare(`UPDATE messages SET state = ${TAKEN}, batch = NULL, trouble = ? WHERE seq = ?`),
    troubled: db.prepare('SELECT queue, envelope, trouble FROM messages WHERE trouble IS NOT NULL ORDER BY seq'),
    forgive: db.prepare('UPDATE messages SET trouble = NULL WHERE trouble IS NOT NULL'),
    sentLike: db.prepare(`SELECT count(*) AS n FROM messages WHERE fingerprint = ? AND state = ${SENT}`),
    queues: db.prepare(`SELECT DISTINCT queue FROM messages WHERE state < ${SENT} ORDER BY queue`),
    counts: db.prepare('SELECT state, count(*) AS n FROM messages GROUP BY state'),
  };
}
