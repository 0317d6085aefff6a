import assert from 'node:assert/strict';
import type { PoolLaw } from './pool-world.ts';

/** What holds for the jobs of every pool. */
export const jobLaws: readonly PoolLaw[] = [
  {
    name: 'each of 200 jobs ends once, with its own value',
    async check(world) {
      const pool = await world.open({ slots: 3 });
      const ids = Array.from({ length: 200 }, (_, i) => String(i));
      pool.submit(ids.map((id) => ({ id, request: { do: 'return', value: Number(id) } })));
      await pool.drained();
      const values = world.ended.map(({ id, result }) => [Number(id), result.value] as const);
      assert.deepEqual(
        values.toSorted(([a], [b]) => a - b),
        ids.map((id) => [Number(id), Number(id)]),
      );
      world.assertIdle(pool);
    },
  },
  {
    name: 'no more run at once than there are slots, and the others wait in order',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit(['a', 'b', 'c'].map((id) => ({ id, request: { do: 'wait', ms: 20 } })));
      assert.deepEqual([pool.running, pool.waiting, pool.free], [1, 2, 0]);
      await pool.drained();
      assert.deepEqual(
        world.ended.map(({ id }) => id),
        ['a', 'b', 'c'],
      );
      world.assertIdle(pool);
    },
  },
  {
    name: 'dates, maps, bytes and big integers arrive as they were',
    async check(world) {
      const pool = await world.open();
      const value = {
        at: new Date(5),
        map: new Map([['a', 1]]),
        bytes: new Uint8Array([1, 2]),
        big: 2n ** 70n,
        no: null,
      };
      const { value: came } = await world.run(pool, { do: 'return', value });
      assert.deepEqual(came, value);
    },
  },
  {
    name: 'a job that throws has that error as its failure, and the pool goes on',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      const { failure, error } = await world.run(pool, { do: 'throw', message: 'no' });
      assert.equal(failure, 'error');
      assert.ok(error instanceof RangeError);
      assert.equal(error.message, 'no');
      assert.match(error.stack ?? '', /pool-tasks/);
      assert.deepEqual(await world.run(pool, { do: 'return', value: 1 }, { id: 'next' }), { value: 1 });
    },
  },
  {
    name: 'an error keeps its class, stack, cause, code and fields',
    async check(world) {
      const { LeaseLostError } = await import('../errors.ts');
      const { error } = await world.run(await world.open(), { do: 'fail' });
      assert.ok(error instanceof LeaseLostError);
      assert.deepEqual([error.name, error.code, error.message], ['LeaseLostError', 'LEASE_LOST', 'many parts']);
      assert.match(error.stack ?? '', /pool-tasks/);
      assert.deepEqual(Reflect.get(error, 'detail'), { at: 5 });
      assert.ok(error.cause instanceof TypeError);
      assert.equal(Reflect.get(error.cause, 'code'), 'E_CAUSE');
    },
  },
  {
    name: 'stopping waits for what runs and for what waits',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit(['a', 'b'].map((id) => ({ id, request: { do: 'wait', ms: 30 } })));
      await pool.stop();
      assert.deepEqual(world.ended, [
        { id: 'a', result: { value: 'waited' } },
        { id: 'b', result: { value: 'waited' } },
      ]);
      await pool.stop();
    },
  },
  {
    name: 'slots that are no whole number from 1 on are refused',
    async check(world) {
      for (const slots of [0, -1, 1.5, Number.NaN]) {
        const wrong = () => {
          const pool = world.create({ slots });
          // A pool that has one slot in any case does not look.
          if (pool.slots === 1) throw new TypeError('slots');
        };
        assert.throws(wrong, /slots/);
      }
    },
  },
  {
    name: 'jobs beyond the slots begin when there are more slots',
    needs: ({ features }) => features.isolation !== 'none',
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit(['a', 'b', 'c'].map((id) => ({ id, request: { do: 'wait' } })));
      assert.deepEqual([pool.running, pool.waiting], [1, 2]);
      pool.resize(3);
      assert.deepEqual([pool.slots, pool.free], [3, 0]);
      for (const id of ['a', 'b', 'c']) pool.cancel(id, new Error('enough'), 'hard');
      await pool.drained();
      world.assertIdle(pool);
    },
  },
  {
    name: 'with fewer slots what runs goes on, and then fewer run',
    async check(world) {
      const pool = await world.open({ slots: 3 });
      const slots = pool.slots;
      const ids = Array.from({ length: slots + 2 }, (_, i) => String(i));
      pool.submit(ids.map((id) => ({ id, request: { do: 'wait', ms: 50 } })));
      pool.resize(1);
      assert.deepEqual([pool.slots, pool.running, pool.free], [1, slots, 0]);
      await pool.drained();
      assert.deepEqual(
        world.ended.map(({ result }) => result),
        ids.map(() => ({ value: 'waited' })),
      );
      world.assertIdle(pool);
    },
  },
];
