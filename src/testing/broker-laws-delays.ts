import assert from 'node:assert/strict';
import { assertEmpty, type BrokerLaw, take, takeOne } from './broker-world.ts';
import { eventually } from './eventually.ts';
import { idsOf, namedMessage } from './message.ts';

// Clocks of store and test may differ by a tick.
const TICK_MS = 20;

/** Delays: delivery later, and what must outlive a restart. */
export const delayLaws: readonly BrokerLaw[] = [
  {
    name: 'a delayed message does not come before it is due',
    async check(world) {
      const broker = await world.open();
      const start = Date.now();
      await world.publish(broker, ['a'], { delayMs: 300 });
      const delivery = await takeOne(await world.consume(broker));
      assert.ok(Date.now() - start >= 300 - TICK_MS, `came after ${Date.now() - start} ms`);
      world.assertAttempt(delivery, 1);
    },
  },
  {
    name: 'delayed messages come as they fall due',
    async check(world) {
      const broker = await world.open();
      const consumer = await world.consume(broker);
      const step = Math.max(150, world.features.stepMs);
      const delays = [3 * step, step, 2 * step];
      const messages = delays.map((delayMs) => ({ ...world.outgoing(namedMessage(String(delayMs))), delayMs }));
      assert.deepEqual(await broker.publishMany(messages), []);
      const inOrder = delays.toSorted((a, b) => a - b).map(String);
      assert.deepEqual(idsOf(await take(consumer, 3)), inOrder);
    },
  },
  {
    name: 'messages that fell due while nobody looked come in the order of their times',
    needs: ({ features }) => features.ordering,
    async check(world) {
      const broker = await world.open();
      const delays = [60, 20, 40];
      const messages = delays.map((delayMs) => ({ ...world.outgoing(namedMessage(String(delayMs))), delayMs }));
      assert.deepEqual(await broker.publishMany(messages), []);
      await eventually(async () => {
        const [depth] = await broker.countMany([world.queue()]);
        assert.deepEqual(depth, { ready: 3, inFlight: 0, delayed: 0, dead: 0 });
      });
      assert.deepEqual(idsOf(await take(await world.consume(broker), 3)), ['20', '40', '60']);
    },
  },
  {
    name: 'a message in the future does not hold up the others',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['later'], { delayMs: 60_000 });
      await world.publish(broker, ['now']);
      const consumer = await world.consume(broker);
      assert.deepEqual(idsOf([await takeOne(consumer)]), ['now']);
      await assertEmpty(consumer);
    },
  },
  {
    name: 'a deferred message is parked until due, and then as never delivered',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a', 'b']);
      const consumer = await world.consume(broker);
      const deliveries = await take(consumer, 2);
      const now = Date.now();
      const step = Math.max(200, world.features.stepMs);
      assert.deepEqual(await consumer.deferMany(deliveries, [now + 2 * step, now + step]), []);
      const first = await takeOne(consumer);
      assert.ok(Date.now() >= now + step - TICK_MS, 'came before it was due');
      const second = await takeOne(consumer);
      assert.ok(Date.now() >= now + 2 * step - TICK_MS, 'came before it was due');
      assert.deepEqual(idsOf([first, second]), idsOf([...deliveries].reverse()));
      world.assertAttemptReleased(first, 1);
      assert.deepEqual(await consumer.ackMany([first, second]), []);
    },
  },
  {
    name: 'times may have fractions of a millisecond',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a'], { delayMs: 0.1 * 3 * 1000 });
      const consumer = await world.consume(broker, { leaseMs: 60_000.5 });
      assert.deepEqual(await consumer.releaseMany([await takeOne(consumer)], 1.5), []);
      assert.deepEqual(await consumer.deferMany([await takeOne(consumer)], [Date.now() + 1.5]), []);
      const delivery = await takeOne(consumer);
      if (world.features.leaseMs !== undefined) assert.deepEqual(await broker.extendMany([delivery], 1000.5), []);
      assert.deepEqual(await consumer.ackMany([delivery]), []);
    },
  },
  {
    name: 'messages survive a restart of everything',
    needs: ({ features }) => features.durable,
    async check(world) {
      await world.publish(await world.open(), ['a', 'b']);
      await world.stopAll();
      const consumer = await world.consume(await world.open());
      assert.deepEqual(idsOf(await take(consumer, 2)).sort(), ['a', 'b']);
    },
  },
  {
    name: 'deferred and delayed messages survive a restart of everything',
    needs: ({ features }) => features.durable,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['deferred']);
      const consumer = await world.consume(broker);
      const dueAt = Date.now() + 500;
      assert.deepEqual(await consumer.deferMany([await takeOne(consumer)], [dueAt]), []);
      await world.publish(broker, ['delayed'], { delayMs: 500 });
      await world.stopAll();
      const got = await take(await world.consume(await world.open()), 2);
      assert.ok(Date.now() >= dueAt - TICK_MS, 'came before it was due');
      assert.deepEqual(idsOf(got).sort(), ['deferred', 'delayed']);
    },
  },
];
