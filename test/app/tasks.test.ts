import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  currentTask,
  Ignore,
  MaxRetriesExceededError,
  Reject,
  RemoteTaskError,
  TaskRevokedError,
  TimeoutError,
} from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

class ShopError extends Error {
  override name = 'ShopError';
}

describe('a task and its result', () => {
  test('delay() resolves when the message is in the queue, get() when it has run', async () => {
    await using play = new Playground();
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    const result = await add.delay(2, 3);
    expect((await (await play.app.broker()).countMany(['celery']))[0]?.ready).toBe(1);
    expect(await result.state).toBe('PENDING');
    await play.work();
    expect(await result.get({ timeout: 5 })).toBe(5);
    expect([
      await result.state,
      await result.ready(),
      await result.successful(),
      await result.failed(),
      await result.info,
    ]).toEqual(['SUCCESS', true, true, false, 5]);
  });

  test('a task can be called directly, as the function it is', async () => {
    await using play = new Playground();
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    const bound = play.app.task('tasks.bound', { bind: true }, (self, x: number) => [self.request.task, x]);
    expect(add(2, 3)).toBe(5);
    expect(bound(1)).toEqual(['tasks.bound', 1]);
    expect(add.name).toBe('tasks.add');
  });

  test('values of every kind survive the trip: dates, bytes, NaN, infinities, big integers, unicode', async () => {
    await using play = new Playground();
    const echo = play.app.task('tasks.echo', (value: unknown) => value);
    await play.work();
    const value = {
      date: new Date('2026-02-03T04:05:06.789Z'),
      bytes: new Uint8Array([0, 255, 128]),
      numbers: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0.5, 2n ** 70n],
      text: 'héllo ☃ 😀 \u2028',
      nothing: null,
      nested: [[{ a: [] }]],
    };
    expect(await (await echo.delay(value)).get({ timeout: 5 })).toEqual(value);
  });

  test('applyMany sends one task per argument list and returns results in that order', async () => {
    await using play = new Playground();
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    await play.work();
    const results = await add.applyMany(Array.from({ length: 1200 }, (_, i) => [i, 1] as [number, number]));
    expect(await Promise.all(results.map((r) => r.get({ timeout: 10 })))).toEqual(
      Array.from({ length: 1200 }, (_, i) => i + 1),
    );
  });

  test('sendTask needs no code of the task here, and finds it by name', async () => {
    await using play = new Playground();
    play.app.task('tasks.add', (x: number, y: number) => x + y);
    await play.work();
    expect(await (await play.app.sendTask<number>('tasks.add', [1], { kwargs: { y: 4 } })).get({ timeout: 5 })).toBe(5);
  });

  test('a failure comes back with type, message and remote stack; registered classes as themselves', async () => {
    await using play = new Playground({ errors: [ShopError] });
    class Unknown extends Error {
      override name = 'Unknown';
    }
    const known = play.app.task('tasks.known', () => {
      throw new ShopError('sold out');
    });
    const foreign = play.app.task('tasks.foreign', () => {
      throw new Unknown('who knows');
    });
    await play.work();
    await expect((await known.delay()).get({ timeout: 5 })).rejects.toThrow(ShopError);
    const result = await foreign.delay();
    const error = await result.get({ timeout: 5 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RemoteTaskError);
    expect(error).toMatchObject({ type: 'Unknown', args: ['who knows'] });
    expect((error as RemoteTaskError).remoteStack).toContain('tasks.test.ts');
    expect(await result.traceback).toContain('Unknown: who knows');
    expect([await result.state, await result.failed()]).toEqual(['FAILURE', true]);
  });

  test.each(['just text', undefined, null, 7, { code: 1 }])(
    'a task that throws %j fails, and the worker goes on',
    async (thrown) => {
      await using play = new Playground();
      const bad = play.app.task('tasks.bad', () => {
        throw thrown;
      });
      const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
      await play.work();
      await expect((await bad.delay()).get({ timeout: 5 })).rejects.toThrow();
      expect(await (await add.delay(1, 1)).get({ timeout: 5 })).toBe(2);
    },
  );

  test('get() gives up after its timeout, or when its signal aborts; the task goes on', async () => {
    await using play = new Playground();
    const never = play.app.task('tasks.never', () => 1);
    const result = await never.delay();
    await expect(result.get({ timeout: 0.02 })).rejects.toThrow(TimeoutError);
    const abort = new AbortController();
    const waiting = result.get({ signal: abort.signal });
    abort.abort(new Error('changed my mind'));
    await expect(waiting).rejects.toThrow('changed my mind');
    await play.work();
    expect(await result.get({ timeout: 5 })).toBe(1);
  });

  test('forget() removes the result', async () => {
    await using play = new Playground();
    const one = play.app.task('tasks.one', () => 1);
    await play.work();
    const result = await one.delay();
    await result.get({ timeout: 5 });
    await result.forget();
    expect(await result.state).toBe('PENDING');
  });

  test('ignoreResult stores nothing', async () => {
    await using play = new Playground();
    const ran = Promise.withResolvers<void>();
    const quietly = play.app.task('tasks.quietly', { ignoreResult: true }, () => ran.resolve());
    await play.work();
    const result = await quietly.delay();
    await ran.promise;
    await until(async () => (await (await play.app.broker()).countMany(['celery']))[0]?.inFlight === 0);
    expect(await result.state).toBe('PENDING');
    await expect(result.get()).rejects.toThrow(/is ignored/);
  });

  test('get() refuses options that are none', async () => {
    await using play = new Playground();
    const result = await play.app.sendTask('tasks.any');
    await expect(result.get({ timout: 5 } as object)).rejects.toThrow(/no option 'timout'; did you mean 'timeout'/);
    await expect(result.get({ timeout: Number.NaN })).rejects.toThrow(/'timeout'.*expected a number of seconds/);
  });
});

