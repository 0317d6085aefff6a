/** What comes of workflows of every shape. */
import { describe, expect, test } from 'vitest';
import {
  AsyncResult,
  type Canvas,
  ChordError,
  ConfigError,
  chain,
  chord,
  GroupResult,
  group,
  type Sent,
} from '../../../src/index.ts';
import { CanvasShop, soon } from './shop.ts';

const get = async (sent: Promise<Sent>) => (await sent)?.get(soon);

describe('a chain', () => {
  test('gives each step the result of the one before, and knows the steps before its last', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul } = shop;
    const result = await chain(add.s(1, 2), mul.s(3), add.s(4)).delay();
    expect(await result.get(soon)).toBe(13);
    expect(result.parent).toBeInstanceOf(AsyncResult);
    expect(await result.parent?.get(soon)).toBe(9);
    expect(await result.parent?.parent?.get(soon)).toBe(3);
    expect(result.parent?.parent?.parent).toBeUndefined();
  });

  test('takes missing arguments, steps that take nothing, and chains as steps', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul } = shop;
    expect(await get(chain(add.s(1), mul.s(10)).delay(4))).toBe(50);
    expect(await get(chain(add.s(1, 1), add.si(20, 1)).delay())).toBe(21);
    const inner = chain(add.s(1), mul.s(2));
    expect(await get(chain(add.s(1, 1), inner, inner, add.s(0)).delay())).toBe(14);
  });

  test('with a group in the middle goes on with the list of its results, at the end gives a group', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum } = shop;
    const both = group([mul.s(2), mul.s(3)]);
    const result = await chain(add.s(1, 2), both, sum.s()).delay();
    expect(await result.get(soon)).toBe(15);
    expect(result.parent).toBeInstanceOf(GroupResult);
    const ends = await chain(add.s(1, 2), both).delay();
    expect(ends).toBeInstanceOf(GroupResult);
    expect(await ends.get(soon)).toEqual([6, 9]);
    expect(await get(chain(both, sum.s(), add.s(1)).delay(10))).toBe(51);
  });

  test('of groups hands lists on from one to the next', async () => {
    await using shop = await CanvasShop.open();
    const { add, list, sum } = shop;
    const numbers = group([add.s(1, 0), add.s(2, 0)]);
    const sums = group([sum.s(), sum.s()]);
    expect(await get(chain(numbers, sums, list.s()).delay())).toEqual([3, 3]);
    expect(await get(chain(numbers, sums).delay())).toEqual([3, 3]);
    expect(await get(chain(numbers, sums, sums, sum.s()).delay())).toBe(12);
  });

  test('of one step is that step; without any it sends nothing and has no result, as in Celery', async () => {
    await using shop = new CanvasShop();
    const { add, sum, app } = shop;
    for (const none of [chain(), chain(chain()), chain().set({ queue: 'other' }), app.signature(chain().toWire())]) {
      expect(await none.delay()).toBeUndefined();
      expect(await none.apply([] as never)).toBeUndefined();
    }
    expect((await (await app.broker()).countMany(['celery']))[0]?.ready ?? 0).toBe(0);
    await shop.work();
    expect(await get(chain(add.s(1, 1)).delay())).toBe(2);
    // Where there is nothing, there is nothing to wait for.
    const steps = chain as unknown as (...all: Canvas[]) => Canvas<[], unknown>;
    const join = chord as unknown as (header: Canvas[], body: Canvas) => Canvas<[], unknown>;
    expect(await get(steps(chain(), add.s(1, 1), chain()).delay())).toBe(2);
    expect(await get(join([chain(), add.s(1, 1)], sum.s()).delay())).toBe(2);
    expect(await get(join([chain()], sum.s()).delay())).toBe(0);
    expect(await get(group([chain()]).delay())).toEqual([]);
    expect(await get(steps(group([]), sum.s()).delay())).toBe(0);
  });

  test('of something else is refused', () => {
    expect(() => (chain as unknown as (n: number) => void)(1)).toThrow(/got number at index 0/);
  });

  test('of one link sends what it is linked to with the last result', async () => {
    await using shop = await CanvasShop.open();
    const { add, app } = shop;
    const link = app.task('c.linked', (x: number) => void shop.told.push(x));
    await get(chain(add.s(1, 1), add.s(1)).link(link.s()).delay());
    await expect.poll(() => shop.told).toEqual([3]);
  });
});

