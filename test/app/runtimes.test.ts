import { describe, expect, test } from 'vitest';
import { addRuntimes, meanRuntimes, reportRuntimes } from '../../src/scaling/runtimes.ts';
import { Playground } from '../support/in-memory.ts';

describe('how long tasks take', () => {
  test('is measured by queue, without the time that a message waited, and kept for monitors', async () => {
    await using ground = new Playground({}, { concurrency: 1, prefetchMultiplier: 10, queues: ['celery', 'mail'] });
    const { app } = ground;
    const nap = app.task('nap', (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)));
    const worker = await ground.work();
    const stop = reportRuntimes(worker);
    const began = Date.now();
    const sent = await nap.applyMany([[40], [40], [40]], {});
    await Promise.all(sent.map((one) => one.get({ timeout: 10 })));
    const elapsed = (Date.now() - began) / 1000;
    await (await nap.applyAsync([160], { queue: 'mail' })).get({ timeout: 10 });
    await stop();
    const means = await meanRuntimes(app, ['celery', 'mail', 'none']);
    expect([...means.keys()]).toEqual(['celery', 'mail']);
    expect(worker.counts.runtimes?.celery?.runs).toBe(3);
    const [celery = 0, mail = 0] = means.values();
    // Three runs of one batch, one after the other: together no longer than the time that passed.
    expect(worker.counts.runtimes?.celery?.seconds).toBeLessThanOrEqual(elapsed);
    expect(celery).toBeGreaterThanOrEqual(0.039);
    expect(mail).toBeGreaterThan(celery);
  });

  test('of several workers comes together, and what is new counts more', async () => {
    await using ground = new Playground();
    const { app } = ground;
    await addRuntimes(app, { q: { runs: 1, seconds: 10 } });
    await addRuntimes(app, { q: { runs: 3, seconds: 2 } });
    const mean = (await meanRuntimes(app, ['q'])).get('q') ?? 0;
    expect(mean).toBeCloseTo(12 / 4, 2);
  });

  test('is not known without a result backend, and that costs nothing', async () => {
    await using ground = new Playground({ backend: false });
    await addRuntimes(ground.app, { q: { runs: 1, seconds: 1 } });
    expect((await meanRuntimes(ground.app, ['q'])).size).toBe(0);
  });
});
