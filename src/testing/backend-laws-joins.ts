import assert from 'node:assert/strict';
import type { JoinPart } from '../contracts/backend.ts';
import { encodeResult } from '../wire/result.ts';
import type { BackendLaw, BackendWorld } from './backend-world.ts';
import { eventually } from './eventually.ts';

const hasJoins = ({ hasJoins }: BackendWorld) => hasJoins;

function part(index: number, result: unknown = `part ${index}`, serializer = 'json'): JoinPart {
  const key = `member-${index}`;
  // Nothing in it but what a store has to keep.
  const meta = { taskId: key, state: 'SUCCESS', result, children: [] };
  return { key, index, document: encodeResult(meta, { serializer }) };
}

/** Joins: "N of M have arrived". */
export const joinLaws: readonly BackendLaw[] = [
  {
    name: 'a join counts its parts, whether its size is known before, after or between them',
    needs: hasJoins,
    async check(world) {
      const [a, b] = [await world.openJoins(), await world.openJoins()];
      assert.deepEqual(await a.setSize(world.id('before'), 2), { count: 0, size: 2 });
      assert.deepEqual(await b.addMany(world.id('before'), [part(0), part(1)]), { count: 2, size: 2 });
      assert.deepEqual(await a.addMany(world.id('after'), [part(0)]), { count: 1, size: undefined });
      assert.deepEqual(await b.addMany(world.id('after'), [part(1)]), { count: 2, size: undefined });
      assert.deepEqual(await b.setSize(world.id('after'), 2), { count: 2, size: 2 });
      assert.deepEqual(await a.addMany(world.id('between'), [part(0)]), { count: 1, size: undefined });
      assert.deepEqual(await b.setSize(world.id('between'), 3), { count: 1, size: 3 });
      assert.deepEqual(await a.addMany(world.id('between'), [part(2)]), { count: 2, size: 3 });
      assert.deepEqual(await a.addMany(world.id('between'), []), { count: 2, size: 3 });
    },
  },
  {
    name: 'a join that grows waits for one part more for each key, counted once',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('grown'), 1);
      assert.deepEqual(await joins.grow(world.id('grown'), 'more'), { count: 0, size: 2 });
      assert.deepEqual(await joins.grow(world.id('grown'), 'more'), { count: 0, size: 2 });
      assert.deepEqual(await joins.grow(world.id('grown'), 'and more'), { count: 0, size: 3 });
      assert.deepEqual(await joins.addMany(world.id('grown'), [part(0), part(1)]), { count: 2, size: 3 });
      assert.equal((await joins.read(world.id('grown')))?.length, 2);
      // Also where the part came before it was told of, which then counts as any other.
      assert.deepEqual(await joins.grow(world.id('grown'), part(1).key), { count: 2, size: 4 });
      assert.deepEqual(await joins.addMany(world.id('grown'), [part(1)]), { count: 2, size: 4 });
      await joins.take(world.id('grown'));
      assert.equal(await joins.read(world.id('grown')), undefined);
      assert.deepEqual(await joins.grow(world.id('early'), 'more'), { count: 0, size: undefined });
      assert.deepEqual(await joins.setSize(world.id('early'), 1), { count: 0, size: 2 });
    },
  },
  {
    name: 'a join that many grow at the same time, while parts arrive, waits for each of theirs',
    needs: hasJoins,
    async check(world) {
      const stores = [await world.openJoins(), await world.openJoins()];
      const id = world.id('j');
      await stores[0]?.setSize(id, 20);
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, i) => [
          stores[i % 2]?.addMany(id, [part(i)]),
          // Each key twice, from either side.
          stores[i % 2]?.grow(id, `more-${i}`),
          stores[(i + 1) % 2]?.grow(id, `more-${i}`),
        ]).flat(),
      );
      assert.equal(all.filter((progress) => progress?.count === 20 && progress.size === 20).length, 0);
      assert.deepEqual(await stores[0]?.addMany(id, []), { count: 20, size: 40 });
      assert.equal((await stores[1]?.take(id))?.length, 20);
    },
  },
  {
    name: 'a join that has ended grows no more, and growing does not start it anew',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('j'), 1);
      await joins.grow(world.id('j'), 'more');
      await joins.addMany(world.id('j'), [part(0), part(1)]);
      assert.equal((await joins.take(world.id('j')))?.length, 2);
      assert.deepEqual(await joins.grow(world.id('j'), 'and more'), { count: 2, size: 2 });
      assert.equal(await joins.take(world.id('j')), undefined);
    },
  },
  {
    name: 'what a join has grown by lives as long as the join',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('j'), 1, 50);
      await joins.grow(world.id('j'), 'more', 60_000);
      await joins.grow(world.id('j'), 'and more', 50);
      const deadline = Date.now() + 60;
      await eventually(() => assert.ok(Date.now() > deadline));
      assert.deepEqual(await joins.addMany(world.id('j'), [part(0)], 50), { count: 1, size: 3 });
    },
  },
  {
    name: 'a part that arrives twice counts once, and its first document stays',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.addMany(world.id('j'), [part(0, 'first'), part(0, 'second')]);
      assert.deepEqual(await joins.addMany(world.id('j'), [part(0, 'third')]), { count: 1, size: undefined });
      assert.deepEqual(await joins.take(world.id('j')), [part(0, 'first')]);
    },
  },
  {
    name: 'the parts come in the order of their index, with their documents',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      const bytes = part(2, Uint8Array.of(0, 255), 'msgpack');
      const parts = [part(10, 'ten'), part(0, 'ü🌿'), part(3, { a: [1, null] }, 'yaml'), part(1)];
      for (const one of [bytes, ...parts]) await joins.addMany(world.id('j'), [one]);
      const got = (await joins.take(world.id('j'))) ?? [];
      assert.ok(Buffer.from(bytes.document as Uint8Array).equals(got[2]?.document as Uint8Array));
      assert.deepEqual(
        got.map(({ index }) => index),
        [0, 1, 2, 3, 10],
      );
      assert.deepEqual(
        got.filter(({ index }) => index !== 2),
        parts.sort((a, b) => a.index - b.index),
      );
    },
  },
  {
    name: 'reading the parts leaves the join open; after its end there is nothing to read',
    needs: hasJoins,
    async check(world) {
      const [a, b] = [await world.openJoins(), await world.openJoins()];
      assert.equal(await a.read(world.id('unknown')), undefined);
      await a.addMany(world.id('j'), [part(1), part(0)]);
      assert.deepEqual(await b.read(world.id('j')), [part(0), part(1)]);
      assert.deepEqual(await a.read(world.id('j')), [part(0), part(1)]);
      assert.equal((await b.take(world.id('j')))?.length, 2);
      assert.equal(await a.read(world.id('j')), undefined);
    },
  },
  {
    name: 'exactly one of many takers gets the parts',
    needs: hasJoins,
    async check(world) {
      const stores = [await world.openJoins(), await world.openJoins(), await world.openJoins()];
      await Promise.all(stores.map((joins, i) => joins.addMany(world.id('j'), [part(i)])));
      const taken = await Promise.all([...stores, ...stores].map((joins) => joins.take(world.id('j'))));
      const parts = taken.filter((got) => got !== undefined);
      assert.equal(parts.length, 1);
      assert.equal(parts[0]?.length, 3);
      assert.equal(await stores[0]?.take(world.id('unknown')), undefined);
    },
  },
  {
    name: 'parts that arrive at the same time are all counted, and one of them sees the last count',
    needs: hasJoins,
    async check(world) {
      const stores = [await world.openJoins(), await world.openJoins()];
      await stores[0]?.setSize(world.id('j'), 40);
      const indexes = Array.from({ length: 40 }, (_, i) => i);
      const progress = await Promise.all(indexes.map((i) => stores[i % 2]?.addMany(world.id('j'), [part(i)])));
      assert.equal(progress.filter((p) => p?.count === 40).length, 1);
      assert.equal((await stores[1]?.take(world.id('j')))?.length, 40);
    },
  },
  {
    name: 'a part that comes again after the end does not start the join anew',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('j'), 1);
      await joins.addMany(world.id('j'), [part(0)]);
      assert.deepEqual(await joins.take(world.id('j')), [part(0)]);
      assert.deepEqual(await joins.addMany(world.id('j'), [part(0)]), { count: 1, size: 1 });
      assert.equal(await joins.take(world.id('j')), undefined);
    },
  },
  {
    name: 'a join expires after its time',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('short'), 2, 200);
      await joins.addMany(world.id('short'), [part(0)], 200);
      await joins.addMany(world.id('long'), [part(0)], 60_000);
      const deadline = Date.now() + 200;
      await eventually(() => assert.ok(Date.now() > deadline + 20));
      assert.equal(await joins.take(world.id('short')), undefined);
      assert.deepEqual(await joins.addMany(world.id('short'), [part(1)]), { count: 1, size: undefined });
      assert.deepEqual(await joins.take(world.id('long')), [part(0)]);
    },
  },
  {
    name: 'a part with a shorter time does not shorten the life of its join',
    needs: hasJoins,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('j'), 2, 60_000);
      await joins.addMany(world.id('j'), [part(0)], 50);
      const deadline = Date.now() + 60;
      await eventually(() => assert.ok(Date.now() > deadline));
      assert.deepEqual(await joins.addMany(world.id('j'), [part(1)], 50), { count: 2, size: 2 });
    },
  },
  {
    name: 'joins survive a restart of everything',
    needs: (world) => hasJoins(world) && world.features.durable,
    async check(world) {
      const joins = await world.openJoins();
      await joins.setSize(world.id('j'), 2);
      await joins.addMany(world.id('j'), [part(0)]);
      await joins.grow(world.id('j'), 'more');
      await world.stopAll();
      const again = await world.openJoins();
      assert.deepEqual(await again.addMany(world.id('j'), [part(1)]), { count: 2, size: 3 });
      assert.deepEqual(await again.take(world.id('j')), [part(0), part(1)]);
    },
  },
];
