import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ImportTable } from '../../examples/csv-import/table.ts';
import { readSource, type Source } from '../../scripts/demo/source.ts';
import { isRight, verify } from '../../scripts/demo/verify.ts';

const run = { file: 'towns.csv', first: 1, worker: 'w@h', delivery: 1, startedAt: 0 };
const rows = [
  { number: 1, cells: ['Ulm', '126'] },
  { number: 2, cells: ['Bad "Ems", Lahn\n', '9'] },
  { number: 4, cells: ['名古屋', '2300'] },
];

let folder: string;
let sources: Source[];
let db: DatabaseSync;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-verify-'));
  const file = join(folder, 'towns.csv');
  // The third record is a blank line, which is no row.
  writeFileSync(file, '\uFEFFtown,people\r\nUlm,126\r\n"Bad ""Ems"", Lahn\n",9\r\n\r\n名古屋,2300\r\n\r\n');
  sources = [readSource(file)];
  const path = join(folder, 'import.db');
  const table = new ImportTable(path);
  table.setColumns('towns.csv', ['town', 'people']);
  table.store(rows, run);
  table.close();
  db = new DatabaseSync(path);
});

afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true, force: true });
});

function check() {
  const verdicts = verify(sources, db);
  const sum = (of: 'rowsIn' | 'rowsStored' | 'lost' | 'doubled' | 'changed') =>
    verdicts.reduce((all, verdict) => all + verdict[of], 0);
  return {
    rowsIn: sum('rowsIn'),
    rowsStored: sum('rowsStored'),
    lost: sum('lost'),
    doubled: sum('doubled'),
    changed: sum('changed'),
    right: verdicts.every(isRight),
  };
}

describe('the check at the end of the demo', () => {
  test('finds nothing wrong with a table that holds what the file holds', () => {
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 3, lost: 0, doubled: 0, changed: 0, right: true });
  });

  test('a chunk that is stored twice leaves the table as it was', () => {
    const table = new ImportTable(join(folder, 'import.db'));
    table.store(rows, { ...run, delivery: 2 });
    table.close();
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 3, lost: 0, doubled: 0, changed: 0, right: true });
    expect(db.prepare('SELECT count(*) AS runs FROM runs').get()).toEqual({ runs: 2 });
  });

  test('notices a lost row', () => {
    db.exec('DELETE FROM rows WHERE row = 2');
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 2, lost: 1, doubled: 0, changed: 0, right: false });
  });

  test('notices that all rows are lost', () => {
    db.exec('DELETE FROM rows');
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 0, lost: 3, doubled: 0, changed: 0, right: false });
  });

  test('notices a row that was stored again under another number', () => {
    db.exec('INSERT INTO rows SELECT file, 5, cells FROM rows WHERE row = 1');
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 4, lost: 0, doubled: 1, changed: 0, right: false });
  });

  test('notices a row that is there twice, where the table would let it', () => {
    db.exec('CREATE TABLE loose AS SELECT * FROM rows; DROP TABLE rows; ALTER TABLE loose RENAME TO rows');
    expect(check().right).toBe(true);
    db.exec('INSERT INTO rows SELECT * FROM rows WHERE row = 4');
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 4, lost: 0, doubled: 1, changed: 0, right: false });
  });

  test('notices a doubled row beside a lost one, which leaves the count right', () => {
    db.exec('UPDATE rows SET row = 7 WHERE row = 1');
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 3, lost: 1, doubled: 1, changed: 0, right: false });
  });

  test('notices a changed cell', () => {
    db.exec(`UPDATE rows SET cells = '["Ulm","127"]' WHERE row = 1`);
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 3, lost: 0, doubled: 0, changed: 1, right: false });
  });

  test('notices a changed header', () => {
    db.exec(`UPDATE files SET columns = '["town"]'`);
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 3, lost: 0, doubled: 0, changed: 1, right: false });
  });

  test('notices rows of a file that nobody gave it', () => {
    db.exec("INSERT INTO rows SELECT 'other.csv', row, cells FROM rows");
    expect(check()).toEqual({ rowsIn: 3, rowsStored: 6, lost: 0, doubled: 3, changed: 0, right: false });
  });
});
