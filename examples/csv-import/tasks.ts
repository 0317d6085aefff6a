import { open, readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dsvFormat } from 'd3-dsv';
// In a project of your own: import { Lovage } from 'lovage'. Here it is the source beside us, so that nothing need be built.
import { Lovage } from '../../src/index.ts';
import { type Chunk, splitCsv } from './chunks.ts';
import { ImportTable } from './table.ts';

const CHUNK_ROWS = 250;
// For the demo, which would be over before one has seen anything: a chunk rests before it is stored, and after.
const rest = () => sleep(Math.random() * Number(process.env.CSV_IMPORT_REST_MS ?? 0));

// The broker comes from LOVAGE_BROKER; without it, it is a SQLite file in .lovage/.
export const app = new Lovage('csv-import');

/** Cuts a file into chunks and sends a task for each. */
export const importFile = app.task('csv.importFile', async (path: string) => {
  const { header, chunks } = splitCsv(await readFile(path), delimiterOf(path), CHUNK_ROWS);
  table().setColumns(basename(path), parse(path, header)[0] ?? []);
  await importChunk.applyMany(chunks.map((chunk) => [path, chunk]));
  return { chunks: chunks.length };
});

/** Stores one chunk. If its worker dies before it is done, another worker runs it again: see ImportTable.store. */
export const importChunk = app.task('csv.importChunk', { bind: true }, async (self, path: string, chunk: Chunk) => {
  const startedAt = Date.now();
  const records = parse(path, await readRange(path, chunk));
  const rows = records.map((cells, i) => ({ number: chunk.first + i, cells })).filter(({ cells }) => !isBlank(cells));
  await rest();
  const { hostname, deliveries } = self.request;
  table().store(rows, {
    file: basename(path),
    first: chunk.first,
    worker: hostname,
    delivery: deliveries,
    startedAt,
  });
  await rest();
  return { rows: rows.length };
});

const delimiterOf = (path: string) => (extname(path) === '.tsv' ? '\t' : ',');
const parse = (path: string, text: string) => dsvFormat(delimiterOf(path)).parseRows(text);
const isBlank = (cells: readonly string[]) => cells.length === 1 && cells[0] === '';

async function readRange(path: string, { start, end }: Chunk): Promise<string> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    return buffer.toString('utf8');
  } finally {
    await file.close();
  }
}

let opened: ImportTable | undefined;

/** Opened by the first task that needs it, so that importing this file opens nothing. */
function table(): ImportTable {
  opened ??= new ImportTable(process.env.CSV_IMPORT_DB ?? 'import.db');
  return opened;
}
