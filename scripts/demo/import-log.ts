import { DatabaseSync } from 'node:sqlite';

/** How far the import is. */
export interface Progress {
  readonly rows: number;
  readonly rowsByFile: ReadonlyMap<string, number>;
  readonly chunksByWorker: ReadonlyMap<string, number>;
  /** Chunks that have been stored. */
  readonly chunks: number;
  /** Chunks that were delivered again, from a worker that died holding them. */
  readonly redelivered: number;
  /** Chunks that were stored more than once. */
  readonly storedAgain: number;
}

/** What became of one file, by the log of its chunks. */
export interface FileRun {
  readonly seconds: number;
  readonly workers: readonly string[];
}

/** Reads what the workers have stored so far, from the importing application's own log. */
export class ImportLog {
  readonly db: DatabaseSync;

  constructor(path: string) {
    this.db = new DatabaseSync(path, { readOnly: true, timeout: 10_000 });
  }

  progress(): Progress {
    const files = this.db
      .prepare('SELECT file, sum(rows) AS n FROM (SELECT DISTINCT file, first, rows FROM runs) GROUP BY file')
      .all();
    const workers = this.db.prepare('SELECT worker, count(*) AS n FROM runs GROUP BY worker').all();
    const rowsByFile = new Map(files.map(({ file, n }) => [String(file), Number(n)]));
    const chunks = this.#count('SELECT count(*) AS n FROM (SELECT DISTINCT file, first FROM runs)');
    return {
      rows: [...rowsByFile.values()].reduce((sum, n) => sum + n, 0),
      rowsByFile,
      chunksByWorker: new Map(workers.map(({ worker, n }) => [shortName(worker), Number(n)])),
      chunks,
      redelivered: this.#count('SELECT count(*) AS n FROM (SELECT DISTINCT file, first FROM runs WHERE delivery > 1)'),
      storedAgain: this.#count('SELECT count(*) AS n FROM runs') - chunks,
    };
  }

  file(file: string): FileRun {
    const run = this.db.prepare('SELECT max(stored_at) - min(started_at) AS ms FROM runs WHERE file = ?').get(file);
    const workers = this.db.prepare('SELECT DISTINCT worker FROM runs WHERE file = ? ORDER BY worker').all(file);
    return {
      seconds: Number(run?.ms ?? 0) / 1000,
      workers: workers.map(({ worker }) => shortName(worker)),
    };
  }

  close(): void {
    this.db.close();
  }

  #count(sql: string): number {
    return Number(this.db.prepare(sql).get()?.n);
  }
}

/** `worker-1@host` without the host. */
const shortName = (worker: unknown) => String(worker).replace(/@.*/, '');
