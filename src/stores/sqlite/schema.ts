import type { DatabaseSync } from 'node:sqlite';
import { StoreCorruptError, StoreError } from '../../errors.ts';

/** Marks a file as ours in its header: "Lova" in ASCII. */
export const APPLICATION_ID = 0x4c6f7661;

/** `messages.state`. */
export const READY = 0;
/** `messages.state`: with a consumer until `until`. */
export const LEASED = 1;
/** `messages.state`: parked until `until`. */
export const DELAYED = 2;

// Version 1. Claims and lease renewals rewrite a message's narrow row only; its body lies in `payloads` and is written once.
// The partial indexes keep them off what is not ready: a message due in an hour is not looked at before.
const MESSAGES_AND_RESULTS = `
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
`;

// Version 2. A finished key is one row, too: `done`, with who finished it, until that is forgotten.
const LIMITS = `
CREATE TABLE claims (
  key TEXT NOT NULL,
  holder TEXT NOT NULL,
  until INTEGER NOT NULL,
  done INTEGER NOT NULL,
  PRIMARY KEY (key, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_until ON claims (until);

CREATE TABLE rates (
  key TEXT PRIMARY KEY,
  next REAL NOT NULL,
  taken REAL NOT NULL,
  interval REAL NOT NULL,
  rests_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rates_rest ON rates (rests_at);
CREATE TABLE reservations (
  key TEXT NOT NULL,
  id TEXT NOT NULL,
  moment REAL NOT NULL,
  PRIMARY KEY (key, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reservations_moment ON reservations (moment);
`;

/**
 * What each version of the layout adds to the one before; a new file gets all of it. A version only adds, so that
 * processes of the one before go on while a newer one brings the file up to date.
 */
const VERSIONS = [MESSAGES_AND_RESULTS, LIMITS];

/**
 * Makes a new file ours, makes sure that an old one is, and brings it up to date. It may be called again after an error.
 * @throws StoreCorruptError for a file of another program or of a newer version
 */
export function adoptFile(db: DatabaseSync, path: string): void {
  if (versionNow(db, path) === VERSIONS.length) return;
  const { journal_mode: mode } = db.prepare('PRAGMA journal_mode = WAL').get() ?? {};
  if (mode !== 'wal') {
    throw new StoreError(
      `${path} is on a file system without shared memory (network drives are): put it on a local disk`,
    );
  }
  db.exec('BEGIN IMMEDIATE');
  try {
    // Again: another process may have been quicker.
    for (const added of VERSIONS.slice(versionOf(db, path))) db.exec(added);
    db.exec(`PRAGMA user_version = ${VERSIONS.length}`);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

/** In one snapshot: between two reads another process may make the file ours. */
function versionNow(db: DatabaseSync, path: string): number {
  db.exec('BEGIN');
  try {
    return versionOf(db, path);
  } finally {
    // Some errors end the transaction by themselves.
    if (db.isTransaction) db.exec('ROLLBACK');
  }
}

/** The version of our layout that a file has; 0 for a new file. */
function versionOf(db: DatabaseSync, path: string): number {
  const application = Number(db.prepare('PRAGMA application_id').get()?.application_id);
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version);
  if (application === APPLICATION_ID) {
    if (version >= 1 && version <= VERSIONS.length) return version;
    throw new StoreCorruptError(
      `${path}: expected schema 1 to ${VERSIONS.length}, got ${version}: it belongs to another version of Lovage. Upgrade lovage here, or use another file`,
    );
  }
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n);
  if (application === 0 && version === 0 && tables === 0) return 0;
  throw new StoreCorruptError(
    `${path}: expected a Lovage store or a new file, got the SQLite database of another program (application id ${application}, ${tables} tables and indexes). It was not touched; use another path`,
  );
}
