import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { until } from '../support/workplace.ts';

const folder = mkdtempSync(join(tmpdir(), 'lovage-ahead-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs short tasks in two threads, then as many long ones as tell how much is held; all end. */
async function work(name: string, workerBursts: boolean) {
  process.env.TEST_POOL = 'threads';
  process.env.TEST_BROKER = `sqlite://${join(folder, `${name}.db`)}`;
  process.env.TEST_BURSTS = String(workerBursts);
  vi.resetModules();
  const { app, hold, nap } = await import('../support/pool-app.ts');
  const { Worker } = await import('../../src/index.ts');
  await using _ = app;
  const worker = new Worker(app, { pool: 'threads', concurrency: 2 });
  await worker.start();
  try {
    const short = await nap.applyMany(Array.from({ length: 30 }, (): [number] => [1]));
    await Promise.all(short.map((one) => one.get({ timeout: 20 })));
    const gate = join(folder, `${name}.gate`);
    const long = await hold.applyMany(Array.from({ length: 4 }, (): [string] => [gate]));
    const broker = await app.broker();
    await until(async () => {
      const [depth] = await broker.countMany(['celery']);
      return depth?.inFlight === 2 && depth.ready === 2;
    });
    writeFileSync(gate, '');
    await Promise.all(long.map((one) => one.get({ timeout: 20 })));
    return { sent: 34, received: worker.counts.received };
  } finally {
    await worker.stop();
  }
}

describe('a worker with threads', () => {
  test('holds some messages more while tasks are short, and gives it back when they are not', async () => {
    const { sent, received } = await work('ahead', true);
    expect(received).toBeGreaterThanOrEqual(sent + 2);
  });

  test('holds no more than it runs without bursts', async () => {
    const { sent, received } = await work('none', false);
    expect(received).toBe(sent);
  });
});
