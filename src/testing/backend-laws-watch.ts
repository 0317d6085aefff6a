import assert from 'node:assert/strict';
import type { ResultBackend } from '../contracts/backend.ts';
import { type BackendLaw, storeAll } from './backend-world.ts';
import { eventually } from './eventually.ts';

/** Collects what a watcher is told, as `state of id`. */
async function watched(backend: ResultBackend, taskIds: readonly string[]) {
  const told: string[] = [];
  const documents: (string | Uint8Array)[] = [];
  const stop = await backend.watch(taskIds, (records) => {
    for (const { taskId, state, document } of records) {
      told.push(`${state} of ${taskId}`);
      documents.push(document);
    }
  });
  return { told, documents, stop };
}

/** Waiting for results. */
export const watchLaws: readonly BackendLaw[] = [
  {
    name: 'a watcher is told when a task has finished, with its document, and not before',
    async check(world) {
      const backend = await world.open();
      const { told, documents, stop } = await watched(backend, [world.id('a'), world.id('b'), world.id('c')]);
      await storeAll(backend, [
        world.record('a', 'STARTED'),
        world.record('a', 'RETRY'),
        world.record('other', 'SUCCESS'),
      ]);
      await storeAll(backend, [world.record('b', 'FAILURE')]);
      await eventually(() => assert.deepEqual(told, [`FAILURE of ${world.id('b')}`]));
      const bytes = world.record('a', 'SUCCESS', Uint8Array.of(7), 'msgpack');
      await storeAll(backend, [bytes, world.record('c', 'REVOKED')]);
      await eventually(() => assert.equal(told.length, 3));
      assert.deepEqual(told.slice(1).sort(), [`REVOKED of ${world.id('c')}`, `SUCCESS of ${world.id('a')}`].sort());
      const isThat = (document: string | Uint8Array) =>
        Buffer.from(bytes.document as Uint8Array).equals(document as Uint8Array);
      assert.ok(documents.some((document) => typeof document !== 'string' && isThat(document)));
      await stop();
    },
  },
  {
    name: 'a watcher is told of what had finished before',
    async check(world) {
      const backend = await world.open();
      await storeAll(backend, [world.record('a', 'SUCCESS'), world.record('b', 'STARTED')]);
      const { told, stop } = await watched(await world.open(), [world.id('a'), world.id('b')]);
      await eventually(() => assert.deepEqual(told, [`SUCCESS of ${world.id('a')}`]));
      await stop();
    },
  },
  {
    name: 'a watcher is told once for each task',
    async check(world) {
      const backend = await world.open();
      await storeAll(backend, [world.record('a', 'FAILURE')]);
      const { told, stop } = await watched(backend, [world.id('a'), world.id('a'), world.id('end')]);
      await storeAll(backend, [world.record('a', 'FAILURE')]);
      await eventually(() => assert.equal(told.length, 1));
      await storeAll(backend, [world.record('a', 'SUCCESS')]);
      await storeAll(backend, [world.record('end', 'SUCCESS')]);
      await eventually(() => assert.equal(told.at(-1), `SUCCESS of ${world.id('end')}`));
      assert.equal(told.length, 2, told.join());
      await stop();
    },
  },
  {
    name: 'several watchers of one task are all told, on all connections',
    async check(world) {
      const [a, b] = [await world.open(), await world.open()];
      const watchers = [
        await watched(a, [world.id('x')]),
        await watched(a, [world.id('x')]),
        await watched(b, [world.id('x')]),
      ];
      await storeAll(b, [world.record('x', 'SUCCESS')]);
      for (const { told } of watchers) await eventually(() => assert.deepEqual(told, [`SUCCESS of ${world.id('x')}`]));
      for (const { stop } of watchers) await stop();
    },
  },
  {
    name: 'ten thousand watched tasks are told of as they finish',
    async check(world) {
      const [a, b] = [await world.open(), await world.open()];
      const labels = Array.from({ length: 10_000 }, (_, i) => i);
      const half = labels.slice(0, 5000).map((label) => world.record(label, 'SUCCESS'));
      await storeAll(a, half);
      const { told, stop } = await watched(
        b,
        labels.map((label) => world.id(label)),
      );
      for (let i = 5000; i < 10_000; i += 500) {
        await storeAll(
          a,
          labels.slice(i, i + 500).map((label) => world.record(label, 'SUCCESS')),
        );
      }
      await eventually(() => assert.equal(told.length, 10_000), 20_000 * world.patience);
      assert.equal(new Set(told).size, 10_000);
      await stop();
    },
  },
  {
    name: 'who stops watching is told nothing more',
    async check(world) {
      const backend = await world.open();
      const stopped = await watched(backend, [world.id('a')]);
      const other = await watched(backend, [world.id('a')]);
      await stopped.stop();
      await stopped.stop();
      await storeAll(backend, [world.record('a', 'SUCCESS')]);
      await eventually(() => assert.equal(other.told.length, 1));
      assert.deepEqual(stopped.told, []);
      await other.stop();
    },
  },
  {
    name: 'a watcher is told of what another process stores',
    needs: ({ recipe, features }) => recipe !== undefined && features.shared,
    async check(world) {
      const { recipe } = world;
      assert.ok(recipe);
      const { told, stop } = await watched(await world.open(), [world.id('a')]);
      const child = world.children.start({ role: 'store', recipe, taskIds: [world.id('a')] });
      await eventually(() => assert.deepEqual(told, [`SUCCESS of ${world.id('a')}`]), 20_000 * world.patience);
      await child.finish();
      await stop();
    },
  },
];
