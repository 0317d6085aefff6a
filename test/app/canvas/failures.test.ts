/** Every node of a workflow ends, whatever happens to one of them. The rows of the table in docs/canvas.md name these tests. */
import { describe, expect, test } from 'vitest';
import {
  AsyncResult,
  ChordError,
  chain,
  chord,
  type GroupResult,
  group,
  type MemberEnd,
  Reject,
  TaskRevokedError,
} from '../../../src/index.ts';
import { CanvasShop, soon } from './shop.ts';

/** The states of a result and of all before it, the last one first. */
async function states(result: AsyncResult | GroupResult | undefined): Promise<unknown[]> {
  if (!result) return [];
  const own =
    result instanceof AsyncResult ? await result.state : await Promise.all(result.results.map((r) => r.state));
  return [own, ...(await states(result.parent))];
}

describe('a step of a chain that fails', () => {
  test('fails the steps after it, under their ids, and its errback is told once', async () => {
    await using shop = await CanvasShop.open();
    const { add, fail, onError } = shop;
    const result = await chain(add.s(1, 1), fail.s(), add.s(1), add.s(1)).linkError(onError.s()).delay();
    await expect(result.get(soon)).rejects.toThrow(TypeError);
    await expect.poll(() => shop.told).toEqual([result.parent?.parent?.id]);
    expect(await states(result)).toEqual(['FAILURE', 'FAILURE', 'FAILURE', 'SUCCESS']);
  });

  test('fails all of a chord, a group and a chain that were to come', async () => {
    await using shop = await CanvasShop.open();
    const { add, fail, sum } = shop;
    const fan = chord([add.s(1), chain(add.s(1), add.s(1))], chain(sum.s(), add.s(1)));
    const result = await chain(fail.s(), fan, group([add.s(1), add.s(2)])).delay();
    await expect(result.get(soon)).rejects.toThrow(TypeError);
    await expect
      .poll(() => states(result))
      .toEqual([['FAILURE', 'FAILURE'], 'FAILURE', 'FAILURE', ['FAILURE', 'FAILURE'], 'FAILURE']);
  });

  test('in the header of a chord fails the chord, wherever it stands in its chain', async () => {
    await using shop = await CanvasShop.open();
    const { add, fail, sum, onError } = shop;
    for (const member of [
      chain(fail.s(), add.s(1), add.s(1)),
      chain(add.s(1, 1), fail.s(), add.s(1)),
      chain(add.s(1, 1), add.s(1), fail.s()),
      chain(fail.s(), group([add.s(1), add.s(2)])),
      chain(fail.s(), chord([add.s(1), add.s(2)], sum.s())),
    ]) {
      const result = await chord([member, add.s(1, 1)], sum.s().linkError(onError.s())).delay();
      await expect(result.get(soon)).rejects.toThrow(ChordError);
      await expect.poll(() => shop.told.at(-1)).toBe(result.id);
    }
  });

  test('that is revoked, or expires, revokes the steps after it', async () => {
    await using shop = new CanvasShop();
    const { add, sum } = shop;
    const result = await chain(add.s(1, 1), add.s(1), add.s(1)).delay();
    await result.parent?.parent?.revoke();
    const chorded = await chord([chain(add.s(1, 1).set({ expires: 0 }), add.s(1)), add.s(1, 1)], sum.s()).delay();
    await shop.work();
    await expect(result.get(soon)).rejects.toThrow(TaskRevokedError);
    await expect(chorded.get(soon)).rejects.toThrow(/raised TaskRevokedError/);
  });
});

