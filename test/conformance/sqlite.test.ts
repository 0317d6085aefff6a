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
  return { create: () => sqliteBroker(url), cleanup };
});

backendConformance({ describe, test }, async () => {
  const { url, cleanup } = newStore();
  const module = new URL('../../src/backends/sqlite.ts', import.meta.url).href;
  return { create: () => sqliteBackend(url), cleanup, recipe: { module, factory: 'sqliteBackend', args: [url] } };
});
