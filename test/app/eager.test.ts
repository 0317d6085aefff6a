import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  ArgumentsError,
  chain,
  chord,
  group,
  Ignore,
  Lovage,
  type LovageOptions,
  MaxRetriesExceededError,
  type MemberEnd,
  NotRegisteredError,
  Reject,
  SerializationError,
  TaskBase,
  type TaskContext,
  TimeoutError,
} from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';

class ShopError extends Error {
  override name = 'ShopError';
}

/** An application whose broker cannot be reached: whatever needs one fails. */
function shop(options: LovageOptions = {}) {
  const app = new Lovage('eager', {
    broker: 'redis://127.0.0.1:1/0',
    brokerTransportOptions: { socketConnectTimeout: 0.2 },
    backend: false,
    logger: quiet,
    errors: [ShopError],
    ...options,
  });
  return {
    app,
    add: app.task('e.add', (x: number, y: number) => x + y),
    sum: app.task('e.sum', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)),
    fail: app.task('e.fail', (text: string): number => {
      throw new ShopError(text);
    }),
  };
}

describe('apply', () => {
  test('runs a task here, and the handle has its state, its value and its id', async () => {
    const { add } = shop();
    const result = await add.apply([2, 3], { taskId: 'my-id' });
    await expect(result.get({ timout: 1 } as never)).rejects.toThrow(/timout.*timeout/);
    expect([result.id, await result.state, await result.get()]).toEqual(['my-id', 'SUCCESS', 5]);
    expect(await (await add.s(3).apply([2])).get()).toBe(5);
    expect(await (await add.si(4, 5).apply()).get()).toBe(9);
  });

  test('gives the task what a worker gives it: JSON arguments, its request, hooks, resources and its class', async () => {
    const { app } = shop();
    const seen: unknown[] = [];
    app.use({
      before: ({ request }) => void seen.push(['before', request.task]),
      after: (_, end) => void seen.push(end),
    });
    const connection = app.resource('connection', () => 'open');
    class Mailer extends TaskBase {
      greeting(): string {
        return `${connection.value} ${this.request.isEager}`;
      }
    }
    const mail = app.task('e.mail', { bind: true, base: Mailer }, (self, when: { at?: Date; none?: undefined }) => [
      self.greeting(),
      self.request.headers.tenant,
      Object.keys(when),
      when.at,
    ]);
    const at = new Date(0);
    const result = await mail.apply([{ at, none: undefined }], { headers: { tenant: 'acme' } });
    expect(await result.get()).toEqual(['open true', 'acme', ['at'], at]);
    expect(seen[0]).toEqual(['before', 'e.mail']);
    expect(seen[1]).toMatchObject({ state: 'SUCCESS' });
    await app.close();
    expect(() => connection.value).toThrow(/not open/);
  });

  test('has values in the form in which a result has them, and fails what cannot be written', async () => {
    const { app, add } = shop();
    const make = app.task('e.make', () => ({ a: undefined, list: new Set([1]).size, b: [undefined] }));
    expect(await (await make.apply([])).get()).toStrictEqual({ list: 1, b: [null] });
    const bad = app.task('e.bad', (): unknown => 5n);
    const result = await bad.apply([]);
    expect(await result.state).toBe('FAILURE');
    await expect(result.get()).rejects.toThrow(SerializationError);
    await expect(bad.apply([], { throw: true })).rejects.toThrow(SerializationError);
    await expect(add.apply([1n as never, 2])).rejects.toThrow(SerializationError);
  });

  test('has errors in the result, and throws them only where it is asked to', async () => {
    const { fail } = shop();
    const result = await fail.apply(['no lamp']);
    expect(await result.state).toBe('FAILURE');
    await expect(result.get()).rejects.toThrow(ShopError);
    await expect(fail.apply(['no lamp'], { throw: true })).rejects.toThrow('no lamp');
    const strict = shop({ taskEagerPropagates: true });
    await expect(strict.fail.apply(['no lamp'])).rejects.toThrow(ShopError);
    expect(await (await strict.fail.apply(['no lamp'], { throw: false })).state).toBe('FAILURE');
  });

  test('retries at once up to maxRetries, and tells the attempts apart', async () => {
    const { app } = shop();
    const runs: number[] = [];
    const flaky = app.task('e.flaky', { bind: true, maxRetries: 3 }, (self, failures: number) => {
      runs.push(self.request.retries);
      if (self.request.retries < failures) throw self.retry({ countdown: 3600 });
      return self.request.retries;
    });
    expect(await (await flaky.apply([2])).get()).toBe(2);
    expect(runs).toEqual([0, 1, 2]);
    const result = await flaky.apply([9]);
    await expect(result.get()).rejects.toThrow(MaxRetriesExceededError);
    const auto = app.task('e.auto', { bind: true, autoretryFor: [ShopError], retryBackoff: true }, (self) => {
      if (self.request.retries < 2) throw new ShopError('again');
      return self.request.retries;
    });
    expect(await (await auto.apply([], { throw: true })).get()).toBe(2);
  });

  test('keeps checkpoints and states for the next attempt, and lets a snoozed task run again', async () => {
    const { app } = shop();
    let snoozes = 0;
    const work = app.task('e.work', { bind: true }, async (self) => {
      const done = (await self.lastCheckpoint<number>()) ?? 0;
      await self.updateState('PROGRESS', { done });
      await self.checkpoint(done + 1);
      if (done === 0) throw self.retry();
      if (done === 1 && snoozes++ === 0) throw self.snooze(3600);
      return [done, self.request.retries];
    });
    expect(await (await work.apply([])).get()).toEqual([2, 1]);
  });

  test('runs links with the result and errbacks with the failure, both kinds of them', async () => {
    const { app, add, fail } = shop();
    const told: unknown[] = [];
    const note = app.task('e.note', (value: unknown) => void told.push(value));
    const three = app.task('e.three', (request: { id: string }, error: unknown, _traceback: unknown) => {
      told.push([request.id, (error as Error).message]);
    });
    const result = await add.s(1, 2).link(note.s()).link(add.s(10).link(note.s())).apply();
    expect(told).toEqual([3, 13]);
    expect((await result.children).length).toBeGreaterThan(0);
    told.length = 0;
    await fail.s('no').linkError(note.s()).linkError(three.s()).apply([], { taskId: 'f' });
    expect(told).toContainEqual(['f', 'no']);
    expect(told).toContainEqual('f');
  });

  test('runs the replacement of a task in its place', async () => {
    const { app, add } = shop();
    const other = app.task('e.other', { bind: true }, (self: TaskContext, n: number): number =>
      self.replace(add.si(n, 1)),
    );
    const result = await chain(other.s(1), add.s(10)).apply();
    expect(await result.get()).toBe(12);
    const many = app.task('e.many', { bind: true }, (self: TaskContext): number[] =>
      self.replace(group([add.si(1, 1), add.si(2, 2)]) as never),
    );
    expect(await (await many.apply([])).get()).toEqual([2, 4]);
  });

  test('ends what is rejected as a failure, and waits for nothing that will not come', async () => {
    const { app } = shop();
    const reject = app.task('e.reject', () => {
      throw new Reject('not for me', { requeue: true });
    });
    expect(await (await reject.apply([])).state).toBe('FAILURE');
    await expect(reject.apply([], { throw: true })).rejects.toThrow(Reject);
    const ignore = app.task('e.ignore', () => {
      throw new Ignore('nothing to do');
    });
    const result = await ignore.apply([]);
    expect(await result.state).toBe('PENDING');
    await expect(result.get()).rejects.toThrow(TimeoutError);
  });

  test('checks arguments as a worker does', async () => {
    const { app, add } = shop();
    const ship = app.task('e.ship', { schema: z.tuple([z.string(), z.coerce.number()]) }, (to, weight) => [to, weight]);
    expect(await (await ship.apply(['Kyoto', '3' as never])).get()).toEqual(['Kyoto', 3]);
    await expect(ship.apply(['Kyoto', 'x' as never], { throw: true })).rejects.toThrow(ArgumentsError);
    await expect(add.apply(null as never)).rejects.toThrow(
      /expected a list of arguments, got null; .* e\.add\(\.\.\.args\)/,
    );
    await expect(add.apply([1, 2], { thow: true } as never)).rejects.toThrow(/thow.*throw/);
  });

  test('says before anything runs which task has no code here', async () => {
    const { app, add } = shop();
    let runs = 0;
    const count = app.task('e.count', () => ++runs);
    const missing = app.signature('e.ad', [1]);
    await expect(missing.apply([] as never)).rejects.toThrow(/'e\.ad' cannot run here.*did you mean 'e\.add'/);
    for (const whole of [
      chain(count.si(), app.signature({ ...add.s(1).toWire(), task: 'e.nobody' })),
      group([count.si(), app.signature({ ...add.s(1).toWire(), task: 'e.nobody' })]),
      count.si().link(app.signature({ ...add.s(1).toWire(), task: 'e.nobody' })),
      count.map([]).link(app.signature({ ...add.map([]).toWire(), kwargs: { task: { task: 'e.nobody' }, it: [] } })),
    ])
      await expect(whole.apply()).rejects.toThrow(NotRegisteredError);
    expect(runs).toBe(0);
  });

  test('ends when its signal aborts', async () => {
    const { app } = shop();
    const over = new AbortController();
    const forever = app.task('e.forever', { bind: true }, (self) => {
      if (self.signal === over.signal && self.request.deliveries === 1) over.abort(new ShopError('enough'));
      self.snooze(0);
    });
    await expect(forever.apply([], { signal: over.signal })).rejects.toThrow('enough');
  });
});

