/** Random workflows in one process: what comes of each, and that all of it ends. */
import { describe, expect, test } from 'vitest';
import { freeze } from '../../../src/canvas/freeze.ts';
import { RemoteTaskError, Worker } from '../../../src/index.ts';
import { newId } from '../../../src/util/ids.ts';
import { grow, model, random, taskIds } from '../../support/canvas-growth.ts';
import { makeCanvasApp } from '../../support/canvas-worker.ts';
import { soon } from './shop.ts';

const seeds = Array.from({ length: 60 }, (_, i) => i + 1);

test('a workflow that is frozen twice stays as it is', () => {
  for (const seed of seeds) {
    const frozen = freeze(grow(random(seed), 40), newId);
    expect([seed, freeze(frozen, newId)]).toEqual([seed, frozen]);
  }
});

describe.each(['message', 'backend'] as const)("with canvasStorage '%s'", (storage) => {
  test('every node of random workflows ends, with the right results, and none runs twice', {
    timeout: 60_000,
  }, async () => {
    const runs: string[] = [];
    await using app = makeCanvasApp(`memory://random-${storage}`, storage, (id) => runs.push(id));
    const worker = new Worker(app);
    await worker.start();
    const results = await app.results();
    for (const seed of seeds) {
      const next = random(seed);
      const frozen = freeze(grow(next, 5 + Math.floor(next() * 56)), newId);
      const result = await app.signature(frozen).delay();
      const value = await result?.get(soon).catch((error: Error) => {
        if (error instanceof RemoteTaskError || error.name === 'TimeoutError') throw error;
        return undefined;
      });
      expect([seed, value]).toEqual([seed, model(frozen, [])]);
      const ends = async () => Promise.all(taskIds(frozen).map(async (id) => (await results.fetch(id))?.state));
      await expect
        .poll(async () => new Set([...(await ends()), 'SUCCESS', 'FAILURE']))
        .toEqual(new Set(['SUCCESS', 'FAILURE']));
      // Each task that has succeeded ran once, bodies too: none twice, and none that has failed with its chord.
      const metas = await Promise.all(taskIds(frozen).map((id) => results.fetch(id)));
      const succeeded = metas.flatMap((meta) => (meta?.state === 'SUCCESS' ? [meta.taskId] : []));
      expect([seed, runs.splice(0).toSorted()]).toEqual([seed, succeeded.toSorted()]);
    }
    await worker.stop();
  });
});
