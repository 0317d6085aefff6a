import assert from 'node:assert/strict';
import { SerializationError, TaskExitError, WorkerLostError } from '../errors.ts';
import type { PoolRequest, PoolResult } from './pool-tasks.ts';
import { type PoolLaw, type PoolWorld, tasksRecipe } from './pool-world.ts';

const isolates = ({ features }: PoolWorld) => features.isolation !== 'none';
const inProcesses = ({ features }: PoolWorld) => features.isolation === 'process';

/** Has one job do its worst beside a good one; then the pool must be as good as new. */
async function survive(world: PoolWorld, request: PoolRequest, maxHeapMiB?: number): Promise<PoolResult> {
  const pool = await world.open({ slots: 2, ...(maxHeapMiB !== undefined && { maxHeapMiB }) });
  pool.submit([{ id: 'good', request: { do: 'wait' } }]);
  const result = await world.run(pool, request, { id: 'bad' });
  assert.deepEqual(
    world.ended.map(({ id }) => id),
    ['bad'],
  );
  assert.deepEqual([pool.running, pool.free], [1, 1]);
  assert.deepEqual(await world.run(pool, { do: 'return', value: 1 }, { id: 'next' }), { value: 1 });
  pool.cancel('good', new RangeError('enough'));
  assert.match(String((await world.result('good')).error), /enough/);
  assert.equal(world.ended.length, 3);
  world.assertIdle(pool);
  return result;
}

async function surviveLoss(world: PoolWorld, request: PoolRequest, maxHeapMiB?: number): Promise<WorkerLostError> {
  const { failure, error } = await survive(world, request, maxHeapMiB);
  assert.equal(failure, 'lost');
  assert.ok(error instanceof WorkerLostError);
  return error;
}

