import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chord, type Lovage } from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { LimitShop, type StoreName, stores } from '../support/limit-shop.ts';
import { until } from '../support/workplace.ts';

/** A task that goes on until it is told to stop, and one that does not listen. */
function register(app: Lovage) {
  const events: string[] = [];
  const go = Promise.withResolvers<void>();
  const polite = app.task('polite', { bind: true, autoretryFor: [Error] }, async (self, name: string) => {
    events.push(`begin ${name}`);
    await new Promise<void>((resolve, reject) => {
      self.signal.addEventListener('abort', () => {
        events.push(`${self.signal.reason.code} ${name}`);
        reject(self.signal.reason);
      });
      void go.promise.then(resolve);
    });
    return name;
  });
  const deaf = app.task('deaf', async (name: string) => {
    events.push(`begin ${name}`);
    await go.promise;
    return name;
  });
  return { events, polite, deaf, letGo: () => go.resolve() };
}

const began = (events: readonly string[], name: string) => until(() => events.includes(`begin ${name}`));

describe.each(stores)('revoke on %s', (store: StoreName) => {
  /** One that has no way to workers but the result backend. */
  const silent = (shop: LimitShop) => {
    const drivers = shop.drivers();
    const broker = new Proxy(drivers.broker, {
      get(real, name) {
        const value: unknown = name === 'bus' ? undefined : Reflect.get(real, name);
        return typeof value === 'function' ? value.bind(real) : value;
      },
    });
    return shop.app({ ...drivers, broker });
  };

  test.each(['remote control', 'the result backend alone'])('ends a running task, through %s', async (way) => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const { events, polite, deaf, letGo } = register(app);
    await shop.worker(app);
    const [first, second, third] = [
      await polite.delay('first'),
      await deaf.delay('second'),
      await polite.delay('third'),
    ];
    await Promise.all(['first', 'second', 'third'].map((name) => began(events, name)));
    const caller = way === 'remote control' ? app : silent(shop);
    await caller.revoke([first.id, second.id], { terminate: true });
    await until(() => events.includes('TASK_REVOKED first'));
    letGo();
    expect(await third.get({ timeout: 10 })).toBe('third');
    await until(async () => (await (await app.broker()).countMany(['celery']))[0]?.inFlight === 0);
    // Also of the one that did not listen, and returned.
    for (const one of [first, second]) {
      await expect(app.result(one.id).get({ timeout: 5 })).rejects.toThrow('terminated');
      expect(await app.result(one.id).state).toBe('REVOKED');
    }
  });

  test('without terminate what runs goes on', async () => {
    await using shop = await LimitShop.open(store, 0.3);
    const app = shop.app();
    const { events, deaf, polite, letGo } = register(app);
    await shop.worker(app);
    const result = await polite.delay('a');
    await deaf.delay('b');
    await began(events, 'a');
    await result.revoke();
    // Longer than some looks at the result backend take.
    await new Promise((resolve) => setTimeout(resolve, 500));
    letGo();
    await until(async () => (await app.result(result.id).state) === 'SUCCESS');
    expect(events).not.toContain('TASK_REVOKED a');
  });

  test('skips a task that waits in a worker for its slot, and reaches a worker that comes later', async () => {
    await using shop = await LimitShop.open(store);
    const app = shop.app();
    const { events, deaf, letGo } = register(app);
    await shop.worker(app, { concurrency: 1, prefetchMultiplier: 3 });
    await deaf.delay('runs');
    const [waits, also] = [await deaf.delay('waits'), await deaf.applyAsync(['later'], { countdown: 0.5 })];
    await began(events, 'runs');
    await silent(shop).revoke([waits.id, also.id]);
    await until(async () => {
      const depth = (await (await app.broker()).countMany(['celery']))[0];
      return depth && depth.inFlight + depth.ready + depth.delayed === 1;
    });
    letGo();
    await until(async () => (await (await app.broker()).countMany(['celery']))[0]?.inFlight === 0);
    expect(events).toEqual(['begin runs']);
  });
});

