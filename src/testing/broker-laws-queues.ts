import assert from 'node:assert/strict';
import { assertEmpty, type BrokerLaw, take, takeOne } from './broker-world.ts';
import { eventually } from './eventually.ts';
import { idsOf } from './message.ts';

const NEVER = new AbortController().signal;

/** Which sockets, files, pipes and timers the process holds, as counts by kind. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function assertNothingMore(before: Record<string, number>): void {
  const more = Object.entries(resources()).filter(([kind, count]) => count > (before[kind] ?? 0));
  assert.deepEqual(more, [], `left open: ${more.join(' ')}`);
}

/** Queues and connections. */
export const queueLaws: readonly BrokerLaw[] = [
  {
    name: 'none of several queues starves',
    async check(world) {
      const broker = await world.open();
      const labels = ['a', 'b', 'c'];
      const ids = Array.from({ length: 50 }, (_, i) => String(i));
      for (const label of labels) await world.publish(broker, ids, { label });
      const consumer = await world.consume(broker, { labels });
      const seen = new Set<string>();
      for (let i = 0; i < 12; i++) seen.add((await takeOne(consumer)).queue);
      assert.equal(seen.size, 3, `12 single deliveries came from ${[...seen]}`);
      const batch = await take(consumer, 30);
      assert.equal(new Set(batch.map(({ queue }) => queue)).size, 3);
      await consumer.close();
    },
  },
  {
    name: 'a consumer takes what one queue has when the others have nothing',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['1', '2', '3', '4'], { label: 'b' });
      const consumer = await world.consume(broker, { labels: ['a', 'b', 'c'] });
      assert.equal((await take(consumer, 4)).length, 4);
    },
  },
  {
    name: 'setQueues changes what a consumer gets, also while it waits',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['in b'], { label: 'b' });
      const consumer = await world.consume(broker, { labels: ['a'] });
      const waiting = takeOne(consumer);
      await consumer.setQueues([world.queue('b')]);
      const delivery = await waiting;
      assert.equal(delivery.queue, world.queue('b'));
      await world.publish(broker, ['in a'], { label: 'a' });
      await assertEmpty(consumer);
    },
  },
  {
    name: 'counts tell ready, leased and delayed messages apart',
    needs: ({ features }) => !features.approximate,
    async check(world) {
      const broker = await world.open();
      const unknown = world.queue('unknown');
      await world.publish(broker, ['a', 'b', 'c']);
      await world.publish(broker, ['d', 'e'], { delayMs: 60_000 });
      const consumer = await world.consume(broker);
      const delivery = await takeOne(consumer);
      await eventually(async () => {
        const counts = await broker.countMany([world.queue(), unknown]);
        assert.deepEqual(counts, [{ ready: 2, inFlight: 1, delayed: 2, dead: 0 }, undefined]);
      });
      await consumer.ackMany([delivery]);
      await eventually(async () => {
        assert.deepEqual(await broker.countMany([world.queue()]), [{ ready: 2, inFlight: 0, delayed: 2, dead: 0 }]);
      });
    },
  },
  {
    name: 'what is in a queue is counted, somehow',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a', 'b', 'c']);
      await world.publish(broker, ['d'], { delayMs: 60_000 });
      const held = await takeOne(await world.consume(broker));
      const sum = async () => {
        const [depth] = await broker.countMany([world.queue()]);
        assert.ok(depth);
        return depth.ready + depth.inFlight + depth.delayed;
      };
      assert.ok(held);
      await eventually(async () => assert.equal(await sum(), 4));
      assert.deepEqual(await broker.countMany([world.queue('unknown')]), [undefined]);
    },
  },
  {
    name: 'a purge empties a queue, and no other',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a', 'b']);
      await world.publish(broker, ['other'], { label: 'other' });
      await eventually(async () => assert.equal((await broker.countMany([world.queue()]))[0]?.ready, 2));
      assert.equal(await broker.purge(world.queue()), 2);
      await assertEmpty(await world.consume(broker));
      assert.deepEqual(idsOf([await takeOne(await world.consume(broker, { labels: ['other'] }))]), ['other']);
    },
  },
  {
    name: 'purge drops what nobody holds',
    needs: ({ features }) => !features.approximate,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      await world.publish(broker, ['other'], { label: 'other' });
      const consumer = await world.consume(broker);
      const held = await takeOne(consumer);
      await world.publish(broker, ['b', 'c', 'd']);
      await world.publish(broker, ['e'], { delayMs: 60_000 });
      assert.equal(await broker.purge(world.queue()), 4);
      assert.equal(await broker.purge(world.queue()), 0);
      await assertEmpty(consumer);
      assert.deepEqual(await consumer.releaseMany([held]), []);
      assert.deepEqual(idsOf([await takeOne(consumer)]), ['a']);
      assert.deepEqual(idsOf([await takeOne(await world.consume(broker, { labels: ['other'] }))]), ['other']);
    },
  },
  {
    name: 'declared queues and those that hold messages are listed, on every connection',
    async check(world) {
      const broker = await world.open();
      await broker.declareMany([{ name: world.queue('declared') }]);
      await broker.declareMany([{ name: world.queue('declared') }]);
      await world.publish(broker, ['a'], { label: 'used' });
      const elsewhere = await world.open();
      const names = await elsewhere.listQueues();
      for (const label of ['declared', 'used']) assert.ok(names.includes(world.queue(label)), `${label} is missing`);
      assert.equal(new Set(names).size, names.length, 'a queue is listed twice');
      assert.deepEqual(await elsewhere.countMany([world.queue('declared')]), [
        { ready: 0, inFlight: 0, delayed: 0, dead: 0 },
      ]);
    },
  },
  {
    name: 'start and stop may be called again, and a stopped connection can be started anew',
    async check(world) {
      const broker = await world.open();
      await Promise.all([broker.start(), broker.start()]);
      await world.open();
      await world.publish(broker, ['a']);
      await Promise.all([broker.stop(), broker.stop()]);
      await broker.stop();
      await broker.start();
      assert.deepEqual(idsOf([await takeOne(await world.consume(broker))]), ['a']);
      await broker.stop();
    },
  },
  {
    name: 'a connection that was never started can be stopped, and calls without a start are refused',
    async check(world) {
      const broker = await world.open();
      await broker.stop();
      await broker.stop();
      await assert.rejects(broker.listQueues());
      await assert.rejects(broker.publishMany([]));
    },
  },
  {
    name: 'after stop nothing is left open',
    async check(world) {
      const before = resources();
      const broker = await world.open();
      await world.publish(broker, ['a', 'b', 'c']);
      const consumer = await world.consume(broker);
      await takeOne(consumer);
      const stopListening = await broker.bus?.listen('topic', () => {});
      const waiting = consumer.receive(3, 60_000, NEVER);
      await broker.stop();
      await waiting;
      await stopListening?.();
      await eventually(() => assertNothingMore(before), 5000);
    },
  },
];