describe('apply of a workflow', () => {
  test('runs chains, groups, chords, map, starmap and chunks, with their parents', async () => {
    const { add, sum } = shop();
    const chained = await chain(add.s(1, 2), add.s(3), add.s(4)).apply();
    expect(await chained.get()).toBe(10);
    expect(await chained.parent?.get()).toBe(6);
    expect(await chained.parent?.parent?.get()).toBe(3);
    const grouped = await group([add.s(1), add.s(2)]).apply([10]);
    expect(await grouped.get()).toEqual([11, 12]);
    expect([await grouped.successful(), await grouped.completedCount()]).toEqual([true, 2]);
    expect(await (await group([]).apply()).get()).toEqual([]);
    const joined = await chord([add.s(1, 1), chain(add.s(2, 2), add.s(1))], sum.s()).apply();
    expect(await joined.get()).toBe(7);
    expect(await joined.parent?.get()).toEqual([2, 5]);
    expect(await (await chord([], sum.s()).apply()).get()).toBe(0);
    const whole = chain(add.s(1, 2), group([add.s(1), add.s(2)]), sum.s(), add.s(100));
    expect(await (await whole.apply()).get()).toBe(109);
    expect(await (await sum.map([[1, 2], [3]]).apply()).get()).toEqual([3, 3]);
    expect(await (await add.starmap([[1, 2]]).apply()).get()).toEqual([3]);
    const chunks = add.chunks(
      [
        [1, 1],
        [2, 2],
        [3, 3],
      ],
      2,
    );
    expect(await (await chunks.apply()).get()).toEqual([[2, 4], [6]]);
  });

  test('runs one member after the other, each with what follows it', async () => {
    const { app } = shop();
    const order: string[] = [];
    const step = app.task('e.step', (name: string) => void order.push(name));
    const pair = (name: string) => chain(step.si(`${name}1`), step.si(`${name}2`));
    await group([pair('a'), pair('b'), step.si('c')]).apply();
    expect(order).toEqual(['a1', 'a2', 'b1', 'b2', 'c']);
  });

  test('fails what follows a failure, and tells a collecting body of it', async () => {
    const { app, add, sum, fail } = shop();
    const body = await chord([add.s(1, 1), fail.s('no')], sum.s()).apply();
    await expect(body.get()).rejects.toThrow(/Dependency .* raised ShopError\('no'\)/);
    const last = await chain(fail.s('no'), add.s(1)).apply();
    await expect(last.get()).rejects.toThrow('no');
    await expect(chain(fail.s('no'), add.s(1)).apply([], { throw: true })).rejects.toThrow(ShopError);
    const states = app.task('e.states', (ends: MemberEnd<number>[]) => ends.map(({ state }) => state));
    const collect = chord([add.s(1, 1), fail.s('no'), chain(fail.s('no'), add.s(1))], states.s() as never, {
      onMemberFailure: 'collect',
    });
    const told = await collect.apply([], { throw: true });
    expect(await told?.get()).toEqual(['SUCCESS', 'FAILURE', 'FAILURE']);
  });

  test('lets a chord grow from within', async () => {
    const { app, add, sum } = shop();
    const grows = app.task('e.grows', { bind: true }, async (self, n: number) => {
      await self.addToChord(add.si(n, 100));
      return n;
    });
    expect(await (await chord([grows.s(1), grows.s(2)], sum.s()).apply()).get()).toBe(206);
  });
});

