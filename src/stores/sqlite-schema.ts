import type { DatabaseSync } from 'node:sqlite';
import { StoreCorruptError, StoreError } from '../errors.ts';

/** Marks a file as ours in its header: "Lova" in ASCII. */
export const APPLICATION_ID = 0x4c6f7661;

/** The layout below. A file with a higher number was written by a newer Lovage and is left alone. */
export const SCHEMA_VERSION = 1;

/** `messages.state`. */
export const READY = 0;
/** `messages.state`: with a consumer until `until`. */
export const LEASED = 1;
/** `messages.state`: parked until `until`. */
export const DELAYED = 2;

// Claims and lease renewals rewrite a message's narrow row only; its body lies in `payloads` and is written once.
// The partial indexes keep them off what is not ready: a message due in an hour is not looked at before.
const TABLES = `
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('messages', 0), ('results', 0);

CREATE TABLE queues (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  state INTEGER NOT NULL,
  until INTEGER NOT NULL,
  token INTEGER NOT NULL,
  attempt INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_ready ON messages (queue, priority, rank) WHERE state = ${READY};
CREATE INDEX messages_parked ON messages (queue, until, state) WHERE state <> ${READY};
CREATE TABLE payloads (id INTEGER PRIMARY KEY, body BLOB NOT NULL, label TEXT NOT NULL) STRICT;

CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  reason TEXT NOT NULL,
  died_at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  body BLOB NOT NULL,
  label TEXT NOT NULL
) STRICT;
CREATE INDEX dead_letters_queue ON dead_letters (queue);

CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, sent_at INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL) STRICT;

CREATE TABLE results (
  id INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  finality INTEGER NOT NULL,
  seq INTEGER,
  expires_at INTEGER,
  document ANY NOT NULL
) STRICT;
CREATE INDEX results_seq ON results (seq) WHERE seq IS NOT NULL;
CREATE INDEX results_expiry ON results (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE joins (
  id TEXT PRIMARY KEY,
  size INTEGER,
  count INTEGER NOT NULL,
  taken INTEGER NOT NULL,
  expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX joins_expiry ON joins (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE join_parts (
  join_id TEXT NOT NULL,
  key TEXT NOT NULL,
  position INTEGER NOT NULL,
  document ANY NOT NULL,
  PRIMARY KEY (join_id, key)
) STRICT, WITHOUT ROWID;

PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};
`;

/**
 * Makes a new file ours, and makes sure that an old one is. It may be called again after an error.
 * @throws StoreCorruptError for a file of another program or of a newer version
 */
export function adoptFile(db: DatabaseSync, path: string): void {
  if (isOursNow(db, path)) return;
  const { journal_mode: mode } = db.prepare('PRAGMA journal_mode = WAL').get() ?? {};
  if (mode !== 'wal') {
    throw new StoreError(
      `${path} is on a file system without shared memory (network drives are): put it on a local disk`,
    );
  }
  db.exec('BEGIN IMMEDIATE');
  try {
    // Again: another process may have been quicker.
    if (!isOurs(db, path)) db.exec(TABLES);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

/** In one snapshot: between two reads another process may make the file ours. */
function isOursNow(db: DatabaseSync, path: string): boolean {
  db.exec('BEGIN');
  try {
    return isOurs(db, path);
  } finally {
    // Some errors end the transaction by themselves.
    if (db.isTransaction) db.exec('ROLLBACK');
  }
}

function isOurs(db: DatabaseSync, path: string): boolean {
  const application = Number(db.prepare('PRAGMA application_id').get()?.application_id);
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version);
  if (application === APPLICATION_ID) {
    if (version === SCHEMA_VERSION) return true;
    throw new StoreCorruptError(
      `${path}: expected schema ${SCHEMA_VERSION}, got ${version}: it belongs to another version of Lovage. Upgrade lovage here, or use another file`,
    );
  }
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n);
  if (application === 0 && version === 0 && tables === 0) return false;
  throw new StoreCorruptError(
    `${path}: expected a Lovage store or a new file, got the SQLite database of another program (application id ${application}, ${tables} tables and indexes). It was not touched; use another path`,
  );
}
