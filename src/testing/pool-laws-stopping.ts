import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { SoftTimeLimitExceeded, TimeLimitExceeded, WorkerShutdownError } from '../errors.ts';
import type { PoolLaw, PoolWorld } from './pool-world.ts';

const kills = ({ features }: PoolWorld) => features.kill;
const reason = new WorkerShutdownError('the worker is stopping');

/** How jobs are stopped: by somebody, and by their limits. */
export const stoppingLaws: readonly PoolLaw[] = [
  {
    name: 'a soft cancel aborts the signal of the job with the reason',
    async check(world) {
      const pool = await world.open();
      pool.submit([{ id: 'a', request: { do: 'wait' } }]);
      assert.equal(pool.cancel('a', reason), true);
      const { error } = await world.result('a');
      assert.ok(error instanceof WorkerShutdownError);
      assert.equal(error.message, reason.message);
      world.assertIdle(pool);
    },
  },
  {
    name: 'a job that has not begun ends at once when it is cancelled, softly or hard',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit(['a', 'b', 'c'].map((id) => ({ id, request: { do: 'wait' } })));
      assert.equal(pool.cancel('b', reason, 'soft'), true);
      assert.equal(pool.cancel('c', reason, 'hard'), true);
      assert.deepEqual([pool.running, pool.waiting], [1, 0]);
      assert.deepEqual(await world.result('b'), { failure: 'cancelled', error: reason });
      assert.deepEqual(await world.result('c'), { failure: 'cancelled', error: reason });
      pool.cancel('a', reason);
      await pool.drained();
      assert.equal(world.ended.length, 3);
    },
  },
  {
    name: 'jobs that wait can be taken back: each ends at once, those that have a slot go on, and so do the others that wait',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit(
        ['a', 'b', 'c', 'd'].map((id) => ({ id, request: { do: id === 'c' ? 'return' : 'wait', value: id } })),
      );
      pool.withdraw(new Set(['a', 'b', 'd', 'unknown']), reason);
      assert.deepEqual([pool.running, pool.waiting], [1, 1]);
      assert.deepEqual(await world.result('b'), { failure: 'cancelled', error: reason });
      assert.deepEqual(await world.result('d'), { failure: 'cancelled', error: reason });
      pool.cancel('a', reason);
      await world.result('c');
      await pool.drained();
      assert.equal(world.ended.length, 4);
    },
  },
  {
    name: 'a job that is cancelled at any moment of its start ends, and the next one runs',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      for (let i = 0; i < 300; i += 1) {
        const id = String(i);
        pool.submit([
          { id, request: { do: 'wait' } },
          { id: `after ${id}`, request: { do: 'return', value: id } },
        ]);
        // Ever later: before it is sent, on its way, while it begins, when it runs.
        for (const until = performance.now() + (i % 100) / 50; performance.now() < until; ) await setImmediate();
        assert.equal(pool.cancel(id, reason), true);
        await pool.drained();
      }
      assert.equal(world.ended.length, 600);
      for (const { id, result } of world.ended) {
        if (id.startsWith('after')) assert.ok(id.endsWith(String(result.value)));
        else assert.ok(result.error instanceof WorkerShutdownError);
      }
    },
  },
  {
    name: 'a job that is unknown or has ended cannot be cancelled',
    async check(world) {
      const pool = await world.open();
      await world.run(pool, { do: 'return', value: 1 });
      for (const mode of ['soft', 'hard'] as const) {
        assert.equal(pool.cancel('only', reason, mode), false);
        assert.equal(pool.cancel('nobody', reason, mode), false);
      }
    },
  },
  {
    name: 'a pool that cannot kill says so, and the job goes on',
    needs: (world) => !kills(world),
    async check(world) {
      const pool = await world.open();
      pool.submit([{ id: 'a', request: { do: 'wait', ms: 30 } }]);
      assert.equal(pool.cancel('a', reason, 'hard'), false);
      assert.deepEqual(await world.result('a'), { value: 'waited' });
    },
  },
  {
    name: 'a hard cancel kills an endless loop at once, and its slot is back',
    needs: kills,
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit([{ id: 'a', request: { do: 'print', text: 'begun\n', next: { do: 'spin' } } }]);
      await world.printed('a');
      assert.equal(pool.cancel('a', reason, 'hard'), true);
      assert.deepEqual([pool.running, pool.free], [0, 1]);
      assert.deepEqual(await world.result('a'), { failure: 'cancelled', error: reason });
      assert.deepEqual(await world.run(pool, { do: 'return', value: 1 }, { id: 'b' }), { value: 1 });
    },
  },
  {
    name: 'at the soft limit the signal aborts',
    async check(world) {
      const pool = await world.open();
      const { error } = await world.run(pool, { do: 'wait' }, { softTimeLimitMs: 30, timeLimitMs: 60_000 });
      assert.ok(error instanceof SoftTimeLimitExceeded);
      assert.match(error.message, /0\.03 s/);
      world.assertIdle(pool);
    },
  },
  {
    name: 'at the hard limit a job that ignores its signal ends, once, and its slot is back',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      const limits = { softTimeLimitMs: 20, timeLimitMs: 60 };
      const { failure, error } = await world.run(pool, { do: 'ignore', ms: 400 }, limits);
      assert.equal(failure, 'timeLimit');
      assert.ok(error instanceof TimeLimitExceeded);
      assert.match(error.message, /0\.06 s/);
      assert.deepEqual(await world.run(pool, { do: 'wait', ms: 500 }, { id: 'next' }), { value: 'waited' });
      assert.equal(world.ended.length, 2);
      world.assertIdle(pool);
    },
  },
  {
    name: 'an endless loop is killed at its hard limit while others go on',
    needs: kills,
    async check(world) {
      const pool = await world.open({ slots: 2 });
      pool.submit([{ id: 'loop', request: { do: 'spin' }, timeLimitMs: 300 }]);
      const ids = Array.from({ length: 300 }, (_, i) => String(i));
      pool.submit(ids.map((id) => ({ id, request: { do: 'return', value: id } })));
      assert.equal((await world.result('loop')).failure, 'timeLimit');
      await pool.drained();
      assert.equal(world.ended.length, 301);
      assert.ok(world.ended[0]?.id !== 'loop', 'others ended while it ran');
      world.assertIdle(pool);
    },
  },
  {
    name: 'the time that a job waits for a slot is not counted',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit([
        { id: 'a', request: { do: 'wait', ms: 300 } },
        { id: 'b', request: { do: 'return', value: 1 }, timeLimitMs: 250, softTimeLimitMs: 200 },
      ]);
      assert.deepEqual(await world.result('b'), { value: 1 });
    },
  },
  {
    name: 'limits that contradict each other, or are no times, fail the job before it begins',
    async check(world) {
      const pool = await world.open();
      const request = { do: 'print', text: 'ran\n' } as const;
      const soft = await world.run(pool, request, { id: 'a', timeLimitMs: 10, softTimeLimitMs: 10 });
      assert.match(String(soft.error), /soft time limit .* below .* 10 and 10 ms/);
      const none = await world.run(pool, request, { id: 'b', timeLimitMs: Number.NaN });
      assert.match(String(none.error), /above 0 ms, got NaN/);
      assert.deepEqual(world.output, []);
      world.assertIdle(pool);
    },
  },
];
