// In a project of your own: import { Lovage } from 'lovage'. Here it is the source beside us, so that nothing need be built.

import { basename } from 'node:path';
import { dsvFormat } from 'd3-dsv';
import { Lovage } from '../../../src/index.ts';
import { splitCsv } from '../chunks.ts';
import { ImportTable } from '../table.ts';
import { fetchUpload } from './uploads.ts';

const CHUNK_ROWS = 250;

// Broker and result backend come from the environment: LOVAGE_BROKER=sqs://, LOVAGE_BACKEND=dynamodb://@eu-west-1/celery
export const app = new Lovage('csv-import', {
  brokerTransportOptions: {
    // For a try on one machine; in production `lovage setup` makes the queues.
    createMissing: process.env.CSV_IMPORT_LOCAL === 'yes',
    visibilityTimeout: Number(process.env.CSV_IMPORT_LEASE ?? 120),
  },
  // A container may be killed by no fault of the file: out of ten, one is in the test.
  taskMaxDeliveries: 10,
});

/**
 * Imports an uploaded file, in an ECS task of its own. A run that is killed leaves a checkpoint and whole chunks; the next
 * one goes on from there, and a chunk that was stored twice is there once: rows are known by upload and number.
 */
export const importUpload = app.task(
  'csv.importUpload',
  { runOn: 'ecs', bind: true },
  async (self, upload: string, file: string) => {
    const data = await fetchUpload(upload);
    const { parseRows } = dsvFormat(',');
    const { header, chunks } = splitCsv(data, ',', CHUNK_ROWS);
    using table = new ImportTable(process.env.CSV_IMPORT_DB ?? 'import.db');
    table.setColumns(upload, parseRows(header)[0] ?? []);
    const from = (await self.lastCheckpoint<number>()) ?? 0;
    for (const [i, chunk] of chunks.entries()) {
      if (i < from) continue;
      // Told to stop: what is stored is stored, and the checkpoint says how far it is.
      self.signal.throwIfAborted();
      const startedAt = Date.now();
      const rows = parseRows(data.toString('utf8', chunk.start, chunk.end))
        .map((cells, at) => ({ number: chunk.first + at, cells }))
        .filter(({ cells }) => cells.length > 1 || cells[0] !== '');
      const { hostname, deliveries } = self.request;
      table.store(rows, { file: upload, first: chunk.first, worker: hostname, delivery: deliveries, startedAt });
      await self.checkpoint(i + 1);
      await self.updateState('PROGRESS', { done: i + 1, of: chunks.length });
    }
    return { file: basename(file), chunks: chunks.length };
  },
);