describe('taskAlwaysEager', () => {
  test('runs where delay, applyAsync, applyMany and sendTask would send, within tasks, too', async () => {
    const { app, add, sum, fail } = shop({ taskAlwaysEager: true });
    expect(await (await add.delay(1, 2)).get()).toBe(3);
    expect(await (await add.applyAsync([1, 2], { countdown: 3600, queue: 'far', retry: false })).get()).toBe(3);
    const many = await add.applyMany([
      [1, 1],
      [2, 2],
    ]);
    expect(await Promise.all(many.map((one) => one.get()))).toEqual([2, 4]);
    expect(await (await app.sendTask<number>('e.add', [3, 3])).get()).toBe(6);
    expect(await (await chord([add.s(1, 1)], sum.s()).delay()).get()).toBe(2);
    await expect((await fail.delay('no')).get()).rejects.toThrow('no');
    const parent = app.task('e.parent', async () => (await (await add.delay(5, 5)).get()) + 1);
    const result = await parent.delay();
    expect(await result.get()).toBe(11);
    const [child] = await result.children;
    expect(await child?.get()).toBe(10);
    await expect(app.sendTask('e.nobody')).rejects.toThrow(NotRegisteredError);
  });

  test('is no setting of a task that is called in the ordinary way', async () => {
    const { app } = shop({ taskAlwaysEager: true });
    const who = app.task('e.who', { bind: true }, (self) => self.request.isEager);
    expect(await who()).toBe(false);
    expect(await (await who.delay()).get()).toBe(true);
  });

  test('throws errors with taskEagerPropagates, and refuses what a schema refuses', async () => {
    const { app, fail } = shop({ taskAlwaysEager: true, taskEagerPropagates: true });
    await expect(fail.delay('no')).rejects.toThrow(ShopError);
    const ship = app.task('e.ship', { schema: z.tuple([z.string()]) }, (to) => to);
    await expect(ship.delay(5 as never)).rejects.toThrow(ArgumentsError);
  });
});

