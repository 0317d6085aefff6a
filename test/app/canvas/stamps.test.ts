/** Stamps: as Celery 5.6 writes them, and on all that follows. */
import { describe, expect, test } from 'vitest';
import { chain, chord, group, Lovage, Worker } from '../../../src/index.ts';
import { decodeTask } from '../../../src/wire/protocol.ts';
import { acceptList } from '../../../src/wire/serializers.ts';
import type { TaskMessage } from '../../../src/wire/task-message.ts';
import { quiet } from '../../support/in-memory.ts';
import { loadVectors, type Vector } from '../../unit/wire/vectors.ts';
import { capturedApp, comparable, opened, sameIds } from './captured.ts';
import { CanvasShop, soon } from './shop.ts';

const tenant = { stamps: { tenant: 'acme' } };

/** The stamped workflows of the captures, by their names. */
const made: Record<string, (tasks: ReturnType<typeof tasksOf>) => { delay(): Promise<unknown> }> = {
  task_stamps_task: ({ add }) => add.s(1, 2).set(tenant),
  task_stamps_chain: ({ add, mul }) => chain(add.s(1, 2), mul.s(3), add.s(4)).set(tenant),
  task_stamps_own: ({ add, mul }) =>
    chain(add.s(1, 2), mul.s(3).set({ stamps: { tenant: 'own', level: 2 } })).set(tenant),
  task_stamps_group: ({ add }) => group([add.s(1, 1), add.s(2, 2)]).set(tenant),
  task_stamps_chord: ({ add, xsum }) => chord([add.s(1, 1).set(tenant), add.s(2, 2).set(tenant)], xsum.s()),
  task_stamps_links: ({ add, mul, onError }) => add.s(1, 2).link(mul.s(3)).linkError(onError.s()).set(tenant),
};

function tasksOf(app: Lovage) {
  return {
    add: app.task('cap.add', (x: number, y: number) => x + y),
    mul: app.task('cap.mul', (x: number, y: number) => x * y),
    onError: app.task('cap.on_error_old', (id: string) => id),
    xsum: app.task('cap.xsum', (numbers: readonly number[]) => numbers.length),
  };
}

function envelopesOf({ raw }: Vector): string[] {
  return Object.values(raw as Record<string, string[]>).flatMap((list) => list.toReversed());
}

function shown(messages: readonly TaskMessage[]) {
  const key = ({ task, args }: TaskMessage) => JSON.stringify([task, args]);
  return sameIds(messages.toSorted((a, b) => key(a).localeCompare(key(b))).map(comparable), new Set());
}

const vectors = loadVectors('task_stamps_');

describe('what Celery 5.6 sends where signatures are stamped', () => {
  test('is here for each of them', () => {
    expect(vectors.map(({ name }) => name).toSorted()).toEqual(Object.keys(made).toSorted());
  });

  test.each(vectors)('$label is what is sent here', async (vector) => {
    const app = new Lovage('cap', { broker: `memory://stamps-${vector.name}`, logger: quiet });
    try {
      await made[vector.name]?.(tasksOf(app)).delay();
      const consumer = await (await app.broker()).consume(['celery']);
      const deliveries = await consumer.receive(10, 100, new AbortController().signal);
      const accept = acceptList(['json']);
      const ours = await Promise.all(deliveries.map(({ message }) => decodeTask(message, { accept })));
      const theirs = await Promise.all(envelopesOf(vector).map(async (one) => (await opened(one)).message));
      expect(shown(ours)).toEqual(shown(theirs));
    } finally {
      await app.close();
    }
  });

  test.each(vectors)('$label is on all that follows', async (vector) => {
    const { app, taken } = capturedApp(`memory://stamps-run-${vector.name}`);
    try {
      const { broker, results } = await app.connections();
      const messages = await Promise.all(envelopesOf(vector).map(opened));
      const id = messages[0]?.message.groupId;
      if (messages[0]?.message.chord && id) await results.backend?.joins?.setSize(id, messages.length);
      await broker.publishMany(messages.map(({ wire }) => ({ queue: 'celery', message: wire })));
      const worker = new Worker(app);
      await worker.start();
      const follows = { task_stamps_chain: 2, task_stamps_own: 1, task_stamps_chord: 1, task_stamps_links: 1 };
      const expected = messages.length + (follows[vector.name as keyof typeof follows] ?? 0);
      await expect.poll(() => taken.length).toBe(expected);
      await worker.stop();
      const level = (task: string) => vector.name === 'task_stamps_own' && task === 'cap.mul' && { level: 2 };
      for (const { task, stamps, stampedHeaders } of taken) {
        expect(stamps).toEqual({ tenant: 'acme', ...level(task) });
        expect(stampedHeaders?.toSorted()).toEqual(Object.keys(stamps ?? {}).toSorted());
      }
    } finally {
      await app.close();
    }
  });
});

