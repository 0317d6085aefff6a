import type { StatementSync } from 'node:sqlite';
import type { JoinPart, JoinProgress, JoinStore } from '../../contracts/backend.ts';
import type { SqliteStore } from './store.ts';

// How long a finished join is remembered, so that a part that comes late or twice does not start it anew.
const REMEMBER_MS = 24 * 3600 * 1000;
const SWEPT = 20;
// The position of a row that stands for a part more to come. Parts have positions from 0.
const GROWN = -1;

interface Join {
  readonly size: number | null;
  readonly count: number;
  readonly taken: number;
  readonly expires_at: number | null;
}

/** The joins of a SQLite store. */
export class SqliteJoins implements JoinStore {
  readonly #store: SqliteStore;
  readonly #sql: ReturnType<typeof prepareAll>;

  constructor(store: SqliteStore) {
    this.#store = store;
    this.#sql = prepareAll(store);
  }

  setSize(joinId: string, size: number, ttlMs?: number): Promise<JoinProgress> {
    return this.#store.write(() => {
      this.#touch(joinId, ttlMs);
      const { grown } = this.#sql.grown.get(joinId, GROWN) as unknown as { grown: number };
      this.#sql.setSize.run(size + grown, joinId);
      return this.#progress(joinId);
    });
  }

  addMany(joinId: string, parts: readonly JoinPart[], ttlMs?: number): Promise<JoinProgress> {
    return this.#store.write(() => {
      this.#touch(joinId, ttlMs);
      if (this.#get(joinId)?.taken === 0) {
        let added = 0;
        for (const { key, index, document } of parts) {
          added += Number(this.#sql.addPart.run(joinId, key, index, document).changes);
        }
        this.#sql.addCount.run(added, joinId);
      }
      return this.#progress(joinId);
    });
  }

  grow(joinId: string, key: string, ttlMs?: number): Promise<JoinProgress> {
    return this.#store.write(() => {
      this.#touch(joinId, ttlMs);
      if (this.#get(joinId)?.taken === 0) {
        // A size that is not known yet stays unknown, and counts this row when it comes.
        const { changes } = this.#sql.addPart.run(joinId, `grown:${key}`, GROWN, '');
        this.#sql.addSize.run(changes, joinId);
      }
      return this.#progress(joinId);
    });
  }

  read(joinId: string): Promise<JoinPart[] | undefined> {
    return this.#store.read(() => {
      const join = this.#get(joinId);
      const open = join?.taken === 0 && (join.expires_at === null || join.expires_at > Date.now());
      return open ? this.#parts(joinId) : undefined;
    });
  }

  take(joinId: string): Promise<JoinPart[] | undefined> {
    return this.#store.write(() => {
      const now = Date.now();
      this.#sweep(now);
      if (this.#sql.take.run(now + REMEMBER_MS, joinId, now).changes === 0) return undefined;
      const parts = this.#parts(joinId);
      this.#sql.removeParts.run(joinId);
      return parts;
    });
  }

  /** Makes sure that the join exists, and lives on for `ttlMs`. */
  #touch(joinId: string, ttlMs: number | undefined): void {
    const now = Date.now();
    this.#sweep(now);
    if (this.#sql.removeExpired.run(joinId, now).changes !== 0) this.#sql.removeParts.run(joinId);
    this.#sql.touch.run(joinId, ttlMs === undefined ? null : Math.ceil(now + ttlMs));
  }

  #parts(joinId: string): JoinPart[] {
    const rows = this.#sql.parts.all(joinId) as unknown as JoinPart[];
    // Plain objects: those of the driver have no prototype.
    return rows.map(({ key, index, document }) => ({ key, index, document }));
  }

  #get(joinId: string): Join | undefined {
    return this.#sql.get.get(joinId) as unknown as Join | undefined;
  }

  #progress(joinId: string): JoinProgress {
    const { count = 0, size } = this.#get(joinId) ?? {};
    return { count, size: size ?? undefined };
  }

  #sweep(now: number): void {
    for (const row of this.#sql.expired.all(now, SWEPT)) {
      const id = String(row.id);
      this.#sql.removeExpired.run(id, now);
      this.#sql.removeParts.run(id);
    }
  }
}

type Name =
  | 'touch'
  | 'get'
  | 'setSize'
  | 'addSize'
  | 'grown'
  | 'addPart'
  | 'addCount'
  | 'take'
  | 'parts'
  | 'removeParts'
  | 'expired'
  | 'removeExpired';

function prepareAll(store: SqliteStore): Record<Name, StatementSync> {
  return {
    touch: store.prepare(
      `INSERT INTO joins (id, size, count, taken, expires_at) VALUES (?, NULL, 0, 0, ?)
       ON CONFLICT (id) DO UPDATE SET expires_at = max(joins.expires_at, coalesce(excluded.expires_at, joins.expires_at))`,
    ),
    get: store.prepare('SELECT size, count, taken, expires_at FROM joins WHERE id = ?'),
    setSize: store.prepare('UPDATE joins SET size = ? WHERE id = ?'),
    addSize: store.prepare('UPDATE joins SET size = size + ? WHERE id = ?'),
    grown: store.prepare('SELECT count(*) AS grown FROM join_parts WHERE join_id = ? AND position = ?'),
    addPart: store.prepare('INSERT OR IGNORE INTO join_parts (join_id, key, position, document) VALUES (?, ?, ?, ?)'),
    addCount: store.prepare('UPDATE joins SET count = count + ? WHERE id = ?'),
    take: store.prepare(
      `UPDATE joins SET taken = 1, expires_at = ?
       WHERE id = ? AND taken = 0 AND (expires_at IS NULL OR expires_at > ?)`,
    ),
    parts: store.prepare(
      `SELECT key, position AS "index", document FROM join_parts
       WHERE join_id = ? AND position <> ${GROWN} ORDER BY position, key`,
    ),
    removeParts: store.prepare('DELETE FROM join_parts WHERE join_id = ?'),
    expired: store.prepare('SELECT id FROM joins WHERE expires_at <= ? ORDER BY expires_at LIMIT ?'),
    removeExpired: store.prepare('DELETE FROM joins WHERE id = ? AND expires_at <= ?'),
  };
}
