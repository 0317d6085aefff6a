/** Celery's built-in tasks, as Python sends them. */
import { describe, expect, test } from 'vitest';
import { ChordError, NotRegisteredError, NotSupportedError } from '../../../src/index.ts';
import { newId } from '../../../src/util/ids.ts';
import { CanvasShop, soon } from './shop.ts';

describe('a worker runs', () => {
  test('celery.map and celery.starmap, also over bound tasks, and says which task it lacks', async () => {
    await using shop = await CanvasShop.open();
    const { app, add } = shop;
    const own = app.task('c.own', { bind: true }, (self, n: number) => [self.request.id, n]);
    const mapped = await app.sendTask('celery.map', [], { kwargs: { task: own.s().toWire(), it: [1, 2] } });
    expect(await mapped.get(soon)).toEqual([1, 2].map((n) => [mapped.id, n]));
    const lacking = { ...add.s().toWire(), task: 'c.nobody' };
    const wrong = await app.sendTask('celery.starmap', [], { kwargs: { task: lacking, it: [[1, 2]] } });
    await expect(wrong.get(soon)).rejects.toThrow(NotRegisteredError);
  });

  test('celery.chunks, celery.group and celery.chord: they send, and return what Celery returns', async () => {
    await using shop = await CanvasShop.open();
    const { app, add, sum } = shop;
    const chunks = await app.sendTask('celery.chunks', [], {
      kwargs: {
        task: add.s().toWire(),
        it: [
          [1, 1],
          [2, 2],
          [3, 3],
        ],
        n: 2,
      },
    });
    const [[, parent], members] = (await chunks.get(soon)) as [[string, null], unknown[]];
    expect([parent, members.length]).toEqual([null, 2]);
    expect(await (await chunks.children)[0]?.get(soon)).toEqual([[2, 4], [6]]);
    const id = newId();
    const grouped = await app.sendTask('celery.group', [
      [add.s(1).toWire(), add.s(2).toWire()],
      [[id, null], []],
      id,
      [10],
    ]);
    await grouped.get(soon);
    expect(await (await grouped.children)[0]?.get(soon)).toEqual([11, 12]);
    const header = [add.s(1, 1).toWire(), add.s(2, 2).toWire()];
    const chorded = await app.sendTask('celery.chord', [header, sum.s().toWire()]);
    const [[body]] = (await chorded.get(soon)) as [[string]];
    expect(await app.result(body).get(soon)).toBe(6);
  });

  test('celery.accumulate, celery.backend_cleanup, and refuses celery.chain', async () => {
    await using shop = await CanvasShop.open();
    const { app } = shop;
    const args = [[1, 2], 3];
    expect(await (await app.sendTask('celery.accumulate', args, { kwargs: { index: 0 } })).get(soon)).toEqual([1, 2]);
    expect(await (await app.sendTask('celery.accumulate', args)).get(soon)).toEqual(args);
    expect(await (await app.sendTask('celery.backend_cleanup')).get(soon)).toBeNull();
    await expect((await app.sendTask('celery.chain', [1])).get(soon)).rejects.toThrow(NotSupportedError);
    await expect((await app.sendTask('celery.nothing')).get(soon)).rejects.toThrow(NotRegisteredError);
  });

  test('celery.chord_unlock: waits until all are there, then sends the body, or fails it', async () => {
    await using shop = await CanvasShop.open();
    const { app, add, fail, sum } = shop;
    for (const [member, body] of [
      [add.s(2, 2), { state: 'SUCCESS', value: 6 }],
      [fail.s(), { state: 'FAILURE', value: undefined }],
    ] as const) {
      const bodyId = newId();
      const [one, two] = [newId(), newId()];
      const callback = sum.s().set({ taskId: bodyId }).toWire();
      const kwargs = { result: [one, two].map((id) => [[id, null], null]), interval: 0.01, max_retries: null };
      await app.sendTask('celery.chord_unlock', [newId(), callback], { kwargs });
      await add.s(1, 1).applyAsync([], { taskId: one });
      await member.applyAsync([], { taskId: two });
      const result = app.result(bodyId);
      const value = await result.get(soon).catch((error) => {
        expect(error).toBeInstanceOf(ChordError);
      });
      expect([await result.state, value]).toEqual([body.state, body.value]);
    }
  });
});