describe('a chord', () => {
  test('may have chains, groups and chords in its header', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum, list } = shop;
    const header = [chain(add.s(1, 1), mul.s(10)), group([add.s(2, 2), add.s(3, 3)]), chord([add.s(4, 4)], sum.s())];
    expect(await get(chord(header, list.s()).delay())).toEqual([20, 4, 6, 8]);
  });

  test('keeps the results of a member that ends in a group together', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, list } = shop;
    const ends = chain(add.s(1, 1), group([mul.s(2), mul.s(3)]));
    expect(await get(chord([ends, add.s(5, 5)], list.s()).delay())).toEqual([[4, 6], 10]);
  });

  test('may have a chain, a group or a chord as its body', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum, list } = shop;
    const header = [add.s(1, 1), add.s(2, 2)];
    expect(await get(chord(header, chain(sum.s(), add.s(100))).delay())).toBe(106);
    expect(await get(chord(header, group([sum.s(), list.s()])).delay())).toEqual([6, [2, 4]]);
    expect(await get(chord(header, chord([sum.s(), sum.s()], list.s())).delay())).toEqual([6, 6]);
  });

  test('goes on in a chain: chords of chords, three and more deep', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum } = shop;
    const fan = chord([mul.s(2), mul.s(3)], sum.s());
    expect(await get(chain(add.s(1, 0), fan, fan, fan, add.s(1)).delay())).toBe(126);
    const deep = chord(
      [chord([chord([add.s(1, 1), add.s(1, 1)], sum.s()), add.s(1, 0)], sum.s()), add.s(1, 0)],
      sum.s(),
    );
    expect(await get(deep.delay())).toBe(6);
    expect(await get(chord([add.s(1), add.s(2)], sum.s()).delay(10))).toBe(23);
  });

  test('with an empty header runs its body with an empty list, also in a chain', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum } = shop;
    expect(await get(chord([], sum.s()).delay())).toBe(0);
    expect(await get(chain(add.s(1, 1), chord([], sum.s()), add.s(1)).delay())).toBe(1);
  });
});

describe('a group', () => {
  test('in a group adds its members to it; members may be chains and chords', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum } = shop;
    const nested = group([add.s(1, 1), group([add.s(2, 2), add.s(3, 3)])]);
    expect(await get(nested.delay())).toEqual([2, 4, 6]);
    const mixed = group([chain(add.s(1, 1), mul.s(5)), chord([add.s(1, 1), add.s(1, 2)], sum.s())]);
    expect(await get(mixed.delay())).toEqual([10, 5]);
    expect(await get(group([add.s(1), mul.s(2)]).delay(10))).toEqual([11, 20]);
  });

  test('skews the starts of its members, and has no link', async () => {
    await using shop = await CanvasShop.open();
    const { add } = shop;
    const wire = group([add.s(1, 1), add.s(2, 2), add.s(3, 3)])
      .skew(1, 2, 0.5)
      .toWire();
    const tasks = wire.kwargs.tasks as { options: { countdown: number } }[];
    expect(tasks.map(({ options }) => options.countdown)).toEqual([1, 1.5, 2]);
    expect(() => group([add.s(1, 1)]).link(add.si(1, 1) as never)).toThrow(/no link/);
  });
});

describe('map, starmap and chunks', () => {
  test('call one task for many items, in one run or in several', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum } = shop;
    expect(await get(sum.map([[1, 2], [3]]).delay())).toEqual([3, 3]);
    expect(
      await get(
        add
          .starmap([
            [1, 2],
            [3, 4],
          ])
          .delay(),
      ),
    ).toEqual([3, 7]);
    const calls = [0, 1, 2, 3, 4].map((n): [number, number] => [n, n]);
    expect(await get(add.chunks(calls, 2).delay())).toEqual([[0, 2], [4, 6], [8]]);
    expect(await get(chain(add.chunks(calls, 2), sum.s()).delay())).toBe(20);
    expect(() => add.chunks(calls, 0)).toThrow(ConfigError);
  });

  test('go where the task that they call goes', async () => {
    await using shop = new CanvasShop({ taskRoutes: { 'c.add': { queue: 'sums' } } });
    await shop.add.starmap([[1, 2]]).delay();
    await shop.add.chunks([[1, 2]], 1).delay();
    const [depth] = await (await shop.app.broker()).countMany(['sums']);
    expect(depth?.ready).toBe(2);
  });
});