describe('inside a task', () => {
  test('the context tells who is asking, and currentTask() is the same anywhere below', async () => {
    await using play = new Playground();
    const below = async () => {
      await Promise.resolve();
      return currentTask()?.request.id;
    };
    const who = play.app.task('tasks.who', { bind: true }, async (self) => ({
      ...self.request,
      args: [...self.request.args],
      below: await below(),
    }));
    await play.work();
    const result = await who.applyAsync([], { headers: { tenant: 'acme' }, queue: 'celery', priority: 3 });
    expect(await result.get({ timeout: 5 })).toMatchObject({
      id: result.id,
      below: result.id,
      rootId: result.id,
      task: 'tasks.who',
      retries: 0,
      deliveries: 1,
      queue: 'celery',
      priority: 3,
      headers: { tenant: 'acme' },
      lang: 'ts',
    });
    expect(currentTask()).toBeUndefined();
  });

  test('tasks that a task sends are its children, and know their parent and root', async () => {
    await using play = new Playground();
    const child = play.app.task('tasks.child', { bind: true }, (self) => [self.request.parentId, self.request.rootId]);
    const parent = play.app.task('tasks.parent', async () => void (await child.delay()));
    await play.work();
    const result = await parent.delay();
    await result.get({ timeout: 5 });
    const [only] = await result.children;
    expect(await only?.get({ timeout: 5 })).toEqual([result.id, result.id]);
  });

  test('updateState shows progress to whoever asks', async () => {
    await using play = new Playground();
    const go = Promise.withResolvers<void>();
    const long = play.app.task('tasks.long', { bind: true }, async (self) => {
      await self.updateState('PROGRESS', { done: 3, of: 10 });
      await go.promise;
      return 'finished';
    });
    await play.work();
    const result = await long.delay();
    await until(async () => (await result.state) === 'PROGRESS');
    expect(await result.info).toEqual({ done: 3, of: 10 });
    go.resolve();
    expect(await result.get({ timeout: 5 })).toBe('finished');
  });

  test('trackStarted stores STARTED with pid and host', async () => {
    await using play = new Playground();
    const go = Promise.withResolvers<void>();
    const long = play.app.task('tasks.long', { trackStarted: true }, () => go.promise);
    await play.work();
    const result = await long.delay();
    await until(async () => (await result.state) === 'STARTED');
    expect(await result.info).toMatchObject({ pid: process.pid });
    go.resolve();
    await result.get({ timeout: 5 });
  });

  test('Ignore stores nothing; Reject sends the message to the dead letters and tells its caller', async () => {
    await using play = new Playground();
    const ignored = play.app.task('tasks.ignored', () => {
      throw new Ignore('nothing to do');
    });
    const rejected = play.app.task('tasks.rejected', () => {
      throw new Reject('not for me');
    });
    await play.work();
    const nothing = await ignored.delay();
    const result = await rejected.delay();
    await expect(result.get({ timeout: 5 })).rejects.toThrow('not for me');
    const { deadLetters } = await play.app.broker();
    const letter = await until(async () => (await deadLetters.list())[0]);
    expect(letter).toMatchObject({ queue: 'celery', reason: 'not for me' });
    expect(await nothing.state).toBe('PENDING');
  });

  test('Reject with requeue gives the message back, and it runs again after a moment', async () => {
    await using play = new Playground();
    let runs = 0;
    const again = play.app.task('tasks.again', () => {
      runs += 1;
      if (runs < 2) throw new Reject('not now', { requeue: true });
      return runs;
    });
    await play.work();
    expect(await (await again.delay()).get({ timeout: 5 })).toBe(2);
  });
});

