import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { Source } from './source.ts';

/** How a file and its rows in the table compare. */
export interface Verdict {
  readonly file: string;
  readonly rowsIn: number;
  readonly rowsStored: number;
  /** Rows of the file that the table does not have. */
  readonly lost: number;
  /** Stored rows that the file does not have, or not so often. */
  readonly doubled: number;
  /** Rows, or the header, that are there with other contents. */
  readonly changed: number;
  /** SHA-256 over the header and all rows in their order: of the file, and of the table. */
  readonly sha256: readonly [source: string, stored: string];
}

export const isRight = ({ lost, doubled, changed, sha256 }: Verdict) =>
  lost === 0 && doubled === 0 && changed === 0 && sha256[0] === sha256[1];

/** Compares every stored row with the source files. A file in the table that is none of them is all doubled. */
export function verify(sources: readonly Source[], db: DatabaseSync): Verdict[] {
  const stored = db.prepare('SELECT DISTINCT file FROM rows').all();
  const known = new Set(sources.map(({ file }) => file));
  const strangers = stored.map(({ file }) => String(file)).filter((file) => !known.has(file));
  const nothing = (file: string): Source => ({ file, path: '', columns: [], rows: new Map() });
  return [...sources, ...strangers.map(nothing)].map((source) => compare(source, db));
}

function compare({ file, columns, rows }: Source, db: DatabaseSync): Verdict {
  const header = db.prepare('SELECT columns FROM files WHERE file = ?').get(file)?.columns ?? '[]';
  const wanted = createHash('sha256').update(JSON.stringify(columns));
  for (const [number, cells] of rows) wanted.update(canonical(number, JSON.stringify(cells)));
  const found = createHash('sha256').update(String(header));
  const seen = new Set<unknown>();
  let rowsStored = 0;
  let doubled = 0;
  let changed = header === JSON.stringify(columns) ? 0 : 1;
  for (const { row, cells } of db.prepare('SELECT row, cells FROM rows WHERE file = ? ORDER BY row').iterate(file)) {
    rowsStored += 1;
    found.update(canonical(row, cells));
    const source = rows.get(Number(row));
    if (seen.has(row) || !source) doubled += 1;
    else if (cells !== JSON.stringify(source)) changed += 1;
    seen.add(row);
  }
  const lost = [...rows.keys()].filter((number) => !seen.has(number)).length;
  return {
    file,
    rowsIn: rows.size,
    rowsStored,
    lost,
    doubled,
    changed,
    sha256: [wanted.digest('hex'), found.digest('hex')],
  };
}

const canonical = (number: unknown, cells: unknown) => `\n${number} ${cells}`;
