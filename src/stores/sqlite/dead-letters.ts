import type { StatementSync } from 'node:sqlite';
import type { DeadLetter, DeadLetters } from '../../contracts/broker.ts';
import { unpackLabel } from './label.ts';
import type { SqliteMessages } from './messages.ts';
import type { SqliteStore } from './store.ts';

interface Row {
  readonly id: number;
  readonly queue: string;
  readonly priority: number;
  readonly reason: string;
  readonly died_at: number;
  readonly attempt: number;
  readonly body: Uint8Array;
  readonly label: string;
}

/** The messages that were given up, in a SQLite store. */
export class SqliteDeadLetters implements DeadLetters {
  readonly #store: SqliteStore;
  readonly #messages: SqliteMessages;
  readonly #all: StatementSync;
  readonly #ofQueue: StatementSync;
  readonly #one: StatementSync;
  readonly #drop: StatementSync;

  constructor(store: SqliteStore, messages: SqliteMessages) {
    const select = 'SELECT id, queue, priority, reason, died_at, attempt, body, label FROM dead_letters';
    this.#store = store;
    this.#messages = messages;
    this.#all = store.prepare(`${select} ORDER BY id DESC LIMIT ?`);
    this.#ofQueue = store.prepare(`${select} WHERE queue = ? ORDER BY id DESC LIMIT ?`);
    this.#one = store.prepare(`${select} WHERE id = ?`);
    this.#drop = store.prepare('DELETE FROM dead_letters WHERE id = ?');
  }

  async list({ queue, limit = 100 }: { queue?: string; limit?: number } = {}): Promise<DeadLetter[]> {
    const rows = await this.#store.read(() =>
      queue === undefined ? this.#all.all(limit) : this.#ofQueue.all(queue, limit),
    );
    return rows.map((row) => deadLetter(row as unknown as Row));
  }

  getMany(ids: readonly string[]): Promise<(DeadLetter | undefined)[]> {
    return this.#store.read(() =>
      ids.map((id) => {
        const row = this.#find(id);
        return row && deadLetter(row);
      }),
    );
  }

  async retryMany(ids: readonly string[]): Promise<number> {
    const count = await this.#store.write(() => {
      const rows = this.#take(ids);
      this.#messages.insertMany(
        rows.map(({ queue, priority, body, label }) => ({ queue, priority, body, label, dueAt: undefined })),
      );
      return rows.length;
    });
    this.#store.tasks.notify();
    return count;
  }

  dropMany(ids: readonly string[]): Promise<number> {
    return this.#store.write(() => this.#take(ids).length);
  }

  #find(id: string): Row | undefined {
    if (!/^\d{1,15}$/.test(id)) return undefined;
    return this.#one.get(Number(id)) as unknown as Row | undefined;
  }

  #take(ids: readonly string[]): Row[] {
    const rows: Row[] = [];
    for (const id of new Set(ids)) {
      const row = this.#find(id);
      if (row) rows.push(row);
    }
    for (const { id } of rows) this.#drop.run(id);
    return rows;
  }
}

function deadLetter(row: Row): DeadLetter {
  return {
    id: String(row.id),
    queue: row.queue,
    message: unpackLabel(row.label, row.body),
    reason: row.reason,
    diedAt: row.died_at,
    attempt: row.attempt,
  };
}
