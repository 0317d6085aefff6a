import { mkdirSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { StoreError, StoreLockedError } from '../../errors.ts';
import { backoffMs } from '../../util/backoff.ts';
import { loadSqlite } from '../../util/load-sqlite.ts';
import { sleep } from '../../util/sleep.ts';
import { isBusy, storeError } from './errors.ts';
import { adoptFile } from './schema.ts';
import type { SqliteLocation } from './url.ts';
import { WakeTopic } from './wake.ts';

// How long SQLite may block the event loop for a lock; longer waits are asynchronous.
const BLOCK_MS = 15;
const WAIT = { startMs: 4, maxMs: 50 };

/**
 * An open SQLite file, shared by everything in this process (or thread) that uses the same file with the same options:
 * the broker and the result backend of one URL are one connection.
 *
 * Transactions run synchronously, so they never interleave here; other processes are kept out by SQLite's own lock.
 */
export class SqliteStore {
  readonly path: string;
  /** Something to receive. */
  readonly tasks: WakeTopic;
  /** Something finished. */
  readonly results: WakeTopic;
  /** Something was said on the bus. */
  readonly bus: WakeTopic;
  readonly #db: DatabaseSync;
  readonly #busyMs: number;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  #closed = false;
  #waiting: Promise<unknown> | undefined;

  /** @internal Use {@link openSqlite}. */
  constructor(path: string, db: DatabaseSync, busyMs: number) {
    this.path = path;
    this.tasks = new WakeTopic(join(`${path}-wake`, 'tasks'));
    this.results = new WakeTopic(join(`${path}-wake`, 'results'));
    this.bus = new WakeTopic(join(`${path}-wake`, 'bus'));
    this.#db = db;
    this.#busyMs = busyMs;
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
  }

  /** A statement whose rows come as objects. */
  prepare(sql: string): StatementSync {
    return this.#db.prepare(sql);
  }

  /** A statement whose rows come as arrays, which is faster. */
  prepareRows(sql: string): StatementSync {
    const statement = this.#db.prepare(sql);
    statement.setReturnArrays(true);
    return statement;
  }

  /** Runs reads that need no common snapshot. */
  read<T>(body: () => T): Promise<T> {
    return this.#whenFree(body);
  }

  /** Runs a write transaction: all of `body`, or nothing where it throws. `body` must be synchronous. */
  write<T>(body: () => T): Promise<T> {
    return this.#whenFree(() => this.#transact(body));
  }

  /** @internal */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const topic of [this.tasks, this.results, this.bus]) topic.close();
    this.#db.close();
  }

  #transact<T>(body: () => T): T {
    this.#begin.run();
    try {
      const result = body();
      this.#commit.run();
      return result;
    } catch (error) {
      try {
        this.#rollback.run();
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full.
      }
      throw error;
    }
  }

  async #whenFree<T>(body: () => T): Promise<T> {
    // Behind the one that waits already: not each of many callers shall block the event loop for its own try.
    while (this.#waiting) await this.#waiting;
    try {
      return this.#run(body);
    } catch (error) {
      if (!isBusy(error)) throw storeError(error, this.path);
    }
    const turn = waitWhileBusy(() => this.#run(body), this.#busyMs, this.path);
    this.#waiting = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting = undefined;
    }
  }

  #run<T>(body: () => T): T {
    if (this.#closed) throw new StoreError(`${this.path} was closed while a call waited for it`);
    return body();
  }
}

/** Tries until the file is free, without blocking the event loop for more than a moment at a time. */
async function waitWhileBusy<T>(body: () => T, busyMs: number, path: string): Promise<T> {
  const start = performance.now();
  for (let attempt = 0; ; attempt++) {
    const left = busyMs - (performance.now() - start);
    if (left <= 0) break;
    await sleep(Math.min(left, backoffMs(attempt, WAIT)));
    try {
      return body();
    } catch (error) {
      if (!isBusy(error)) throw storeError(error, path);
    }
  }
  throw new StoreLockedError(
    `${path} was locked by another process for more than ${busyMs / 1000} s: look for a long transaction or an open SQLite shell, or raise ?busyTimeout=`,
  );
}

interface Shared {
  readonly store: Promise<SqliteStore>;
  users: number;
}

const stores = new Map<string, Shared>();

/** A store in use. Call `release` when done; the last one out closes the file. */
export interface StoreHandle {
  readonly store: SqliteStore;
  release(): Promise<void>;
}

/**
 * Opens a SQLite file, creating it and its folders if they are missing.
 * @throws StoreCorruptError, StoreReadOnlyError, StoreLockedError
 */
export async function openSqlite(location: SqliteLocation): Promise<StoreHandle> {
  const path = realPath(location.path);
  const key = `${path}?${location.busyMs}&${location.synchronous}`;
  const shared = stores.get(key) ?? { store: openFile(path, location), users: 0 };
  stores.set(key, shared);
  shared.users += 1;
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    shared.users -= 1;
    if (shared.users > 0) return;
    stores.delete(key);
    await shared.store.then(
      (store) => store.close(),
      () => {},
    );
  };
  try {
    return { store: await shared.store, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** One name for one file, however it was reached. */
function realPath(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true });
    const folder = realpathSync(dirname(path));
    try {
      return realpathSync(path);
    } catch {
      return join(folder, basename(path));
    }
  } catch (error) {
    throw storeError(error, path);
  }
}

async function openFile(path: string, location: SqliteLocation): Promise<SqliteStore> {
  const { DatabaseSync } = loadSqlite();
  let db: DatabaseSync | undefined;
  try {
    const opened = new DatabaseSync(path, { timeout: BLOCK_MS });
    db = opened;
    const prepareFile = () => {
      adoptFile(opened, path);
      opened.exec(
        `PRAGMA synchronous = ${location.synchronous}; PRAGMA cache_size = -16000; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864`,
      );
      // Finds out now, not at the first message, that the file cannot be written. BEGIN alone would not tell.
      opened.exec('BEGIN IMMEDIATE; DELETE FROM queues WHERE false; ROLLBACK');
    };
    try {
      prepareFile();
    } catch (error) {
      if (!isBusy(error)) throw error;
      await waitWhileBusy(prepareFile, location.busyMs, path);
    }
    return new SqliteStore(path, opened, location.busyMs);
  } catch (error) {
    db?.close();
    throw storeError(error, path);
  }
}
