import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Lovage, type LovageOptions, type TaskContext, Worker } from '../../src/index.ts';
import { checkpointKey } from '../../src/worker/running/checkpoints.ts';
import { quiet } from '../support/in-memory.ts';
import { override } from '../support/override.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { until } from '../support/workplace.ts';

let redis: RedisServer;
const folder = mkdtempSync(join(tmpdir(), 'lovage-checkpoints-'));
let count = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const stores = {
  memory: () => `memory://checkpoints-${process.pid}-${count++}`,
  sqlite: () => `sqlite://${join(folder, `${count++}.db`)}`,
  redis: () => `redis://127.0.0.1:${redis.port}/${count++ % 16}`,
};

function shop(broker: string, options: LovageOptions = {}): Lovage {
  const app = new Lovage('shop', { broker, logger: quiet, workerShutdownTimeout: 0, ...options });
  onTestFinished(() => app.close());
  return app;
}

async function work(app: Lovage): Promise<Worker> {
  const worker = new Worker(app);
  await worker.start();
  onTestFinished(async () => void (await worker.stop({ now: true })));
  return worker;
}

const stored = async (app: Lovage, id: string) => {
  const [record] = (await (await app.backend())?.fetchMany([checkpointKey(id)])) ?? [];
  return record && (await app.results()).decode(record).result;
};

const aborted = ({ signal }: TaskContext) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

describe.each(Object.entries(stores))('checkpoints on %s', (_, store) => {
  test('a task that is stopped by a shutdown goes on from its last checkpoint, which its end removes', async () => {
    const app = shop(store());
    const seen: unknown[] = [];
    const task = app.task('long', { bind: true }, async (self) => {
      const last = await self.lastCheckpoint<{ step: number; note: string }>();
      seen.push(last);
      if (last) return last.step;
      await self.checkpoint({ step: 1, note: 'é' });
      // Not a second after the one before: written when the worker stops.
      await self.checkpoint({ step: 2, note: 'é' });
      return aborted(self);
    });
    const first = await work(app);
    const result = await task.delay();
    await until(() => stored(app, result.id));
    expect(await stored(app, result.id)).toEqual({ step: 1, note: 'é' });
    expect(await first.stop()).toBe(1);
    expect(await stored(app, result.id)).toEqual({ step: 2, note: 'é' });
    await work(app);
    expect(await result.get({ timeout: 10 })).toBe(2);
    expect(seen).toEqual([undefined, { step: 2, note: 'é' }]);
    await until(async () => (await stored(app, result.id)) === undefined);
  });

  test('an aborted task leaves a checkpoint in its last moments', async () => {
    const app = shop(store());
    const task = app.task('long', { bind: true }, async (self) => {
      const last = await self.lastCheckpoint<string>();
      if (last === 'at the end') return last;
      await self.checkpoint('at the beginning');
      try {
        return await aborted(self);
      } catch (error) {
        await self.checkpoint('at the end');
        throw error;
      }
    });
    const first = await work(app);
    const result = await task.delay();
    await until(() => stored(app, result.id));
    await first.stop();
    await work(app);
    expect(await result.get({ timeout: 10 })).toBe('at the end');
  });

  test('a retry keeps it, whatever states are stored meanwhile; a failure removes it', async () => {
    const app = shop(store());
    const task = app.task('again', { bind: true, trackStarted: true }, async (self) => {
      const runs = (await self.lastCheckpoint<number>()) ?? 0;
      await self.updateState('PROGRESS', { runs });
      await self.checkpoint(runs + 1);
      if (runs < 2) throw self.retry({ countdown: 0 });
      throw new Error(`run ${runs + 1}`);
    });
    await work(app);
    const result = await task.delay();
    await expect(result.get({ timeout: 10 })).rejects.toThrow('run 3');
    await until(async () => (await stored(app, result.id)) === undefined);
  });
});