describe('revoked tasks that others wait for', () => {
  test('the body of a chord, and the later steps of a chain', async () => {
    await using play = new Playground();
    const step = play.app.task('step', (x: number) => x);
    const sum = play.app.task('sum', (values: readonly number[]) => values.length);
    const member = step.s(1).set({ taskId: 'member', countdown: 0.2 });
    const body = await chord([member, step.s(2)], sum.s()).delay();
    await play.app.revoke('member');
    await play.work();
    await expect(body.get({ timeout: 10 })).rejects.toThrow(/member raised/);
    const first = play.app.preparer.call('step', [1], { taskId: 'first', countdown: 0.2 }, undefined);
    const later = { task: 'step', args: [], kwargs: {}, options: { task_id: 'later' }, subtask_type: null };
    await play.app.send([{ ...first, message: { ...first.message, chain: [{ ...later, immutable: false }] } }]);
    await play.app.revoke('first');
    await expect(play.app.result('later').get({ timeout: 10 })).rejects.toThrow('revoked');
  });
});

describe('remote control of revocation', () => {
  const vector = (name: string): { raw: { request: { data: string }[] } } =>
    JSON.parse(readFileSync(join(import.meta.dirname, '..', 'vectors', `${name}.json`), 'utf8'));
  const note = (method: string, args: object) =>
    Buffer.from(JSON.stringify({ method, arguments: args, destination: null, ticket: 't', reply_to: reply }));
  const reply = { exchange: 'reply.celery.pidbox', routing_key: 'test' };

  /** Sends notes to a worker, and gives back its answers. */
  async function tell(app: Lovage, notes: readonly Uint8Array[]): Promise<() => unknown[]> {
    const { bus } = await app.broker();
    const answers: unknown[] = [];
    await bus?.listen('reply.celery.pidbox/test', (payloads) => {
      for (const payload of payloads)
        answers.push(...Object.values(JSON.parse(Buffer.from(payload).toString()).replies));
    });
    await bus?.emitMany('celery.pidbox', notes);
    return () => answers;
  }

  test('what Celery sends is understood, one id and several', async () => {
    await using play = new Playground();
    const { events, deaf } = register(play.app);
    await play.work();
    const { bus } = await play.app.broker();
    await bus?.emitMany(
      'celery.pidbox',
      ['pidbox_revoke', 'pidbox_revoke_many'].flatMap((name) =>
        vector(name).raw.request.map(({ data }) => Buffer.from(data)),
      ),
    );
    for (const taskId of ['19ee0e8e-44cb-49d7-b0a8-0f54895a8e00', 'id-1', 'id-2']) {
      await until(async () => (await play.app.result(taskId).state) === 'REVOKED');
      const result = await deaf.applyAsync([taskId], { taskId });
      await expect(result.get({ timeout: 5 })).rejects.toThrow('revoked');
    }
    await until(async () => (await (await play.app.broker()).countMany(['celery']))[0]?.ready === 0);
    expect(events).toEqual([]);
  });

  test('terminate ends a running task; the answers are those of Celery', async () => {
    await using play = new Playground();
    const { events, polite } = register(play.app);
    await play.work();
    const result = await polite.delay('a');
    await began(events, 'a');
    const answers = await tell(play.app, [
      note('revoke', { task_id: ['x', 'y'], terminate: false }),
      note('revoke', { task_id: result.id, terminate: true, signal: 'SIGKILL' }),
      note('revoke_by_stamped_headers', { headers: { a: 1 } }),
      note('revoke', { task_id: 7 }),
    ]);
    await until(() => events.includes('TASK_REVOKED a'));
    await expect(result.get({ timeout: 5 })).rejects.toThrow('terminated');
    await until(() => answers().length === 4);
    expect(answers()).toEqual(
      expect.arrayContaining([
        { ok: 'tasks x, y flagged as revoked' },
        { ok: `terminate: ${result.id}` },
        { error: expect.stringMatching(/stamped_headers is not supported/) },
        { error: expect.stringMatching(/expected task_id/) },
      ]),
    );
  });

  test('it is heard of without a result backend, too', async () => {
    await using play = new Playground({ backend: false });
    const { events, deaf, letGo } = register(play.app);
    await play.work();
    await tell(play.app, [note('revoke', { task_id: 'gone' })]);
    await deaf.applyAsync(['gone'], { taskId: 'gone' });
    await deaf.delay('runs');
    await began(events, 'runs');
    letGo();
    expect(events).toEqual(['begin runs']);
  });
});
