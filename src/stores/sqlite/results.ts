import type { StatementSync } from 'node:sqlite';
import { isFinished, type ResultRecord } from '../../contracts/backend.ts';
import type { SqliteStore } from './store.ts';

/** Where a reader of finished tasks stands: everything up to here it has seen. */
export interface Position {
  readonly seq: number;
  readonly id: number;
}

/** A task that finished after a position. */
export interface Finished extends Position {
  readonly taskId: string;
}

/** How final a state is: 0 may change, 1 finished, 2 succeeded. */
function finalityOf(state: string): 0 | 1 | 2 {
  if (state === 'SUCCESS') return 2;
  return isFinished(state) ? 1 : 0;
}

// Expired rows removed by one call, beyond as many as it stores: the table cannot grow by its litter.
const EXTRA_SWEPT = 10;

/** The table of results. Everything here is synchronous and runs inside `SqliteStore.read` or `write`. */
export class SqliteResults {
  readonly #upsert: StatementSync;
  readonly #sweep: StatementSync;
  readonly #fetch: StatementSync;
  readonly #forget: StatementSync;
  readonly #nextSeq: StatementSync;
  readonly #lastSeq: StatementSync;
  readonly #finishedAfter: StatementSync;

  constructor(store: SqliteStore) {
    this.#upsert = store.prepare(
      `INSERT INTO results (task_id, state, finality, seq, expires_at, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
       ON CONFLICT (task_id) DO UPDATE SET state = ?2, finality = ?3, seq = ?4, expires_at = ?5, document = ?6
       WHERE results.expires_at <= ?7 OR (results.finality < 2 AND results.finality <= ?3)`,
    );
    this.#sweep = store.prepare(
      'DELETE FROM results WHERE id IN (SELECT id FROM results WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)',
    );
    this.#fetch = store.prepareRows(
      'SELECT state, document FROM results WHERE task_id = ? AND (expires_at IS NULL OR expires_at > ?)',
    );
    this.#forget = store.prepare('DELETE FROM results WHERE task_id = ?');
    this.#nextSeq = store.prepareRows("UPDATE counters SET value = value + 1 WHERE name = 'results' RETURNING value");
    this.#lastSeq = store.prepareRows("SELECT value FROM counters WHERE name = 'results'");
    this.#finishedAfter = store.prepare(
      `SELECT seq, id, task_id AS taskId FROM results
       WHERE seq IS NOT NULL AND (seq, id) > (?, ?) ORDER BY seq, id LIMIT ?`,
    );
  }

  /** Stores what the overwrite law of `ResultBackend.storeMany` lets through. */
  upsertMany(records: readonly ResultRecord[], ttlMs: number | undefined, now: number): void {
    const [seq] = this.#nextSeq.get() as unknown as [number];
    const expiresAt = ttlMs === undefined ? null : Math.ceil(now + ttlMs);
    for (const { taskId, state, document } of records) {
      const finality = finalityOf(state);
      this.#upsert.run(taskId, state, finality, finality === 0 ? null : seq, expiresAt, document, now);
    }
    this.#sweep.run(now, records.length + EXTRA_SWEPT);
  }

  fetchMany(taskIds: readonly string[], now: number): (ResultRecord | undefined)[] {
    return taskIds.map((taskId) => {
      const row = this.#fetch.get(taskId, now) as unknown as [string, string | Uint8Array] | undefined;
      return row && { taskId, state: row[0], document: row[1] };
    });
  }

  fetchFinished(taskIds: readonly string[], now: number): ResultRecord[] {
    return this.fetchMany(taskIds, now).filter(
      (record) => record !== undefined && isFinished(record.state),
    ) as ResultRecord[];
  }

  forgetMany(taskIds: readonly string[]): void {
    for (const taskId of taskIds) this.#forget.run(taskId);
  }

  /** The position after everything that has finished so far. */
  end(): Position {
    const [seq] = this.#lastSeq.get() as unknown as [number];
    return { seq, id: Number.MAX_SAFE_INTEGER };
  }

  finishedAfter({ seq, id }: Position, limit: number): Finished[] {
    return this.#finishedAfter.all(seq, id, limit) as unknown as Finished[];
  }
}