describe('a member of a chord', () => {
  test('that fails, is revoked, expires, is unknown or is rejected fails the body, whose errbacks are told', async () => {
    await using shop = new CanvasShop();
    const { add, fail, sum, app, onError } = shop;
    const unknown = app.signature('c.nobody', [1]);
    const rejected = app.task('c.rejected', () => {
      throw new Reject('not this one');
    });
    const members = [fail.s(), add.s(1, 1).set({ expires: 0 }), unknown, rejected.s()];
    const sent = [];
    for (const member of members)
      sent.push(await chord([member as never, add.s(1, 1)], sum.s().linkError(onError.s())).delay());
    const revoked = await chord([add.s(1, 1).set({ taskId: 'revoked' }), add.s(2, 2)], sum.s()).delay();
    await app.revoke('revoked');
    await shop.work();
    for (const result of sent) await expect(result.get(soon)).rejects.toThrow(ChordError);
    await expect(revoked.get(soon)).rejects.toThrow(/Dependency revoked raised TaskRevokedError/);
    await expect.poll(() => shop.told.toSorted()).toEqual(sent.map(({ id }) => id).toSorted());
  });

  test('that fails ends the whole body: its chain, its group, and the chord around it', async () => {
    await using shop = await CanvasShop.open();
    const { add, fail, sum, onError } = shop;
    const chained = await chord([fail.s()], chain(sum.s(), add.s(1), add.s(2)).linkError(onError.s())).delay();
    await expect(chained.get(soon)).rejects.toThrow(ChordError);
    expect(await states(chained)).toEqual(['FAILURE', 'FAILURE', 'FAILURE', ['FAILURE']]);
    await expect.poll(() => shop.told).toEqual([chained.id]);
    const grouped = await chord([fail.s()], group([sum.s(), sum.s()])).delay();
    await expect(grouped.get(soon)).rejects.toThrow(ChordError);
    expect(await states(grouped)).toEqual([['FAILURE', 'FAILURE'], ['FAILURE']]);
    const outer = await chord([chord([fail.s()], sum.s()), add.s(1, 1)], sum.s()).delay();
    await expect(outer.get(soon)).rejects.toThrow(/raised ChordError/);
    const later = await chain(chord([fail.s()], sum.s()), add.s(1), add.s(1)).delay();
    await expect(later.get(soon)).rejects.toThrow(ChordError);
    expect(await states(later)).toEqual(['FAILURE', 'FAILURE', 'FAILURE', ['FAILURE']]);
  });

  test("with onMemberFailure 'collect' is told to the body with all others", async () => {
    await using shop = await CanvasShop.open();
    const { add, fail, app } = shop;
    const ends = app.task('c.ends', (all: MemberEnd<number>[]) =>
      all.map((end) => (end.state === 'SUCCESS' ? end.value : `${end.type}: ${end.message}`)),
    );
    const result = await chord([add.s(1, 1), fail.s()], ends.s(), { onMemberFailure: 'collect' }).delay();
    expect(await result.get(soon)).toEqual([2, 'TypeError: no']);
    expect(() => chord([add.s(1, 1)], ends.s() as never, { onMemberFailure: 'ignore' as never })).toThrow(
      /'fail' or 'coll/,
    );
  });

  test('tells errbacks of the chord of itself, where taskAllowErrorCbOnChordHeader says so', async () => {
    await using shop = await CanvasShop.open({ taskAllowErrorCbOnChordHeader: true });
    const { add, fail, sum, onError } = shop;
    const result = await chord([fail.s(), add.s(1, 1)], sum.s())
      .linkError(onError.s())
      .delay();
    await expect(result.get(soon)).rejects.toThrow(ChordError);
    const member = (result.parent as GroupResult).results[0] as AsyncResult;
    await expect.poll(() => shop.told.toSorted()).toEqual([member.id, result.id].toSorted());
  });

  test('may ignore its result, where Python sends it so, and arrives all the same', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum, app } = shop;
    const wire = chord([add.s(1, 1), add.s(2, 2)], sum.s()).toWire();
    const [first] = wire.kwargs.header as { options: Record<string, unknown> }[];
    Object.assign(first?.options ?? {}, { ignore_result: true });
    await expect(app.signature(wire).delay()).rejects.toThrow(/cannot be ignored/);
    const note = app.task('c.note', (x: unknown) => void shop.told.push(x));
    // What a worker sends on is not refused: nobody is there to be told.
    const step = app.signature({ ...wire, immutable: true });
    await app.sendTask('c.list', [[]], { link: chain(shop.list.si(1), step, note.s()) });
    await expect.poll(() => shop.told).toEqual([6]);
  });
});

describe('an errback', () => {
  test('of three parameters is called with the request, the error and its stack; of one, it is sent the id', async () => {
    await using shop = await CanvasShop.open();
    const { fail, add, sum, onError, onErrorNew } = shop;
    const result = await fail.s().linkError(onErrorNew.s()).linkError(onError.s()).delay();
    await expect.poll(() => shop.told).toEqual([[result.id, 'TypeError: no', 'string'], result.id]);
    shop.told.length = 0;
    const body = await chord([fail.s(), add.s(1, 1)], sum.s().onError(onErrorNew.s())).delay();
    await expect.poll(() => shop.told).toEqual([[body.id, expect.stringMatching(/^ChordError: Dependency/), 'string']]);
  });

  test('that has all but one of its arguments is sent the id, however many parameters it has', async () => {
    await using shop = await CanvasShop.open();
    const { fail, app } = shop;
    const into = app.task('c.into', (id: string, list: string) => void shop.told.push([id, list]));
    const result = await fail.s().linkError(into.s('list')).delay();
    await expect.poll(() => shop.told).toEqual([[result.id, 'list']]);
  });

  test('that throws changes nothing', async () => {
    await using shop = await CanvasShop.open();
    const { fail, app } = shop;
    const broken = app.task('c.broken', (_request: unknown, _error: unknown) => {
      throw new Error('worse');
    });
    const result = await fail
      .s()
      .linkError(broken.s() as never)
      .delay();
    await expect(result.get(soon)).rejects.toThrow(TypeError);
  });
});

describe('what cannot be', () => {
  test('a step or link of a foreign kind is the failure of the task before it, not a hang', async () => {
    await using shop = await CanvasShop.open();
    const { add } = shop;
    const foreign = { toWire: () => ({ ...add.s(1).toWire(), subtask_type: 'mesh' }) };
    const result = await add.applyAsync([1, 1], { link: foreign });
    await expect(result.get(soon)).rejects.toThrow(/subtask_type/);
    expect(() => shop.app.signature(foreign.toWire())).toThrow(/subtask_type/);
  });

  test('a signature that contains itself is refused', async () => {
    await using shop = await CanvasShop.open();
    const tasks: unknown[] = [];
    const cyclic = { ...group([shop.add.s(1, 1)]).toWire(), kwargs: { tasks } };
    tasks.push(cyclic);
    expect(() => shop.app.signature(cyclic)).toThrow(/contains itself/);
  });
});