describe('retries', () => {
  test('self.retry() runs the task again under the same id, up to maxRetries', async () => {
    await using play = new Playground();
    const runs: number[] = [];
    const flaky = play.app.task('tasks.flaky', { bind: true, maxRetries: 3 }, (self, failures: number) => {
      runs.push(self.request.retries);
      if (self.request.retries < failures) throw self.retry({ countdown: 0 });
      return self.request.id;
    });
    await play.work();
    const result = await flaky.delay(2);
    expect(await result.get({ timeout: 5 })).toBe(result.id);
    expect(runs).toEqual([0, 1, 2]);
  });

  test('when no retries are left the task fails with its own error, or with MaxRetriesExceededError', async () => {
    await using play = new Playground({ errors: [ShopError] });
    const own = play.app.task('tasks.own', { bind: true, maxRetries: 1 }, (self) => {
      throw self.retry({ countdown: 0, error: new ShopError('still closed') });
    });
    const none = play.app.task('tasks.none', { bind: true, maxRetries: 1 }, (self) => {
      throw self.retry({ countdown: 0 });
    });
    await play.work();
    await expect((await own.delay()).get({ timeout: 5 })).rejects.toThrow(ShopError);
    await expect((await none.delay()).get({ timeout: 5 })).rejects.toThrow(MaxRetriesExceededError);
  });

  test('while it waits for its retry the state is RETRY, with the error', async () => {
    await using play = new Playground({ errors: [ShopError] });
    const later = play.app.task('tasks.later', { bind: true }, (self) => {
      throw self.retry({ countdown: 60, error: new ShopError('closed') });
    });
    await play.work();
    const result = await later.delay();
    await until(async () => (await result.state) === 'RETRY');
    expect(await result.info).toBeInstanceOf(ShopError);
    expect((await (await play.app.broker()).countMany(['celery']))[0]).toEqual({
      ready: 0,
      inFlight: 0,
      delayed: 1,
      dead: 0,
    });
  });

  test('arguments that do not fit are never retried', async () => {
    await using play = new Playground();
    let runs = 0;
    const auto = play.app.task(
      'tasks.auto',
      { autoretryFor: [Error], defaultRetryDelay: 0, params: ['x'] },
      (x: number) => {
        runs += 1;
        return x;
      },
    );
    await play.work();
    await expect((await play.app.sendTask(auto.name, [])).get({ timeout: 5 })).rejects.toThrow("missing 'x'");
    expect(runs).toBe(0);
  });

  test('autoretryFor retries by itself, dontAutoretryFor excepts', async () => {
    await using play = new Playground();
    class Fatal extends ShopError {}
    let runs = 0;
    const auto = play.app.task(
      'tasks.auto',
      {
        autoretryFor: [ShopError],
        dontAutoretryFor: [Fatal],
        maxRetries: 5,
        retryBackoff: 0.001,
        retryBackoffMax: 0.01,
      },
      (fatal: boolean) => {
        runs += 1;
        if (fatal) throw new Fatal('no');
        if (runs < 3) throw new ShopError('again');
        return runs;
      },
    );
    await play.work();
    expect(await (await auto.delay(false)).get({ timeout: 5 })).toBe(3);
    await expect((await auto.delay(true)).get({ timeout: 5 })).rejects.toThrow('no');
    expect(runs).toBe(4);
  });
});

describe('time', () => {
  test('countdown and eta keep a task back, expires drops it, revoke skips it', async () => {
    await using play = new Playground();
    const ran: string[] = [];
    const run = play.app.task('tasks.run', (name: string) => ran.push(name));
    const soon = await run.applyAsync(['soon'], { countdown: 0.15 });
    const at = await run.applyAsync(['at'], { eta: new Date(Date.now() + 100) });
    const expired = await run.applyAsync(['expired'], { expires: new Date(Date.now() - 1) });
    const revoked = await run.applyAsync(['revoked']);
    await revoked.revoke();
    const begin = Date.now();
    await play.work();
    await Promise.all([soon.get({ timeout: 5 }), at.get({ timeout: 5 })]);
    expect(Date.now() - begin).toBeGreaterThanOrEqual(90);
    await expect(expired.get({ timeout: 5 })).rejects.toThrow(TaskRevokedError);
    await expect(revoked.get({ timeout: 5 })).rejects.toThrow('revoked');
    expect(ran).toEqual(['at', 'soon']);
    expect(await revoked.state).toBe('REVOKED');
  });

  test('a revocation outlives the results of its time', async () => {
    await using play = new Playground({ resultExpires: 0.05 });
    const ran: string[] = [];
    const run = play.app.task('tasks.run', (name: string) => ran.push(name));
    const revoked = await run.applyAsync(['revoked'], { countdown: 0.3 });
    await revoked.revoke();
    const marker = await run.applyAsync(['marker'], { countdown: 0.35 });
    await play.work();
    await marker.get({ timeout: 5 });
    expect(ran).toEqual(['marker']);
  });

  test('priority 0 goes first', async () => {
    await using play = new Playground({}, { concurrency: 1 });
    const ran: number[] = [];
    const run = play.app.task('tasks.run', (n: number) => ran.push(n));
    const results = [];
    for (const priority of [9, 0, 5]) results.push(await run.applyAsync([priority], { priority }));
    await play.work();
    await Promise.all(results.map((r) => r.get({ timeout: 5 })));
    expect(ran).toEqual([0, 5, 9]);
  });
});

