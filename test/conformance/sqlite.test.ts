import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { sqliteBackend } from '../../src/backends/sqlite.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import { backendConformance, brokerConformance } from '../../src/testing/index.ts';

function newStore() {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-'));
  const cleanup = async () => rmSync(folder, { recursive: true });
  return { url: `sqlite://${folder}/tasks.db`, cleanup };
}

brokerConformance({ describe, test }, async () => {
  const { url, cleanup } = newStore();
  let made = 0;
  // Stores of the same options would share one connection: every other one gets its own.
  return { create: () => sqliteBroker(url, { busyTimeout: 5 + (made++ % 2) }), cleanup };
});

backendConformance({ describe, test }, async () => {
  const { url, cleanup } = newStore();
  const module = new URL('../../src/backends/sqlite.ts', import.meta.url).href;
  const recipe = { module, factory: 'sqliteBackend', args: [url] };
  let made = 0;
  return { create: () => sqliteBackend(url, { busyTimeout: 5 + (made++ % 2) }), cleanup, recipe };
});
