import { readdirSync, readFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dsvFormat } from 'd3-dsv';

/** A source file as the check reads it: at once and whole, without the example's code. */
export interface Source {
  readonly file: string;
  readonly path: string;
  readonly columns: readonly string[];
  /** Cells by record number, from 1. Blank lines have a number and no row. */
  readonly rows: ReadonlyMap<number, readonly string[]>;
}

export function readSource(path: string): Source {
  // A TextDecoder drops the byte order mark.
  const text = new TextDecoder().decode(readFileSync(path));
  const [columns = [], ...records] = dsvFormat(extname(path) === '.tsv' ? '\t' : ',').parseRows(text);
  const numbered = records.map((cells, i) => [i + 1, cells] as const);
  return {
    file: basename(path),
    path,
    columns,
    rows: new Map(numbered.filter(([, cells]) => cells.join('') !== '' || cells.length > 1)),
  };
}

/** The real files that the demo imports. */
export function datasetPaths(): string[] {
  const folder = fileURLToPath(new URL('../data', import.meta.resolve('vega-datasets')));
  const names = readdirSync(folder).filter((name) => ['.csv', '.tsv'].includes(extname(name)));
  return names.toSorted().map((name) => join(folder, name));
}
