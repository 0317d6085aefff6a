import assert from 'node:assert/strict';
import { claim, GRANTED, hasLimits, LONG_MS } from './backend-laws-claims.ts';
import type { BackendLaw, BackendWorld } from './backend-world.ts';
import type { Child } from './child-runner.ts';
import { eventually } from './eventually.ts';

const inProcesses = (world: BackendWorld) => hasLimits(world) && world.recipe !== undefined && world.features.shared;

async function haveAllReported(world: BackendWorld, children: readonly Child[], what: string): Promise<void> {
  const ms = 30_000 * world.patience;
  for (const child of children) await eventually(() => assert.equal(child.reports.at(-1), what), ms);
}

/** Claims and rates between processes. */
export const limitProcessLaws: readonly BackendLaw[] = [
  {
    name: 'of processes that ask for the same keys exactly one gets each',
    needs: inProcesses,
    async check(world) {
      const { recipe } = world;
      assert.ok(recipe);
      const keys = Array.from({ length: 3000 }, (_, i) => world.id(i));
      const start = () => world.children.start({ role: 'claim', recipe, keys, leaseMs: LONG_MS });
      const children = [start(), start(), start()];
      await haveAllReported(world, children, 'ready');
      for (const child of children) child.goOn();
      await haveAllReported(world, children, 'all asked');
      for (const child of children) await child.finish();
      const granted = children.flatMap(({ reports }) => reports.slice(1, -1));
      assert.deepEqual(granted.toSorted(), keys.toSorted());
    },
  },
  {
    name: 'processes that reserve of one rate get different moments',
    needs: inProcesses,
    async check(world) {
      const { recipe } = world;
      assert.ok(recipe);
      const [intervalMs, count] = [3_600_000, 300];
      const job = { role: 'reserve', recipe, keys: [world.id('r')], intervalMs, count } as const;
      const children = [world.children.start(job), world.children.start(job), world.children.start(job)];
      await haveAllReported(world, children, 'ready');
      for (const child of children) child.goOn();
      await haveAllReported(world, children, 'all asked');
      for (const child of children) await child.finish();
      const waits = children.flatMap(({ reports }) => reports.slice(1, -1).map(Number));
      // The time that the law takes is nothing beside an interval.
      const places = waits.map((wait) => Math.round(wait / intervalMs)).sort((a, b) => a - b);
      assert.deepEqual(places, [...waits.keys()]);
    },
  },
  {
    name: 'what a killed process had claimed is free when its lease ends',
    needs: inProcesses,
    async check(world) {
      const { recipe } = world;
      assert.ok(recipe);
      const keys = [world.id('k')];
      const child = world.children.start({ role: 'claim', recipe, keys, leaseMs: 2000 });
      await haveAllReported(world, [child], 'ready');
      child.goOn();
      await haveAllReported(world, [child], 'all asked');
      await child.kill();
      const limits = await world.openLimits();
      await eventually(async () => assert.deepEqual(await claim(limits, world.id('k'), 'next'), GRANTED));
    },
  },
];
