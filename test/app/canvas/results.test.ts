/** Results of workflows as trees. */
import { describe, expect, test } from 'vitest';
import { AsyncResult, chain, chord, GroupResult, group, Lovage, TimeoutError } from '../../../src/index.ts';
import { quiet } from '../../support/in-memory.ts';
import { CanvasShop, soon } from './shop.ts';

describe('a group result', () => {
  test('gives its members as they finish, the quickest first', async () => {
    await using shop = new CanvasShop();
    const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
    const slow = shop.app.task('c.slow', async (n: number) => {
      await gates[n]?.promise;
      if (n === 1) throw new TypeError('one');
      return n;
    });
    await shop.work();
    const sent = await group([slow.s(0), slow.s(1), slow.s(2)]).delay();
    const ids: string[] = [];
    gates[2]?.resolve();
    for await (const result of sent.asCompleted(soon)) {
      ids.push(result.id);
      gates[2 - ids.length]?.resolve();
    }
    expect(ids).toEqual([2, 1, 0].map((n) => sent.results[n]?.id));
    await expect(sent.join(soon)).rejects.toThrow('one');
  });

  test('stops giving them when its time is over, or nobody asks', async () => {
    await using shop = await CanvasShop.open();
    const { add } = shop;
    const sent = await group([add.s(1, 1), add.s(1, 1).set({ queue: 'nobody' })]).delay();
    const all = sent.asCompleted({ timeout: 0.2 });
    expect((await all.next()).value).toBe(sent.results[0]);
    await expect(all.next()).rejects.toThrow(TimeoutError);
    for await (const one of sent.asCompleted()) {
      expect(one).toBe(sent.results[0]);
      break;
    }
  });
});

describe('a tree of results', () => {
  test('is saved and restored with the groups in it and what it continues', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul } = shop;
    const members = group([chain(add.s(1), group([mul.s(2), mul.s(3)])), add.s(5)]);
    const sent = (await chain(add.s(1, 1), members).delay()) as GroupResult;
    expect(await sent.get(soon)).toEqual([[6, 9], 7]);
    await sent.save();
    await using other = new Lovage('other', { broker: shop.app.config.broker, logger: quiet });
    const found = await other.groupResult(sent.id);
    expect(found?.node).toEqual(sent.node);
    expect(found?.results[0]).toBeInstanceOf(GroupResult);
    expect(await found?.get(soon)).toEqual([[6, 9], 7]);
    expect(await found?.parent?.get(soon)).toBe(2);
    expect(await found?.completedCount()).toBe(3);
  });

  test('is collected from the top, each result with its value', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum, app } = shop;
    const top = app.task('c.top', async () => {
      const one = await add.delay(1, 1);
      await group([mul.s(2, 2), mul.s(3, 3)]).delay();
      await chord([add.s(1, 1)], sum.s()).delay();
      return [one.id];
    });
    const result = await top.delay();
    await result.get(soon);
    const values: unknown[] = [];
    for await (const [, value] of result.collect(soon)) values.push(value);
    expect(values).toEqual([expect.any(Array), 2, [4, 9], 4, 9, [2], 2]);
  });

  test('is revoked as a whole: what comes before, beside and after', async () => {
    await using shop = new CanvasShop();
    const { add, sum } = shop;
    const sent = await chain(group([add.s(1, 1), add.s(2, 2)]), sum.s(), add.s(1)).delay();
    await sent.revoke({ tree: true });
    const header = sent.parent?.parent as GroupResult;
    const all = [sent, sent.parent as AsyncResult, ...header.results];
    expect(await Promise.all(all.map(({ state }) => state))).toEqual(all.map(() => 'REVOKED'));
  });

  test('says which task is the child of which, through chords', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum } = shop;
    const result = await chain(add.s(1, 1), chord([add.s(1), add.s(2)], sum.s())).delay();
    await result.get(soon);
    const first = result.parent?.parent as AsyncResult;
    const [header] = await first.children;
    expect(header?.id).toBe(result.parent?.id);
    expect(first).toBeInstanceOf(AsyncResult);
  });
});