describe('where tasks go', () => {
  test('a call beats the task, the task beats the routes, the routes beat the default', async () => {
    await using play = new Playground({
      taskRoutes: { 'mail.*': { queue: 'mail', priority: 4 } },
      taskDefaultQueue: 'main',
    });
    const plain = play.app.task('plain', () => 0);
    const routed = play.app.task('mail.send', () => 0);
    const own = play.app.task('mail.own', { queue: 'own' }, () => 0);
    await plain.delay();
    await routed.delay();
    await own.delay();
    await own.applyAsync([], { queue: 'call' });
    const counts = await (await play.app.broker()).countMany(['main', 'mail', 'own', 'call']);
    expect(counts.map((c) => c?.ready)).toEqual([1, 1, 1, 1]);
  });
});

describe('links', () => {
  test('link gets the return value, linkError the id of the failed task', async () => {
    await using play = new Playground();
    const got: unknown[] = [];
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    const fail = play.app.task('tasks.fail', (): number => {
      throw new ShopError('no');
    });
    const keep = play.app.task('tasks.keep', (value: unknown) => void got.push(value));
    await play.work();
    await add.applyAsync([1, 2], { link: [keep.s(), add.s(10).link(keep.s())] });
    const failed = await fail.applyAsync([], { linkError: keep.s() });
    await until(() => got.length === 3);
    expect(got).toEqual(expect.arrayContaining([3, 13, failed.id]));
  });
});

describe('arguments', () => {
  test('keyword arguments reach the parameters of that name', async () => {
    await using play = new Playground();
    play.app.task('tasks.minus', (x: number, y: number = 10, { deep }: { deep: number } = { deep: 0 }) => x - y - deep);
    play.app.task('tasks.declared', { params: ['left', 'right?'] }, (a: number, b?: number) => [a, b ?? null]);
    await play.work();
    const call = async (name: string, args: unknown[], kwargs: Record<string, unknown>) =>
      (await play.app.sendTask(name, args, { kwargs })).get({ timeout: 5 });
    expect(await call('tasks.minus', [], { y: 1, x: 5 })).toBe(4);
    expect(await call('tasks.minus', [5], {})).toBe(-5);
    expect(await call('tasks.declared', [], { left: 1 })).toEqual([1, null]);
    await expect(call('tasks.minus', [1], { z: 2 })).rejects.toThrow("unexpected keyword argument 'z'");
    await expect(call('tasks.minus', [1], { x: 2 })).rejects.toThrow("two values for its parameter 'x'");
    await expect(call('tasks.minus', [1, 2, {}, 4], {})).rejects.toThrow('takes 3 arguments, got 4');
    await expect(call('tasks.minus', [], { y: 2 })).rejects.toThrow("missing 'x'");
    await expect(call('tasks.declared', [], {})).rejects.toThrow("missing 'left'");
  });

  test('a schema is checked when a task is sent and when it runs', async () => {
    await using play = new Playground();
    const schema = z.tuple([z.string(), z.coerce.date()]);
    const ship = play.app.task('tasks.ship', { schema }, (to, on) => `${to} ${on.getUTCFullYear()}`);
    await play.work();
    expect(await (await ship.delay('Kyoto', new Date('2026-05-05'))).get({ timeout: 5 })).toBe('Kyoto 2026');
    await expect(ship.delay(5 as unknown as string, new Date())).rejects.toThrow(/argument 0: .*expected string/);
    // A sender without the code is checked by the worker.
    const elsewhere = new Playground({ broker: play.app.config.broker as string });
    const result = await elsewhere.app.sendTask('tasks.ship', [5, 'x']);
    await expect(result.get({ timeout: 5 })).rejects.toThrow(/do not fit its schema/);
    await elsewhere[Symbol.asyncDispose]();
  });
});