describe('stamps', () => {
  test('are on all that follows from a call', async () => {
    await using shop = await CanvasShop.open();
    const { app, add, sum } = shop;
    const marks = app.task('c.marks', { bind: true }, async (self, more?: unknown): Promise<number> => {
      shop.told.push(self.request.stamps);
      if (more === 'more')
        await add
          .s(1, 1)
          .link(marks.s())
          .set({ stamps: { level: 2 } })
          .delay();
      return 1;
    });
    await chain(marks.s('more'), chord([marks.s(), marks.s()], sum.s()), marks.s())
      .set({ stamps: { tenant: 'acme' } })
      .delay();
    await expect.poll(() => shop.told.length).toBe(5);
    expect(shop.told).toContainEqual({ tenant: 'acme', level: 2 });
    expect(shop.told.filter((one) => JSON.stringify(one) === '{"tenant":"acme"}')).toHaveLength(4);
  });

  test('add up; a call, and what is sent by a task, leaves those that are there', async () => {
    await using shop = await CanvasShop.open();
    const { app } = shop;
    const marks = app.task('c.marks', { bind: true }, ({ request }, _more?: unknown) => request.stamps);
    const one = marks
      .s()
      .set({ stamps: { a: 1 } })
      .set({ stamps: { b: 2 } });
    expect(await (await one.delay()).get(soon)).toEqual({ a: 1, b: 2 });
    expect(await (await one.clone([], { stamps: { c: 3 } }).delay()).get(soon)).toEqual({ a: 1, b: 2, c: 3 });
    expect(await (await one.applyAsync([], { stamps: { a: 9, c: 3 } })).get(soon)).toEqual({ a: 1, b: 2, c: 3 });
    const both = chain(one, marks.s());
    const sent = await both.applyAsync([], { stamps: { a: 9, c: 3 } });
    expect([await sent.parent?.get(soon), await sent.get(soon)]).toEqual([
      { a: 1, b: 2, c: 3 },
      { a: 9, b: 2, c: 3 },
    ]);
    expect(await (await both.set({ stamps: { a: 5 } }).apply()).get()).toEqual({ a: 5, b: 2 });
    const parent = app.task('c.parent', async () => (await chain(one, marks.s()).delay()).id);
    const id = await (await parent.applyAsync([], { stamps: { a: 7, d: 4 } })).get(soon);
    expect(await app.result(id).get(soon)).toEqual({ a: 7, b: 2, d: 4 });
    const replaced = app.task('c.replaced', { bind: true }, (self): object => self.replace(chain(one, marks.s())));
    expect(await (await replaced.applyAsync([], { stamps: { d: 4 } })).get(soon)).toEqual({ a: 1, b: 2, d: 4 });
  });

  test('are told to errbacks that are sent, and kept with results by resultExtended', async () => {
    await using shop = await CanvasShop.open({ resultExtended: true });
    const { app, fail } = shop;
    const told = app.task('c.told', { bind: true }, ({ request }, _id: string) => void shop.told.push(request.stamps));
    const result = await fail.s().linkError(told.s()).set(tenant).delay();
    await expect.poll(() => shop.told).toEqual([{ tenant: 'acme' }]);
    const [record] = await (await app.results()).required().fetchMany([result.id]);
    const document = JSON.parse(String(record?.document));
    expect(document).toMatchObject({ status: 'FAILURE', stamped_headers: ['tenant'], tenant: 'acme' });
    expect((await (await app.results()).fetch(result.id))?.stamps).toEqual({ tenant: 'acme' });
  });
});
