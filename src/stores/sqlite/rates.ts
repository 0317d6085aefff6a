import type { StatementSync } from 'node:sqlite';
import type { RateRequest } from '../../contracts/limits.ts';
import { askRate, KEEP_RESERVED_MS, type RateState, restsAt } from '../../util/gcra.ts';
import type { SqliteStore } from './store.ts';

// Rows that are of no use any more and are removed by one call, beyond as many as it may add.
const EXTRA_SWEPT = 10;

/** The tables of rates and reservations. Everything here is synchronous and runs inside `SqliteStore.write`. */
export class SqliteRates {
  readonly #sql: ReturnType<typeof prepareAll>;

  constructor(store: SqliteStore) {
    this.#sql = prepareAll(store);
  }

  /** Milliseconds to wait; 0: go. */
  reserve({ key, id, ...rate }: RateRequest, now: number): number {
    const old = this.#sql.rate.get(key) as unknown as RateState | undefined;
    const [reserved] = (this.#sql.reserved.get(key, id) ?? []) as unknown as readonly number[];
    const { state, moment } = askRate(old, reserved, rate, now);
    this.#sql.setRate.run(key, state.next, state.taken, state.intervalMs, restsAt(state));
    if (moment > now) this.#sql.setReserved.run(key, id, moment);
    else if (reserved !== undefined) this.#sql.remove.run(key, id);
    return Math.max(0, Math.ceil(moment - now));
  }

  /** Removes what nobody came for and what rests, somewhat more than `added`. */
  sweep(added: number, now: number): void {
    this.#sql.sweepReserved.run(now - KEEP_RESERVED_MS, added + EXTRA_SWEPT);
    this.#sql.sweepRates.run(now, added + EXTRA_SWEPT);
  }
}

type Name = 'rate' | 'reserved' | 'setRate' | 'setReserved' | 'remove' | 'sweepReserved' | 'sweepRates';

function prepareAll(store: SqliteStore): Record<Name, StatementSync> {
  return {
    rate: store.prepare('SELECT next, taken, interval AS intervalMs FROM rates WHERE key = ?'),
    reserved: store.prepareRows('SELECT moment FROM reservations WHERE key = ? AND id = ?'),
    setRate: store.prepare(
      `INSERT INTO rates (key, next, taken, interval, rests_at) VALUES (?1, ?2, ?3, ?4, ?5)
       ON CONFLICT (key) DO UPDATE SET next = ?2, taken = ?3, interval = ?4, rests_at = ?5`,
    ),
    setReserved: store.prepare(
      `INSERT INTO reservations (key, id, moment) VALUES (?, ?, ?)
       ON CONFLICT (key, id) DO UPDATE SET moment = excluded.moment`,
    ),
    remove: store.prepare('DELETE FROM reservations WHERE key = ? AND id = ?'),
    sweepReserved: store.prepare(
      `DELETE FROM reservations WHERE (key, id) IN
       (SELECT key, id FROM reservations WHERE moment <= ? ORDER BY moment LIMIT ?)`,
    ),
    sweepRates: store.prepare(
      'DELETE FROM rates WHERE key IN (SELECT key FROM rates WHERE rests_at <= ? ORDER BY rests_at LIMIT ?)',
    ),
  };
}
