/** `canvasStorage: 'backend'`: the same workflows, with messages that do not carry what is still to come. */
import { describe, expect, test, vi } from 'vitest';
import { Publisher } from '../../../src/app/sending/publisher.ts';
import { type Canvas, ChordError, chain, chord, group, type LovageOptions, type Task } from '../../../src/index.ts';
import { encodeTask } from '../../../src/wire/protocol.ts';
import { CanvasShop, soon } from './shop.ts';

const backend: LovageOptions = { canvasStorage: 'backend' };

/** Has all bytes counted that are sent while a workflow runs; the largest message, and all together. */
async function bytesOf(options: LovageOptions, run: (shop: CanvasShop) => Promise<unknown>) {
  await using shop = await CanvasShop.open(options);
  const sizes: number[] = [];
  const send = Publisher.prototype.tryMany;
  const spy = vi.spyOn(Publisher.prototype, 'tryMany').mockImplementation(function (this: Publisher, prepared, more) {
    for (const { message } of prepared) sizes.push(encodeTask(message, { serializer: 'json' }).body.length);
    return send.call(this, prepared, more);
  });
  try {
    await run(shop);
  } finally {
    spy.mockRestore();
  }
  return { largest: Math.max(...sizes), total: sizes.reduce((a, b) => a + b, 0), count: sizes.length };
}

function chords({ mul, sum }: CanvasShop, count: number, width = 4): Canvas<[], number> {
  const fans = Array.from({ length: count }, () =>
    chord(
      Array.from({ length: width }, (_, i) => mul.s(i % 2)),
      sum.s(),
    ),
  );
  return (chain as unknown as (...steps: unknown[]) => Canvas<[], number>)(mul.s(1, 1), ...fans);
}

describe("with canvasStorage 'backend'", () => {
  test('a chain of 50 chords sends messages that are small, whatever is still to come', async () => {
    const run = (count: number) => async (shop: CanvasShop) => {
      const result = await chords(shop, count).delay();
      await (result as { get(options: object): Promise<unknown> }).get({ timeout: 20 });
    };
    const [few, many] = [await bytesOf(backend, run(10)), await bytesOf(backend, run(50))];
    expect(many.count).toBe(50 * 5 + 1);
    expect(many.largest).toBeLessThan(few.largest * 1.2);
    expect(many.total / many.count).toBeLessThan((few.total / few.count) * 1.2);
    const embedded = await bytesOf({}, run(10));
    expect(embedded.total).toBeGreaterThan(few.total * 4);
  });

  test('a group of 1,000 in a chain sends each member with its own arguments only', async () => {
    const run =
      (size: number) =>
      async ({ add, sum }: CanvasShop) => {
        const members = Array.from({ length: size }, (_, n) => add.s(n));
        await (await chain(add.s(1, 1), group(members), sum.s(), add.s(1)).delay()).get({ timeout: 20 });
      };
    const [few, many] = [await bytesOf(backend, run(100)), await bytesOf(backend, run(1000))];
    expect(many.total).toBeLessThan(few.total * 11);
  });

  test('workflows of every shape give the same, and every node ends', async () => {
    await using shop = await CanvasShop.open(backend);
    const { add, mul, sum, list, fail } = shop;
    const long = (canvas: Task<[x: number, y: number], number>) => Array.from({ length: 12 }, () => canvas.s(1));
    const chained = chain as unknown as (...steps: unknown[]) => Canvas<[], unknown>;
    const get = async (canvas: Canvas<[], unknown>) =>
      ((await canvas.delay()) as { get(o: object): Promise<unknown> }).get(soon);
    expect(await get(chained(add.s(1, 1), ...long(add)))).toBe(14);
    const fan = chord([chained(add.s(0), ...long(add)) as never, mul.s(2)], chained(sum.s(), ...long(add)) as never);
    expect(await get(chained(add.s(1, 1), fan, ...long(add)))).toBe(42);
    expect(await get(chained(add.s(1, 1), fan, fan, group([add.s(1), list.s()]), sum.s()))).toBe(229);
    const result = await chain(
      add.s(1, 1),
      chained(...long(add), fail.s(), ...long(add), fan, add.s(1)) as never,
    ).delay();
    await expect((result as { get(o: object): Promise<unknown> }).get(soon)).rejects.toThrow(TypeError);
    const chorded = await chord(
      [fail.s(), add.s(1, 1)],
      chained(sum.s(), ...long(add), fan, add.s(1)) as never,
    ).delay();
    await expect((chorded as { get(o: object): Promise<unknown> }).get(soon)).rejects.toThrow(ChordError);
  });

  test('a name that a Python worker has passed on as a task is looked up, and runs under its id', async () => {
    await using shop = await CanvasShop.open(backend);
    const { add, app } = shop;
    const results = await app.results();
    await results.keepSignatures(new Map([['canvas:later', chain(add.s(1), add.s(10)).toWire()]]));
    const options = { kwargs: { key: 'canvas:later' }, taskId: 'the-id' };
    expect(await (await app.sendTask('lovage.later', [5], options)).get(soon)).toBe(16);
    const missing = await app.sendTask('lovage.later', [5], { kwargs: { key: 'canvas:missing' } });
    await expect(missing.get(soon)).rejects.toThrow(/is gone/);
  });

  test('what is gone from the result backend fails the task before it, and says so', async () => {
    await using shop = await CanvasShop.open(backend);
    const { add, app } = shop;
    const gone = {
      task: 'lovage.later',
      args: [],
      kwargs: { key: 'canvas:gone' },
      options: {},
      subtask_type: null,
      immutable: false,
    };
    const step = app.signature(gone) as never;
    await expect(
      ((await chain(add.s(1, 1), step).delay()) as { parent: { get(o: object): Promise<unknown> } }).parent.get(soon),
    ).rejects.toThrow(/is gone/);
  });
});