describe('links', () => {
  test('may be chains, groups and chords', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum, app } = shop;
    const note = app.task('c.note', (x: unknown) => void shop.told.push(x));
    await add
      .s(1, 1)
      .link(chain(mul.s(10), note.s()))
      .delay();
    await expect.poll(() => shop.told).toEqual([20]);
    await add
      .s(1, 1)
      .link(chord([add.s(1), add.s(2)], chain(sum.s(), note.s())))
      .delay();
    await expect.poll(() => shop.told).toEqual([20, 7]);
    const result = await add
      .s(1, 1)
      .link(note.s())
      .link(group([note.s(), note.s()]))
      .delay();
    await expect.poll(() => shop.told).toEqual([20, 7, 2, 2, 2]);
    await result.get(soon);
    expect((await result.children).map((child) => child.constructor)).toEqual([GroupResult, GroupResult]);
  });
});

describe('self.addToChord', () => {
  test('has the chord of a task wait for one more, once, whatever is retried', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum, app } = shop;
    const more = app.task('c.more', { bind: true }, async (self, n: number) => {
      const added = await self.addToChord(chain(add.s(n, 10), add.s(100)));
      if (self.request.retries === 0) throw self.retry({ countdown: 0 });
      shop.told.push(added.id);
      return n;
    });
    const result = await chord([more.s(1), add.s(1, 1)], sum.s()).delay();
    expect(await result.get(soon)).toBe(1 + 2 + 111);
    expect(await app.result(String(shop.told[0])).get(soon)).toBe(111);
    await expect(get(more.delay(1))).rejects.toThrow(/no member of a chord/);
  });
});

describe('self.replace', () => {
  test('has another signature run in the place of a task, with its id', async () => {
    await using shop = await CanvasShop.open();
    const { add, mul, sum, app } = shop;
    const again = app.task('c.again', { bind: true }, (self, n: number): number => self.replace(add.s(n, 100)));
    expect(await get(again.delay(5))).toBe(105);
    const fan = app.task('c.fan', { bind: true }, (self, n: number): number[] =>
      self.replace(group([add.s(n, 1), add.s(n, 2)])),
    );
    expect(await get(fan.delay(5))).toEqual([6, 7]);
    const steps = app.task('c.steps', { bind: true }, (self, n: number): number =>
      self.replace(chain(again.s(n), mul.s(2))),
    );
    expect(await get(chain(add.s(1, 1), steps.s(), add.s(1)).delay())).toBe(205);
    expect(await get(chord([fan.s(1), steps.s(1)], sum.s()).delay())).toBe(207);
    const chorded = app.task('c.chorded', { bind: true }, (self): number =>
      self.replace(chord([add.s(1, 1), steps.s(1)], sum.s())),
    );
    expect(await get(chord([chorded.s(), add.s(1, 1)], sum.s()).delay())).toBe(206);
  });

  test('that fails is the failure of the task, for those that wait for it, too', async () => {
    await using shop = await CanvasShop.open();
    const { add, fail, sum, app } = shop;
    const by = [fail.s(), chain(add.s(1, 1), fail.s(), add.s(1)), chord([fail.s(), add.s(1, 1)], sum.s())];
    const doomed = app.task('c.doomed', { bind: true }, (self, which: number): number =>
      self.replace(by[which] as Canvas<[], number>),
    );
    for (const which of by.keys()) {
      await expect(get(doomed.delay(which))).rejects.toThrow(/no/);
      const last = await chain(add.s(1, 1), doomed.si(which), add.s(1)).delay();
      await expect(last.get(soon)).rejects.toThrow(/no/);
      const before = last.parent as AsyncResult;
      expect([await last.state, await before.state]).toEqual(['FAILURE', 'FAILURE']);
      await expect(before.parent?.get(soon)).resolves.toBe(2);
      await expect(get(chord([doomed.s(which), add.s(1, 1)], sum.s()).delay())).rejects.toThrow(ChordError);
    }
  });

  test('passes on to it what was linked to the task', async () => {
    await using shop = await CanvasShop.open();
    const { add, app } = shop;
    const note = app.task('c.note', (x: unknown) => void shop.told.push(x));
    const again = app.task('c.again', { bind: true }, (self, n: number): number => self.replace(add.s(n, 100)));
    await again.s(1).link(note.s()).delay();
    await expect.poll(() => shop.told).toEqual([101]);
    expect(() => again(1)).toThrow(/called directly/);
    const wrong = app.task('c.wrong', { bind: true }, (self) => self.replace(7 as never));
    await expect(get(wrong.delay())).rejects.toThrow(/expected a signature/);
  });
});
