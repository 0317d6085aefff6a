/** Lovage on SQLite, as a peer of the side-by-side harness. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { lovagePeer } from './_lovage.ts';

const scratch = join(import.meta.dirname, '..', '.run', 'lovage');
const all = ['w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7'];

await lovagePeer({
  peer: 'lovage',
  broker: 'none',
  variants: {
    'sqlite-c100': {
      concurrency: 100,
      described: {
        workloads: all,
        sleepConcurrency: 100,
        cores: 1,
        note: 'broker and results in one SQLite file; async pool, concurrency 100',
      },
    },
    'sqlite-c10': {
      concurrency: 10,
      described: {
        workloads: all,
        sleepConcurrency: 10,
        w4n: 400,
        cores: 1,
        note: 'the same, all defaults (concurrency 10)',
      },
    },
    'sqlite-full': {
      query: '?synchronous=full',
      concurrency: 100,
      described: {
        workloads: ['w1', 'w2'],
        cores: 1,
        note: 'concurrency 100, synchronous=full: a disk flush for each transaction',
      },
    },
    'sqlite-processes2': {
      concurrency: 2,
      pool: 'processes',
      described: { workloads: ['w3'], cores: 2, note: '2 child processes' },
    },
    'sqlite-threads2': {
      concurrency: 2,
      pool: 'threads',
      described: { workloads: ['w3'], cores: 2, note: '2 worker threads' },
    },
  },
  url({ query = '' }) {
    mkdirSync(scratch, { recursive: true });
    return `sqlite://${join(scratch, 'bench.db')}${query}`;
  },
  purge: () => rmSync(scratch, { recursive: true, force: true }),
});
