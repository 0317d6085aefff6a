import type { StatementSync } from 'node:sqlite';
import type { Claim, ClaimAnswer, ClaimRequest } from '../../contracts/limits.ts';
import type { SqliteStore } from './store.ts';

// Rows that have ended and are removed by one call, beyond as many as it may add: the table cannot grow by its litter.
const EXTRA_SWEPT = 10;

/** What is known of a key: how many hold it, whether the one who asks does, and whose lease ends first. */
type Look = readonly [held: number, mine: number | null, done: number | null, until: number, holder: string];

/** The table of claims. Everything here is synchronous and runs inside `SqliteStore.write`. */
export class SqliteClaims {
  readonly #sql: ReturnType<typeof prepareAll>;

  constructor(store: SqliteStore) {
    this.#sql = prepareAll(store);
  }

  claim({ key, holder, leaseMs, slots = 1 }: ClaimRequest, now: number): ClaimAnswer {
    const [held, mine, done, until, first] = this.#sql.look.get(key, holder, now) as unknown as Look;
    if (!done && (mine || held < slots)) {
      this.#sql.put.run(key, holder, Math.ceil(now + leaseMs));
      return { granted: true };
    }
    return { granted: false, holder: first, done: Boolean(done), waitMs: until - now };
  }

  /** Whether there was something to renew. */
  renew({ key, holder }: Claim, leaseMs: number, now: number): boolean {
    return this.#sql.renew.run(Math.ceil(now + leaseMs), key, holder, now).changes !== 0;
  }

  release({ key, holder }: Claim): void {
    this.#sql.release.run(key, holder);
  }

  /** Whether it is finished by this holder, now or before. */
  finish({ key, holder }: Claim, ttlMs: number, now: number): boolean {
    const [, mine, done] = this.#sql.look.get(key, holder, now) as unknown as Look;
    if (!mine) return false;
    if (done) return true;
    this.#sql.clear.run(key);
    this.#sql.finish.run(key, holder, Math.ceil(now + ttlMs));
    return true;
  }

  /** Removes what has ended, somewhat more than `added`. */
  sweep(added: number, now: number): void {
    this.#sql.sweep.run(now, added + EXTRA_SWEPT);
  }
}

type Name = 'look' | 'put' | 'renew' | 'release' | 'clear' | 'finish' | 'sweep';

function prepareAll(store: SqliteStore): Record<Name, StatementSync> {
  return {
    // SQLite takes a column that stands beside one `min()` from the row with the minimum.
    look: store.prepareRows(
      'SELECT count(*), sum(holder = ?2), sum(done), min(until), holder FROM claims WHERE key = ?1 AND until > ?3',
    ),
    put: store.prepare(
      `INSERT INTO claims (key, holder, until, done) VALUES (?, ?, ?, 0)
       ON CONFLICT (key, holder) DO UPDATE SET until = excluded.until, done = 0`,
    ),
    renew: store.prepare('UPDATE claims SET until = ? WHERE key = ? AND holder = ? AND done = 0 AND until > ?'),
    release: store.prepare('DELETE FROM claims WHERE key = ? AND holder = ? AND done = 0'),
    clear: store.prepare('DELETE FROM claims WHERE key = ?'),
    finish: store.prepare('INSERT INTO claims (key, holder, until, done) VALUES (?, ?, ?, 1)'),
    sweep: store.prepare(
      `DELETE FROM claims WHERE (key, holder) IN
       (SELECT key, holder FROM claims WHERE until <= ? ORDER BY until LIMIT ?)`,
    ),
  };
}