describe('taskStoreEagerResult', () => {
  test('stores results in the backend as well, those of ignored tasks not; without a broker', async () => {
    const backend = `memory://eager-${process.pid}`;
    const { app, add, fail } = shop({ backend, taskStoreEagerResult: true });
    const quietly = app.task('e.quietly', { ignoreResult: true }, () => 1);
    const [done, failed] = [await add.apply([1, 2]), await fail.apply(['no'])];
    const ignored = await quietly.apply([]);
    const loudly = app.task('e.loudly', { ignoreResult: true, storeErrorsEvenIfIgnored: true }, () => {
      throw new ShopError('heard');
    });
    const heard = await loudly.apply([]);
    expect(await ignored.get()).toBe(1);
    const reader = new Lovage('reader', { broker: 'memory://eager-reader', backend, logger: quiet });
    expect(await reader.result(done.id).get({ timeout: 5 })).toBe(3);
    await expect(reader.result(failed.id).get({ timeout: 5 })).rejects.toThrow('no');
    expect(await reader.result(ignored.id).state).toBe('PENDING');
    expect(await reader.result(heard.id).state).toBe('FAILURE');
    await app.close();
    await reader.close();
  });

  test('without it the backend stays as it is', async () => {
    const backend = `memory://eager-not-${process.pid}`;
    const { add } = shop({ backend });
    const { id } = await add.apply([1, 2]);
    const reader = new Lovage('reader', { broker: 'memory://eager-reader', backend, logger: quiet });
    expect(await reader.result(id).state).toBe('PENDING');
    await reader.close();
  });
});
