/** Every node of a workflow ends, whatever happens to one of them. The rows of the table in docs/canvas.md name these tests. */
import { describe, expect, test } from 'vitest';
import {
  AsyncResult,
  ChordError,
  chain,
  chord,
  type GroupResult,
  group,
  Ignore,
  type Lovage,
  type MemberEnd,
  Reject,
  type Signature,
  TaskRevokedError,
} from '../../../src/index.ts';
import { newId } from '../../../src/util/ids.ts';
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

/** Sends a message as a program in another language does, which checks nothing. Gives the id of its task. */
async function sendRaw(app: Lovage, task: string, args: unknown[], embed: object, headers: object = {}) {
  const id = newId();
  const message = {
    body: Buffer.from(JSON.stringify([args, {}, embed])),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { lang: 'py', task, id, ...headers },
    properties: { correlation_id: id },
  };
  await (await app.broker()).publishMany([{ queue: 'celery', message }]);
  return id;
}

/** Has one task fail, one be revoked, one expire, and one that nobody has. */
async function ends({ add, fail, app }: CanvasShop) {
  await app.revoke('revoked');
  return [
    { how: 'fails', sig: fail.s() },
    { how: 'is revoked', sig: add.s(1, 1).set({ taskId: 'revoked' }) },
    { how: 'expires', sig: add.s(1, 1).set({ expires: 0 }) },
    { how: 'is unknown', sig: app.signature('c.nobody', [1]) as unknown as Signature<[], number> },
  ];
}

describe('a step, body or member that fails, is revoked, expires or is unknown', () => {
  test('in any place of a chain ends the steps after it, and no step before it', async () => {
    await using shop = await CanvasShop.open();
    const { add, app, onError } = shop;
    for (const { how, sig } of await ends(shop)) {
      for (const before of [0, 1, 2]) {
        const one = how === 'is revoked' ? sig.set({ taskId: `revoked-${before}` }) : sig;
        if (how === 'is revoked') await app.revoke(`revoked-${before}`);
        const head = Array.from({ length: before }, () => add.si(1, 1));
        const tail = Array.from({ length: 2 - before }, () => add.s(1));
        const all = chain(...([...head, one, ...tail] as [Signature<[], number>]));
        const result = await all.linkError(onError.s()).delay();
        await expect(result.get(soon)).rejects.toThrow();
        const end = how === 'is revoked' || how === 'expires' ? 'REVOKED' : 'FAILURE';
        const wanted = [...tail.map(() => end), end, ...head.map(() => 'SUCCESS')];
        await expect.poll(async () => [how, await states(result)]).toEqual([how, wanted]);
      }
    }
    // Errbacks are told of failures: of those that were revoked nobody is, as in Celery.
    await expect.poll(() => shop.told.length).toBe(6);
  });

  test('as the body of a chord ends what follows the body; its header has succeeded', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum } = shop;
    for (const { how, sig } of await ends(shop)) {
      const body = sig as unknown as Signature<[unknown], number>;
      const result = await chain(chord([add.s(1, 1), add.s(2, 2)], body), add.s(1)).delay();
      await expect(result.get(soon)).rejects.toThrow();
      const end = how === 'is revoked' || how === 'expires' ? 'REVOKED' : 'FAILURE';
      await expect.poll(async () => [how, await states(result)]).toEqual([how, [end, end, ['SUCCESS', 'SUCCESS']]]);
    }
    const outer = await chord([chord([add.s(1, 1)], shop.fail.s()), add.s(1, 1)], sum.s()).delay();
    await expect(outer.get(soon)).rejects.toThrow(/raised TypeError\('no'\)/);
  });

  test('in a group leaves the others alone, and is what get() throws', async () => {
    await using shop = await CanvasShop.open();
    const { add } = shop;
    for (const { how, sig } of await ends(shop)) {
      const sent = await group([add.s(1, 1), sig, add.s(2, 2)]).delay();
      await expect(sent.get(soon)).rejects.toThrow();
      await expect.poll(async () => [how, await sent.ready(), await sent.completedCount()]).toEqual([how, true, 2]);
    }
  });

  test('as what a task is linked to changes nothing of that task', async () => {
    await using shop = await CanvasShop.open();
    const { add } = shop;
    for (const { how, sig } of await ends(shop)) {
      const result = await add
        .s(1, 1)
        .link(sig as unknown as Signature<[number], number>)
        .delay();
      expect([how, await result.get(soon)]).toEqual([how, 2]);
      const [child] = await result.children;
      await expect(child?.get(soon)).rejects.toThrow();
    }
  });
});

describe('a call among those of map, starmap or chunks', () => {
  test('that fails is the failure of the task that makes it, and of no other chunk', async () => {
    await using shop = await CanvasShop.open();
    const { app } = shop;
    const picky = app.task('c.picky', (n: number) => {
      if (n === 2) throw new RangeError('two');
      return n;
    });
    await expect((await picky.map([1, 2, 3]).delay()).get(soon)).rejects.toThrow('two');
    await expect((await picky.starmap([[1], [2]]).delay()).get(soon)).rejects.toThrow('two');
    const chunks = await picky.chunks([[1], [2], [3], [4]], 2).delay();
    await expect(chunks.get(soon)).rejects.toThrow('two');
    expect(await chunks.results[1]?.get(soon)).toEqual([3, 4]);
  });
});

