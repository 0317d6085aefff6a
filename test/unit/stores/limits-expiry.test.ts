import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LimitStore } from '../../../src/contracts/limits.ts';
import { MemoryLimits } from '../../../src/stores/memory/limits.ts';
import { SqliteLimits } from '../../../src/stores/sqlite/limits.ts';
import { openSqlite, type StoreHandle } from '../../../src/stores/sqlite/store.ts';
import { sqliteLocation } from '../../../src/stores/sqlite/url.ts';

const HOUR_MS = 3_600_000;
const GRANTED = { granted: true };

beforeEach(() => {
  // Only the clock: SQLite's waiting is real.
  vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

function later(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

async function behave(limits: LimitStore): Promise<void> {
  const reserve = async (...ids: string[]) =>
    limits.reserveMany(ids.map((id) => ({ key: 'r', id, intervalMs: 1000, burst: 2 })));
  expect(await reserve('a', 'b', 'c', 'd')).toEqual([0, 0, 1000, 2000]);
  later(999);
  expect(await reserve('c', 'd')).toEqual([1, 1001]);
  later(1);
  expect(await reserve('c', 'd', 'e')).toEqual([0, 1000, 2000]);
  // Kept for an hour after its moment, and then as if it had never been.
  later(1000 + HOUR_MS - 1);
  expect(await reserve('x', 'y', 'd', 'z')).toEqual([0, 0, 0, 2000]);
  later(2 + HOUR_MS);
  expect(await reserve('e', 'v', 'w', 'w')).toEqual([0, 0, 1000, 1000]);

  const own = { key: 'k', holder: 'h' };
  expect(await limits.claimMany([{ ...own, leaseMs: 500.5 }])).toEqual([GRANTED]);
  later(500);
  expect(await limits.renewMany([own], 1000)).toEqual([]);
  later(999);
  const other = { key: 'k', holder: 'other', leaseMs: 1000 };
  expect(await limits.claimMany([other])).toEqual([{ granted: false, holder: 'h', done: false, waitMs: 1 }]);
  later(1);
  expect(await limits.claimMany([other])).toEqual([GRANTED]);
  expect(await limits.finishMany([other], 24 * HOUR_MS)).toEqual([]);
  later(24 * HOUR_MS - 1);
  expect(await limits.claimMany([other])).toEqual([{ granted: false, holder: 'other', done: true, waitMs: 1 }]);
  later(1);
  expect(await limits.claimMany([{ ...own, leaseMs: 1000 }])).toEqual([GRANTED]);
}

describe('limits in memory', () => {
  test('end to the millisecond', () => behave(new MemoryLimits()));
});

describe('limits in SQLite', () => {
  let folder = '';
  let handle: StoreHandle | undefined;
  let limits: LimitStore;
  const path = () => join(folder, 'tasks.db');

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lovage-'));
    handle = await openSqlite(sqliteLocation(`sqlite://${path()}`));
    limits = new SqliteLimits(handle.store);
  });
  afterEach(async () => {
    await handle?.release();
    rmSync(folder, { recursive: true });
  });

  function rows(): Record<string, unknown> {
    const db = new DatabaseSync(path());
    const count = (table: string) => db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n;
    const found = Object.fromEntries(['claims', 'rates', 'reservations'].map((table) => [table, count(table)]));
    db.close();
    return found;
  }

  test('end to the millisecond', () => behave(limits));

  test('leave nothing behind: what has ended is removed as others come', async () => {
    for (let round = 0; round < 5; round++) {
      const claims = Array.from({ length: 600 }, (_, i) => ({ key: `${round}-${i}`, holder: 'h', leaseMs: 1000 }));
      await limits.claimMany(claims);
      await limits.finishMany(claims.slice(0, 300), 2000);
      await limits.reserveMany(claims.map(({ key }) => ({ key: `r${key}`, id: 'a', intervalMs: 10, burst: 1 })));
      await limits.reserveMany(claims.map(({ key: id }) => ({ key: 'r', id, intervalMs: 10, burst: 1 })));
      later(2 * HOUR_MS);
      const { claims: claimed = 0, rates = 0, reservations = 0 } = rows();
      expect(claimed).toBeLessThanOrEqual(600);
      expect(rates).toBeLessThanOrEqual(601);
      expect(reservations).toBeLessThanOrEqual(600);
    }
    for (let i = 0; i < 60; i++) {
      await limits.claimMany([{ key: 'last', holder: 'h', leaseMs: 1000 }]);
      await limits.reserveMany([{ key: 'last', id: 'h', intervalMs: 10, burst: 100 }]);
    }
    expect(rows()).toEqual({ claims: 1, rates: 1, reservations: 0 });
  });
});
