import { DatabaseSync } from 'node:sqlite';

/** A record, by its number in the file. */
export interface Row {
  readonly number: number;
  readonly cells: readonly string[];
}

/** One run of one chunk: what the log keeps of it. */
export interface Run {
  readonly file: string;
  /** Number of the chunk's first record. */
  readonly first: number;
  readonly worker: string;
  /** 1, or more where the chunk came back from a worker that died. */
  readonly delivery: number;
  readonly startedAt: number;
}

const TABLES = `
  CREATE TABLE IF NOT EXISTS files (file TEXT PRIMARY KEY, columns TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS rows (
    file TEXT NOT NULL, row INTEGER NOT NULL, cells TEXT NOT NULL, PRIMARY KEY (file, row)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS runs (
    file TEXT NOT NULL, first INTEGER NOT NULL, rows INTEGER NOT NULL, worker TEXT NOT NULL,
    delivery INTEGER NOT NULL, started_at INTEGER NOT NULL, stored_at INTEGER NOT NULL
  );
`;

/** The SQLite tables that the rows are imported into. */
export class ImportTable {
  readonly #db: DatabaseSync;

  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 10_000 });
    try {
      this.#db.exec('PRAGMA journal_mode = WAL');
    } catch {
      // Another worker is at it this very moment, and does it for all.
    }
    this.#transaction(() => this.#db.exec(TABLES));
  }

  setColumns(file: string, columns: readonly string[]): void {
    this.#db.prepare('INSERT OR REPLACE INTO files VALUES (?, ?)').run(file, JSON.stringify(columns));
  }

  /** Stores a chunk: all of it or nothing. Storing it again changes nothing, since a row is known by its file and number. */
  store(rows: readonly Row[], { file, first, worker, delivery, startedAt }: Run): void {
    const insert = this.#db.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?, ?)');
    const log = this.#db.prepare('INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)');
    this.#transaction(() => {
      for (const { number, cells } of rows) insert.run(file, number, JSON.stringify(cells));
      log.run(file, first, rows.length, worker, delivery, startedAt, Date.now());
    });
  }

  close(): void {
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #transaction(body: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      body();
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}