describe('a member of a chord', () => {
  test('that throws Ignore has no end: the chord stays open, as in Celery', async () => {
    await using shop = await CanvasShop.open();
    const { add, sum, app } = shop;
    const ignored = app.task('c.ignored', (_why?: unknown): number => {
      shop.told.push('ignored');
      throw new Ignore('not this one');
    });
    const body = await chord([ignored.s(), add.s(1, 1)], sum.s()).delay();
    const header = body.parent as GroupResult;
    expect(await header.results[1]?.get(soon)).toBe(2);
    await expect.poll(() => shop.told).toEqual(['ignored']);
    const { joins } = (await app.results()).required();
    await expect.poll(async () => (await joins?.read(header.id))?.length).toBe(1);
    expect(await body.state).toBe('PENDING');
  });

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
    const link = chain(shop.list.si(1), app.signature({ ...wire, immutable: true }), note.s());
    await sendRaw(app, 'c.list', [[]], { callbacks: [link.toWire()] });
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
    const { add, app } = shop;
    const foreign = { toWire: () => ({ ...add.s(1).toWire(), subtask_type: 'mesh' }) };
    await expect(add.applyAsync([1, 1], { link: foreign })).rejects.toThrow(/subtask_type/);
    expect(() => app.signature(foreign.toWire())).toThrow(/subtask_type/);
    // As a program in another language may send it.
    const unread = /subtask_type/;
    for (const embed of [{ callbacks: [add.s(1).toWire(), foreign.toWire()] }, { chain: [foreign.toWire()] }])
      await expect(app.result(await sendRaw(app, 'c.add', [1, 1], embed)).get(soon)).rejects.toThrow(unread);
    const chain = [foreign.toWire(), add.s(1).set({ taskId: 'next' }).toWire()];
    expect(await app.result(await sendRaw(app, 'c.add', [1, 1], { chain })).get(soon)).toBe(2);
    await expect(app.result('next').get(soon)).rejects.toThrow(unread);
    // The same where a step before it fails: whoever can be told is told.
    await sendRaw(app, 'c.fail', [], { chain: [add.s(1).set({ taskId: 'last' }).toWire(), ...chain] });
    await expect(app.result('last').get(soon)).rejects.toThrow(TypeError);
  });

  test('a body of a foreign kind fails under its id, when the header has succeeded, and when it has failed', async () => {
    await using shop = await CanvasShop.open();
    const { app, add } = shop;
    for (const [task, taskId] of [
      ['c.add', 'one'],
      ['c.fail', 'two'],
    ] as const) {
      const body = { ...add.s(1).set({ taskId }).toWire(), subtask_type: 'mesh' };
      const group = newId();
      await (await app.results()).required().joins?.setSize(group, 1);
      await sendRaw(app, task, [1, 1], { chord: body }, { group });
      await expect(app.result(taskId).get(soon)).rejects.toThrow(/subtask_type/);
      await expect.poll(async () => (await app.results()).required().joins?.read(group)).toBeUndefined();
    }
  });

  test('a chord that could never end is refused before anything is sent, wherever it stands', async () => {
    await using none = new CanvasShop({ backend: false });
    await using shop = new CanvasShop();
    const ignored = shop.app.task('c.ignored', { ignoreResult: true }, () => 1);
    const { add, sum } = shop;
    const wrong = chord([add.s(1, 1), ignored.s()], sum.s());
    for (const canvas of [
      wrong,
      chain(add.s(1, 1), wrong),
      group([add.s(1, 1), wrong]),
      chord([wrong], sum.s()),
      chord([add.s(1, 1)], chain(sum.s(), wrong)),
      add.s(1, 1).link(wrong),
      chain(add.s(1, 1), add.s(1).link(wrong)),
    ])
      await expect(canvas.delay()).rejects.toThrow(/c.ignored is a member of a chord/);
    const other = chord([none.add.s(1, 1)], none.sum.s());
    for (const canvas of [other, chain(none.add.s(1, 1), other), none.add.s(1, 1).link(other)])
      await expect(canvas.delay()).rejects.toThrow(/keeps no results/);
    for (const { app } of [shop, none])
      expect((await (await app.broker()).countMany(['celery']))[0]?.ready ?? 0).toBe(0);
  });

  test('a signature that contains itself is refused', async () => {
    await using shop = await CanvasShop.open();
    const tasks: unknown[] = [];
    const cyclic = { ...group([shop.add.s(1, 1)]).toWire(), kwargs: { tasks } };
    tasks.push(cyclic);
    expect(() => shop.app.signature(cyclic)).toThrow(/contains itself/);
    const link = { toWire: () => cyclic };
    await expect(shop.add.applyAsync([1, 1], { link, stamps: { tenant: 'acme' } })).rejects.toThrow(/contains itself/);
    await expect(chain(shop.add.s(1, 1).set({ linkError: link })).delay()).rejects.toThrow(/contains itself/);
  });
});