describe('a checkpoint', () => {
  test('at every step of a tight loop costs few writes, and lets others run', async () => {
    const app = shop(stores.memory());
    const backend = await app.backend();
    if (!backend) throw new Error('a memory broker keeps results');
    let writes = 0;
    const counting = override(backend, {
      storeMany: (records, ttlMs) => {
        if (records.some(({ state }) => state === 'CHECKPOINT')) writes += 1;
        return backend.storeMany(records, ttlMs);
      },
    });
    const own = shop(stores.memory(), { backend: counting });
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    onTestFinished(() => clearInterval(timer));
    const task = own.task('loop', { bind: true }, async (self) => {
      const state = { step: 0, worked: 0 };
      for (; state.step < 20_000 || (turns < 3 && state.step < 500_000); state.step += 1) {
        state.worked += Math.sqrt(state.step);
        await self.checkpoint(state);
      }
      return true;
    });
    const began = performance.now();
    await work(own);
    const result = await task.delay();
    expect(await result.get({ timeout: 60 })).toBe(true);
    expect(turns).toBeGreaterThan(2);
    // One at the beginning, and one for each second.
    expect(writes).toBeLessThanOrEqual(2 + (performance.now() - began) / 1000);
  });

  test('that is not written yet is written at the abort, also where the task takes no notice of it', async () => {
    // Gives up on the task long before the checkpoint would be written in its turn.
    vi.stubEnv('ECS_CONTAINER_METADATA_URI_V4', 'http://127.0.0.1/v4');
    vi.stubEnv('ECS_CONTAINER_STOP_TIMEOUT', '2s');
    onTestFinished(() => void vi.unstubAllEnvs());
    const app = shop(stores.memory());
    const task = app.task('stubborn', { bind: true }, async (self) => {
      await self.checkpoint(1);
      await self.checkpoint(2);
      return new Promise<never>(() => {});
    });
    const worker = await work(app);
    const result = await task.delay();
    await until(() => stored(app, result.id));
    expect(await worker.stop()).toBe(1);
    expect(await stored(app, result.id)).toBe(2);
  });

  test('is what it was at the call, though the task changes it afterwards', async () => {
    const app = shop(stores.memory());
    const task = app.task('change', { bind: true }, async (self) => {
      const last = await self.lastCheckpoint<{ n: number }>();
      if (last) return last.n;
      const state = { n: 1 };
      await self.checkpoint(state);
      state.n = 2;
      await self.checkpoint(state);
      state.n = 3;
      throw self.retry({ countdown: 0 });
    });
    await work(app);
    expect(await (await task.delay()).get({ timeout: 10 })).toBe(2);
  });

  test.each([
    [
      'x'.repeat(70_000),
      /^the checkpoint of task [\w-]+ has 70\d{3} bytes, the most is 65536: keep the data elsewhere/,
    ],
    [{ when: () => 1 }, /function/],
  ])('that cannot be kept is an error of the task', async (state, message) => {
    const app = shop(stores.memory());
    const task = app.task('bad', { bind: true }, (self) => self.checkpoint(state));
    await work(app);
    await expect((await task.delay()).get({ timeout: 10 })).rejects.toThrow(message);
  });

  test('needs a result backend', async () => {
    const app = shop(stores.memory(), { backend: false });
    const errors: unknown[] = [];
    const task = app.task('none', { bind: true }, async (self) => {
      errors.push(await self.checkpoint(1).catch((error) => error.message));
      errors.push(await self.lastCheckpoint().catch((error) => error.message));
    });
    await work(app);
    await task.delay();
    const message = 'checkpoints are kept in the result backend, and this application has none: set the option backend';
    await until(() => errors.length === 2);
    expect(errors).toEqual([message, message]);
  });

  test('that a store in trouble does not take is logged, and the task goes on', async () => {
    const warnings: string[] = [];
    const other = shop(stores.memory());
    const backend = await other.backend();
    if (!backend) throw new Error('a memory broker keeps results');
    const refusing = override(backend, {
      storeMany: async (records, ttlMs) => {
        if (records.some(({ state }) => state === 'CHECKPOINT')) throw new Error('the disk is full');
        return backend.storeMany(records, ttlMs);
      },
    });
    const logger = { ...quiet, warn: (_: object, text: string) => void warnings.push(text) };
    const app = shop(stores.memory(), { backend: refusing, logger });
    const task = app.task('goes on', { bind: true }, async (self) => {
      await self.checkpoint(1);
      return 'done';
    });
    await work(app);
    expect(await (await task.delay()).get({ timeout: 10 })).toBe('done');
    expect(warnings).toContain('a checkpoint could not be stored');
  });

  test('goes nowhere when the task is called directly', async () => {
    const task = shop(stores.memory()).task('direct', { bind: true }, async (self) => {
      await self.checkpoint(1);
      return self.lastCheckpoint();
    });
    expect(await task()).toBeUndefined();
  });
});
