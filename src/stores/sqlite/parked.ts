import type { StatementSync } from 'node:sqlite';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Lease } from '../../contracts/message.ts';
import type { ParkedMessage, ParkedMessages } from '../../contracts/moving.ts';
import { LeaseLostError } from '../../errors.ts';
import { inSlices } from '../../util/slices.ts';
import { MAX_BATCH } from './consumer.ts';
import { unpackLabel } from './label.ts';
import { DELAYED } from './schema.ts';
import type { SqliteStore } from './store.ts';

type Row = [id: number, until: number, body: Uint8Array, label: string];

/** The messages of a SQLite store that are not due yet. */
export class SqliteParked implements ParkedMessages {
  readonly #store: SqliteStore;
  readonly #list: StatementSync;
  readonly #take: StatementSync;
  readonly #takePayload: StatementSync;

  constructor(store: SqliteStore) {
    this.#store = store;
    this.#list = store.prepareRows(
      `SELECT m.id, m.until, p.body, p.label FROM messages AS m INDEXED BY messages_parked
         CROSS JOIN payloads AS p ON p.id = m.id
         WHERE m.queue = ? AND m.state <> 0 AND m.state = ${DELAYED} ORDER BY m.until, m.id LIMIT ?`,
    );
    this.#take = store.prepare(`DELETE FROM messages WHERE id = ? AND until = ? AND state = ${DELAYED}`);
    this.#takePayload = store.prepare('DELETE FROM payloads WHERE id = ?');
  }

  list(queue: string, limit: number): Promise<ParkedMessage[]> {
    return this.#store.read(() => {
      const rows = this.#list.all(queue, Math.min(limit, Number.MAX_SAFE_INTEGER)) as unknown as Row[];
      return rows.map(([id, dueAt, body, label]) => ({
        queue,
        tag: { id, dueAt },
        dueAt,
        message: unpackLabel(label, body),
      }));
    });
  }

  takeMany(messages: readonly Lease[]): Promise<ItemFailure[]> {
    return inSlices(messages, { maxItems: MAX_BATCH }, (slice) =>
      this.#store.write(() =>
        slice.flatMap(({ queue, tag }, index) => {
          const { id, dueAt } = Object(tag);
          if (this.#take.run(id, dueAt).changes === 0) return [{ index, error: notParked(queue) }];
          this.#takePayload.run(id);
          return [];
        }),
      ),
    );
  }
}

function notParked(queue: string): LeaseLostError {
  return new LeaseLostError(`a message of queue '${queue}' is not parked any more: it fell due, or somebody took it`);
}
