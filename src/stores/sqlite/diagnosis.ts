import { statfsSync, statSync } from 'node:fs';
import type { Check, Diagnosis } from '../../contracts/diagnosis.ts';
import { openSqlite, type SqliteStore } from './store.ts';
import type { SqliteLocation } from './url.ts';

/** Less free space than this is soon used up, by the write-ahead log alone. */
const LITTLE_BYTES = 256 * 1024 * 1024;

/** A transaction that takes longer than this holds up all others. */
const SLOW_MS = 50;

/** For `lovage doctor`: whether the file can be written, and how fast. */
export async function diagnoseSqlite(location: SqliteLocation): Promise<Diagnosis> {
  const { store, release } = await openSqlite(location);
  try {
    const version = String(store.prepare('SELECT sqlite_version() AS version').get()?.version);
    const checks: Check[] = [
      { what: 'file', verdict: 'ok', found: `${store.path}, ${megabytes(statSync(store.path).size)}, can be written` },
      { what: 'SQLite', verdict: 'ok', found: version },
      spaceCheck(store),
      await speedCheck(store),
      {
        what: 'after a power cut',
        verdict: 'note',
        found:
          location.synchronous === 'full'
            ? 'all is there that was confirmed'
            : 'the last transactions may be undone; ?synchronous=full keeps them',
      },
    ];
    return { checks, usage: [] };
  } finally {
    await release();
  }
}

function spaceCheck({ path }: SqliteStore): Check {
  const { bavail, bsize } = statfsSync(path);
  const free = bavail * bsize;
  const check = { what: 'free space', found: megabytes(free) };
  return free >= LITTLE_BYTES
    ? { ...check, verdict: 'ok' }
    : { ...check, verdict: 'warning', advice: 'make room: a full disk stops senders and workers' };
}

/** The best of some transactions: the others had to wait for somebody. */
async function speedCheck(store: SqliteStore): Promise<Check> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    // A row that changes nothing, so that something is written.
    await store.write(() => store.prepare("UPDATE counters SET value = value WHERE name = 'messages'").run());
    best = Math.min(best, performance.now() - start);
  }
  const check = { what: 'a transaction', found: `${best.toFixed(1)} ms` };
  return best < SLOW_MS
    ? { ...check, verdict: 'ok' }
    : { ...check, verdict: 'warning', advice: 'the disk is slow: put the file on a local one' };
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
