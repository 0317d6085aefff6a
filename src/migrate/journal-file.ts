import { closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { ConfigError, StoreCorruptError, StoreError, StoreLockedError } from '../errors.ts';
import { loadSqlite } from '../util/load-sqlite.ts';

/** "LovJ" in ASCII. */
const APPLICATION_ID = 0x4c6f764a;

const SCHEMA = `
CREATE TABLE journey (source TEXT NOT NULL, destination TEXT NOT NULL) STRICT;
CREATE TABLE messages (
  seq INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  state INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  envelope TEXT,
  due_at REAL,
  parked INTEGER NOT NULL,
  tag TEXT,
  held_until REAL NOT NULL,
  batch TEXT,
  sent_at REAL,
  trouble TEXT
) STRICT;
CREATE INDEX messages_unsent ON messages (state, queue, seq) WHERE state < 3;
CREATE INDEX messages_fingerprint ON messages (fingerprint);
PRAGMA application_id = ${APPLICATION_ID};
`;

/** Where a journal is, and of which move. */
export interface JournalPlace {
  readonly path: string;
  readonly source: string;
  readonly destination: string;
}

/**
 * Opens the file of a journal, or makes it, for this process alone. What is committed survives a power cut.
 * @throws StoreLockedError while another process has it, ConfigError for the journal of another move
 */
export function openJournalFile({ path, source, destination }: JournalPlace): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true });
    // Arguments of tasks stand in it: nobody else is to read them.
    closeSync(openSync(path, 'a', 0o600));
    db = new (loadSqlite().DatabaseSync)(path, { timeout: 500 });
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    db.exec('BEGIN EXCLUSIVE');
    adopt(db, { path, source, destination });
    db.exec('COMMIT');
    return db;
  } catch (error) {
    db?.close();
    throw describe(error, path);
  }
}

/** Removes a journal that is not needed any more. */
export function removeJournalFile(path: string): void {
  for (const ending of ['', '-wal', '-shm']) rmSync(path + ending, { force: true });
}

/** Whether there is a journal to go on with. */
export function hasJournal(path: string): boolean {
  return existsSync(path);
}

function adopt(db: DatabaseSync, { path, source, destination }: JournalPlace): void {
  const application = Number(db.prepare('PRAGMA application_id').get()?.application_id);
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n);
  if (application === 0 && tables === 0) {
    db.exec(SCHEMA);
    db.prepare('INSERT INTO journey VALUES (?, ?)').run(source, destination);
  } else if (application !== APPLICATION_ID) {
    throw new ConfigError(`${path} is not the journal of a migration; it was not touched. Name another with --journal`);
  }
  const journey = db.prepare('SELECT source, destination FROM journey').get();
  if (journey?.source === source && journey.destination === destination) return;
  throw new ConfigError(
    `${path} is the journal of a migration from ${journey?.source} to ${journey?.destination}, not from ${source} to ${destination}. Finish that one, or name another journal with --journal`,
  );
}

function describe(error: unknown, path: string): unknown {
  if (error instanceof ConfigError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/locked|busy/.test(message)) {
    return new StoreLockedError(
      `the journal ${path} is in use: another migration runs. Wait for it, or end it and run again`,
      { cause: error },
    );
  }
  if (/malformed|not a database/.test(message)) {
    return new StoreCorruptError(`the journal ${path} is damaged: ${message}. Keep it, messages may be in it`, {
      cause: error,
    });
  }
  return new StoreError(`the journal ${path} cannot be written: ${message}`, { cause: error });
}
