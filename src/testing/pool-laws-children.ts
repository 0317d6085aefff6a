import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Pool } from '../contracts/pool.ts';
import { eventually } from './eventually.ts';
import type { PoolRequest } from './pool-tasks.ts';
import { gone, isAlive, type PoolLaw, type PoolWorld, suiteFile, tasksRecipe } from './pool-world.ts';

const isolates = ({ features }: PoolWorld) => features.isolation !== 'none';
const inProcesses = ({ features }: PoolWorld) => features.isolation === 'process';
const reason = new RangeError('enough');

/** In which thread of which process a job runs. */
async function whoRuns(world: PoolWorld, pool: Pool<PoolRequest>, id: string): Promise<string> {
  return JSON.stringify((await world.run(pool, { do: 'who' }, { id })).value);
}

/** The life of children: output, replacement, and their end. */
export const childLaws: readonly PoolLaw[] = [
  {
    name: 'what tasks print comes line by line, with the id and label of the task, before its outcome',
    needs: isolates,
    async check(world) {
      const order: string[] = [];
      const pool = await world.open({
        onOutput: ({ jobId, label, stream, line }) => order.push(`${label} ${jobId} ${stream}: ${line}`),
        onOutcomes: (outcomes) => order.push(...outcomes.map(({ job }) => `end of ${job.id}`)),
      });
      const request: PoolRequest = { do: 'print', text: 'one\ntwo\r\nhalf', error: 'oops' };
      pool.submit([{ id: 'a', label: 'mail.send', request }]);
      await pool.drained();
      assert.deepEqual(order, [
        'mail.send a stdout: one',
        'mail.send a stdout: two',
        'mail.send a stderr: oops',
        'mail.send a stdout: half',
        'end of a',
      ]);
    },
  },
  {
    name: 'what a task printed is there although its process ended in the same moment',
    needs: isolates,
    async check(world) {
      const pool = await world.open();
      const lines = Array.from({ length: 500 }, (_, i) => `line ${i} ${'x'.repeat(500)}`);
      for (const [id, next] of Object.entries({
        exit: { do: 'exit', code: 0 },
        crash: { do: 'crash', message: 'x' },
      } as const)) {
        await world.run(pool, { do: 'print', text: lines.join('\n'), next }, { id });
        assert.deepEqual(await world.printed(id, 500), lines);
      }
    },
  },
  {
    name: 'a child is replaced after its number of tasks, by one that is ready',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1, maxTasksPerChild: 2 });
      const runs: string[] = [];
      for (let i = 0; i < 6; i += 1) runs.push(await whoRuns(world, pool, String(i)));
      assert.equal(runs[0], runs[1]);
      assert.equal(runs[2], runs[3]);
      assert.equal(runs[4], runs[5]);
      assert.equal(new Set(runs).size, 3);
      world.assertIdle(pool);
    },
  },
  {
    name: 'the successor of a child gets ready while that runs its last task, and has no slot before',
    needs: isolates,
    async check(world) {
      const recipe = tasksRecipe(undefined, 'made');
      const pool = await world.open({ slots: 1, maxTasksPerChild: 1, recipe });
      pool.submit(['a', 'b'].map((id) => ({ id, request: { do: 'wait' } })));
      await eventually(() => assert.equal(world.output.length, 2), 60_000);
      assert.deepEqual([pool.running, pool.waiting, world.ended.length], [1, 1, 0]);
      for (const id of ['a', 'b']) {
        pool.cancel(id, reason);
        assert.match(String((await world.result(id)).error), /enough/);
      }
      await pool.drained();
      world.assertIdle(pool);
    },
  },
  {
    name: 'stopping closes what the children have made',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 2, recipe: tasksRecipe(undefined, undefined, 'closed') });
      await pool.stop();
      assert.deepEqual(
        world.output.map(({ line }) => line),
        ['closed', 'closed'],
      );
    },
  },
  {
    name: 'a child that has grown too large is replaced after its task',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1, maxMemoryPerChild: 300 * 1024 });
      const small = await whoRuns(world, pool, 'before');
      await world.run(pool, { do: 'leak', mib: 5 }, { id: 'little' });
      assert.equal(await whoRuns(world, pool, 'between'), small);
      await world.run(pool, { do: 'leak', mib: 400 }, { id: 'much' });
      assert.notEqual(await whoRuns(world, pool, 'after'), small);
      world.assertIdle(pool);
    },
  },
  {
    name: 'what was sent ahead to a child that is replaced begins elsewhere, once and in order',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1, lookAhead: 3, maxMemoryPerChild: 300 * 1024 });
      const ids = ['a', 'b', 'c', 'd'];
      const after = ids.map((id) => ({ id, request: { do: 'print', text: 'PID\n' } as const }));
      pool.submit([{ id: 'leak', request: { do: 'leak', mib: 400 } }, ...after]);
      await pool.drained();
      assert.deepEqual(
        world.output.map(({ jobId }) => jobId),
        ids,
      );
      assert.equal(world.ended.length, 5);
      world.assertIdle(pool);
    },
  },
  {
    name: 'a child that died is replaced, and none of its memory stays',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 1 });
      const before = process.memoryUsage.rss();
      for (let i = 0; i < 3; i += 1) {
        await world.run(pool, { do: 'leak', mib: 300 }, { id: `leak ${i}` });
        await world.run(pool, { do: 'spin' }, { id: `loop ${i}`, timeLimitMs: 50 });
      }
      await world.run(pool, { do: 'return', value: 1 }, { id: 'last' });
      await eventually(() => assert.ok(process.memoryUsage.rss() - before < 400 * 1024 * 1024), 30_000);
      world.assertIdle(pool);
    },
  },
  {
    name: 'children that fail to start again are tried ever later, and told of; their slots are not free',
    needs: isolates,
    async check(world) {
      const folder = mkdtempSync(join(tmpdir(), 'lovage-pool-'));
      const broken = join(folder, 'broken');
      try {
        const pool = await world.open({ slots: 1, recipe: tasksRecipe(broken) });
        writeFileSync(broken, '');
        await world.run(pool, { do: 'exit', code: 1 });
        await eventually(() => assert.ok(world.troubles.length >= 3), 60_000);
        const [first, , third] = world.troubles;
        assert.match(first?.error.message ?? '', /could not start: no database here/);
        assert.match(third?.error.message ?? '', /3 times in a row/);
        // Each is drawn from the upper half of its span, and the spans double.
        assert.ok((third?.retryMs ?? 0) > (first?.retryMs ?? 0) * 1.5);
        assert.equal(pool.free, 0);
        pool.submit([{ id: 'waits', request: { do: 'return', value: 1 } }]);
        rmSync(broken);
        assert.deepEqual(await world.result('waits'), { value: 1 });
        world.assertIdle(pool);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  },
  {
    name: 'a pool that is stopped while it starts leaves nothing behind, and says why it did not start',
    needs: isolates,
    async check(world) {
      const pool = world.create();
      const starting = assert.rejects(pool.start(), /stopped while it started/);
      await pool.stop();
      await starting;
      assert.throws(() => pool.submit([]), /takes no jobs/);
    },
  },
  {
    name: 'idle children end when there are fewer slots, and none of those that stay',
    needs: isolates,
    async check(world) {
      const pool = await world.open({ slots: 3 });
      pool.resize(1);
      world.assertIdle(pool);
      const first = await whoRuns(world, pool, 'a');
      pool.resize(2);
      assert.equal(await whoRuns(world, pool, 'b'), first);
      world.assertIdle(pool);
    },
  },
  {
    name: 'signals to all processes are for the parent to act on',
    needs: inProcesses,
    async check(world) {
      const pool = await world.open({ slots: 1 });
      const { value } = await world.run(pool, { do: 'who' }, { id: 'who' });
      const pid = Number(Reflect.get(Object(value), 'pid'));
      pool.submit([{ id: 'a', request: { do: 'print', text: 'begun\n', next: { do: 'wait' } } }]);
      await world.printed('a');
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP']) process.kill(pid, signal);
      pool.cancel('a', reason);
      assert.match(String((await world.result('a')).error), /enough/);
      assert.equal(
        JSON.stringify((await world.run(pool, { do: 'who' }, { id: 'still' })).value),
        JSON.stringify(value),
      );
    },
  },
  {
    name: 'a killed task takes the processes that it has started with it',
    needs: inProcesses,
    async check(world) {
      const pool = await world.open({ slots: 1 });
      pool.submit([{ id: 'a', request: { do: 'spawn' } }]);
      const [pid] = await world.printed('a');
      assert.ok(isAlive(Number(pid)));
      pool.cancel('a', reason, 'hard');
      await gone(Number(pid));
    },
  },
  {
    name: 'when the parent is killed no child stays, not even one in an endless loop',
    needs: ({ features, recipe }) => features.isolation === 'process' && recipe !== undefined,
    async check(world) {
      const parent = fork(fileURLToPath(suiteFile('pool-parent')), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      try {
        parent.send({ pool: world.recipe, tasks: tasksRecipe() });
        const pids = await pidsFrom(parent);
        for (const pid of pids) assert.ok(isAlive(pid));
        parent.kill('SIGKILL');
        for (const pid of pids) await gone(pid);
      } finally {
        parent.kill('SIGKILL');
      }
    },
  },
];

/** The processes of a parent's children, when their tasks run. */
async function pidsFrom(parent: ChildProcess): Promise<readonly number[]> {
  const [pids] = (await once(parent, 'message')) as [readonly number[]];
  return pids;
}