/** What a task does wrong is its own failure, and nobody else's. */
export const crashLaws: readonly PoolLaw[] = [
  {
    name: 'process.exit() fails the task that calls it',
    needs: isolates,
    async check(world) {
      const { failure, error } = await survive(world, { do: 'exit', code: 3 });
      assert.equal(failure, 'error');
      assert.ok(error instanceof TaskExitError);
      assert.match(error.message, /process\.exit\(3\)/);
    },
  },
  {
    name: 'an exception that nobody catches fails the task that runs',
    needs: isolates,
    async check(world) {
      const { failure, error } = await survive(world, { do: 'crash', message: 'nobody' });
      assert.equal(failure, 'error');
      assert.ok(error instanceof RangeError);
      assert.equal(error.message, 'nobody');
    },
  },
  {
    name: 'a rejection that nobody handles fails the task that runs, also one that has returned',
    needs: isolates,
    async check(world) {
      const { failure, error } = await survive(world, { do: 'forget', message: 'left behind' });
      assert.equal(failure, 'error');
      assert.ok(error instanceof RangeError);
      assert.equal(error.message, 'left behind');
    },
  },
  {
    name: 'a process that kills itself is lost, with the signal',
    needs: inProcesses,
    async check(world) {
      const { signal, message } = await surviveLoss(world, { do: 'kill' });
      assert.equal(signal, 'SIGKILL');
      assert.match(message, /process \d+ was ended by SIGKILL/);
    },
  },
  {
    name: 'a process that aborts is lost, with the signal',
    needs: inProcesses,
    async check(world) {
      assert.equal((await surviveLoss(world, { do: 'abort' })).signal, 'SIGABRT');
    },
  },
  {
    name: 'a task that fills its heap is lost alone',
    needs: isolates,
    async check(world) {
      await surviveLoss(world, { do: 'devour' }, 32);
    },
  },
  {
    name: 'an outcome that cannot be sent fails its job, with the place, and the child lives on',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1 });
      const { value: before } = await world.run(pool, { do: 'who' }, { id: 'before' });
      const { failure, error } = await world.run(pool, { do: 'unsendable' });
      assert.equal(failure, 'error');
      assert.ok(error instanceof SerializationError);
      assert.match(error.message, /value\.deep\[1\]\.callback: it is a function/);
      assert.deepEqual((await world.run(pool, { do: 'who' }, { id: 'after' })).value, before);
    },
  },
  {
    name: 'a request that cannot be sent fails its job only',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit([
        { id: 'a', request: { do: 'return', value: { mark: Symbol('s') } } },
        { id: 'b', request: { do: 'return', value: 2 } },
      ]);
      assert.match(String((await world.result('a')).error), /request of a job: value\.mark: it is a symbol/);
      assert.deepEqual(await world.result('b'), { value: 2 });
      await pool.drained();
      world.assertIdle(pool);
    },
  },
  {
    name: 'jobs sent ahead to a child that dies begin elsewhere, once',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1, lookAhead: 4 });
      const after = ['b', 'c', 'd'].map((id) => ({ id, request: { do: 'print', text: `${id}\n` } as const }));
      pool.submit([{ id: 'a', request: { do: 'spin' }, timeLimitMs: 200 }, ...after]);
      await pool.drained();
      assert.deepEqual(
        world.ended.map(({ id, result }) => [id, result.failure ?? result.value]),
        [['a', 'timeLimit'], ...after.map(({ id }) => [id, 'printed'])],
      );
      assert.deepEqual(
        world.output.map(({ line }) => line),
        ['b', 'c', 'd'],
      );
      world.assertIdle(pool);
    },
  },
  ...[0, 3].map(
    (lookAhead): PoolLaw => ({
      name: `2,000 jobs of which many kill their child each run once and end once (look-ahead ${lookAhead})`,
      needs: isolates,
      check: (world) => stress(world, lookAhead),
    }),
  ),
  {
    name: 'pools that come and go leave no listeners behind',
    needs: isolates,
    async check(world) {
      const count = () => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
      const pool = await world.open({ slots: 1 });
      const before = count();
      for (let i = 0; i < 5; i += 1) await world.run(pool, { do: 'exit', code: 0 }, { id: String(i) });
      await pool.stop();
      assert.equal(count(), before);
    },
  },
  {
    name: 'a module that throws is one clear error at the start',
    needs: isolates,
    async check(world) {
      const pool = world.create({
        slots: 3,
        recipe: { module: 'data:text/javascript,throw new RangeError("no database")', factory: 'f', args: [] },
      });
      await assert.rejects(pool.start(), (error: Error) => {
        assert.match(error.message, /could not start: no database/);
        assert.ok(error.cause instanceof RangeError);
        assert.match(error.cause.stack ?? '', /data:text\/javascript/);
        return true;
      });
      assert.deepEqual(world.troubles, []);
      await pool.stop();
    },
  },
  ...[
    ['has not the export', { ...tasksRecipe(), factory: 'nothing' }, /export the function 'nothing', got undefined/],
    ['does not exist', { module: 'file:///nowhere/at-all.js', factory: 'f', args: [] }, /Cannot find module/],
    [
      'exits',
      { module: 'data:text/javascript,process.exit(4)', factory: 'f', args: [] },
      /the module called process\.exit\(4\)/,
    ],
    [
      'never ends',
      { module: 'data:text/javascript,await new Promise(() => setInterval(() => {}, 1e6))', factory: 'f', args: [] },
      /not ready within 2 s/,
    ],
  ].map(([what, recipe, message]) => ({
    name: `a module that ${String(what)} is told so`,
    needs: isolates,
    async check(world: PoolWorld) {
      const startTimeoutMs = what === 'never ends' ? 2_000 : 60_000;
      const pool = world.create({ slots: 1, recipe: recipe as ReturnType<typeof tasksRecipe>, startTimeoutMs });
      await assert.rejects(pool.start(), { message: message as RegExp });
    },
  })),
];

/** The deadly are told by their numbers, so that each run is the same; whom a hard cancel hits is left to chance. */
async function stress(world: PoolWorld, lookAhead: number): Promise<void> {
  const pool = await world.open({ slots: 4, lookAhead });
  const deadly: PoolRequest = world.features.isolation === 'process' ? { do: 'kill' } : { do: 'exit', code: 1 };
  const ends: readonly PoolRequest[] = [deadly, { do: 'crash', message: 'x' }, { do: 'spin' }];
  const ids = Array.from({ length: 2_000 }, (_, i) => String(i));
  pool.submit(
    ids.map((id, i) => {
      const next = i % 67 === 66 ? ends[i % ends.length] : ({ do: 'return', value: i } as const);
      const limit = next?.do === 'spin' ? { timeLimitMs: 50 } : {};
      return { id, request: { do: 'print', text: `${id}\n`, ...(next && { next }) }, ...limit };
    }),
  );
  await pool.drained();
  const sorted = (list: readonly string[]) => list.toSorted((a, b) => Number(a) - Number(b));
  assert.deepEqual(sorted(world.ended.map(({ id }) => id)), ids);
  assert.deepEqual(sorted(world.output.map(({ line }) => line)), ids);
  for (const { jobId, line } of world.output) assert.equal(jobId, line);
  for (const { id, result } of world.ended) {
    if (Number(id) % 67 !== 66) assert.deepEqual(result, { value: Number(id) });
    else assert.notEqual(result.failure, undefined);
  }
  world.assertIdle(pool);
}
