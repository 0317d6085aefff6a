import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import type { Broker, Consumer } from '../contracts/broker.ts';
import type { ItemFailure } from '../contracts/common.ts';
import type { Delivery } from '../contracts/message.ts';
import { LeaseLostError } from '../errors.ts';
import { assertEmpty, type BrokerLaw, type BrokerWorld, take, takeOne } from './broker-world.ts';
import { idsOf } from './message.ts';

const hasLeases = ({ features }: BrokerWorld) => features.leaseMs !== undefined;

function assertLost(failures: readonly ItemFailure[], indexes: readonly number[]): void {
  assert.deepEqual(
    failures.map(({ index }) => index),
    indexes,
  );
  for (const { error } of failures) assert.ok(error instanceof LeaseLostError, `expected LeaseLostError, got ${error}`);
}

/** A delivery that its first consumer let run out, together with the second delivery of the same message. */
async function expired(
  world: BrokerWorld,
): Promise<{ broker: Broker; first: Consumer; late: Delivery; second: Consumer; again: Delivery }> {
  const broker = await world.open();
  await world.publish(broker, ['a']);
  const first = await world.consume(broker, { leaseMs: world.leaseMs });
  const late = await takeOne(first);
  const second = await world.consume(await world.open());
  return { broker, first, late, second, again: await takeOne(second) };
}

/** Holds the message `a` of an extended lease until a lease that began later has ended. */
async function assertExtended(world: BrokerWorld, extend: (held: Delivery) => Promise<void>): Promise<void> {
  const broker = await world.open();
  await world.publish(broker, ['a', 'b']);
  const consumer = await world.consume(broker, { leaseMs: world.leaseMs });
  const held = await takeOne(consumer);
  await extend(held);
  const other = await takeOne(consumer);
  // The other lease began later and is over: so the first one would be.
  const watcher = await world.consume(broker);
  assert.deepEqual(idsOf([await takeOne(watcher)]), idsOf([other]));
  await assertEmpty(watcher);
  assert.deepEqual(await consumer.ackMany([held]), []);
}

const LATE_CALLS: readonly [string, (consumer: Consumer, late: Delivery, broker: Broker) => Promise<ItemFailure[]>][] =
  [
    ['acknowledgement', (consumer, late) => consumer.ackMany([late])],
    ['release', (consumer, late) => consumer.releaseMany([late])],
    ['delayed release', (consumer, late) => consumer.releaseMany([late], 60_000)],
    ['reject', (consumer, late) => consumer.rejectMany([late], ['late'])],
    ['defer', (consumer, late) => consumer.deferMany([late], [Date.now() + 60_000])],
    ['extension', (_, late, broker) => broker.extendMany([late], 60_000)],
  ];

const lateLaws: readonly BrokerLaw[] = LATE_CALLS.map(([what, call]) => ({
  name: `a late ${what} says so and leaves the redelivered message alone`,
  needs: hasLeases,
  async check(world) {
    const { broker, first, late, second, again } = await expired(world);
    assertLost(await call(first, late, broker), [0]);
    assert.deepEqual(await second.releaseMany([again]), []);
    assert.deepEqual(idsOf([await takeOne(second)]), ['a']);
    assert.deepEqual(await broker.deadLetters.list({ queue: world.queue() }), []);
  },
}));

/** Leases: how long a delivery stays with its consumer, and the ways to end it. */
export const leaseLaws: readonly BrokerLaw[] = [
  {
    name: 'an expired lease is delivered again',
    needs: hasLeases,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const consumer = await world.consume(broker, { leaseMs: world.leaseMs });
      const start = Date.now();
      world.assertAttempt(await takeOne(consumer), 1);
      const again = await takeOne(consumer);
      assert.ok(Date.now() - start >= world.leaseMs - 20, 'the lease ended early');
      assert.deepEqual(idsOf([again]), ['a']);
      world.assertAttempt(again, 2);
    },
  },
  {
    name: 'an expired lease is delivered again on another connection',
    needs: hasLeases,
    async check(world) {
      const { second, again } = await expired(world);
      world.assertAttempt(again, 2);
      assert.deepEqual(await second.ackMany([again]), []);
    },
  },
  {
    name: 'an extended lease is not delivered again',
    needs: hasLeases,
    check: (world) =>
      assertExtended(world, async (held) => {
        const broker = await world.open();
        assert.deepEqual(await broker.extendMany([held], 60_000), []);
      }),
  },
  {
    name: 'a lease that was cloned and written as JSON can be extended from another connection',
    needs: hasLeases,
    check: (world) =>
      assertExtended(world, async ({ queue, tag }) => {
        const elsewhere = await world.open();
        const lease = JSON.parse(JSON.stringify({ queue, tag }));
        assert.deepEqual(await elsewhere.extendMany([lease], 60_000), []);
      }),
  },
  {
    name: 'an extension counts from now and may shorten',
    needs: hasLeases,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const consumer = await world.consume(broker);
      const held = await takeOne(consumer);
      assert.deepEqual(await broker.extendMany([held], world.leaseMs), []);
      world.assertAttempt(await takeOne(consumer), 2);
    },
  },
  {
    name: 'a task that blocks the event loop past the end of its lease keeps it, where its renewal was due before',
    // Elsewhere somebody else may be quicker.
    needs: (world) => hasLeases(world) && !world.features.shared,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const consumer = await world.consume(broker, { leaseMs: world.leaseMs });
      const held = await takeOne(consumer);
      const other = await world.consume(broker);
      const waiting = other.receive(1, 3 * world.leaseMs, new AbortController().signal);
      const renewed = setTimeout(world.leaseMs / 2).then(() => broker.extendMany([held], 60_000));
      const start = performance.now();
      while (performance.now() - start < 2 * world.leaseMs);
      assert.deepEqual(await renewed, []);
      assert.deepEqual(await waiting, []);
      assert.deepEqual(await consumer.ackMany([held]), []);
    },
  },
  ...lateLaws,
  {
    name: 'acknowledging held and lost leases together reports just the lost ones',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a', 'b', 'c', 'd']);
      const consumer = await world.consume(broker);
      const held = await take(consumer, 4);
      assert.deepEqual(await consumer.ackMany([held[1], held[3]] as Delivery[]), []);
      assertLost(await consumer.ackMany(held), [1, 3]);
      await consumer.close();
      await assertEmpty(await world.consume(broker));
    },
  },
  {
    name: 'a released message comes again at once, its delivery not counted',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const consumer = await world.consume(broker);
      for (let i = 0; i < 3; i++) {
        const delivery = await takeOne(consumer);
        world.assertAttemptReleased(delivery, 1);
        assert.deepEqual(await consumer.releaseMany([delivery]), []);
      }
    },
  },
  {
    name: 'a release with a delay comes again when that is over, not counted',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const consumer = await world.consume(broker);
      const start = Date.now();
      assert.deepEqual(await consumer.releaseMany([await takeOne(consumer)], 200), []);
      const again = await takeOne(consumer);
      assert.ok(Date.now() - start >= 180, `came after ${Date.now() - start} ms`);
      world.assertAttemptReleased(again, 1);
    },
  },
  {
    name: 'closing a consumer releases what it holds, not counted',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a', 'b']);
      const consumer = await world.consume(broker);
      const [acked] = await take(consumer, 2);
      await consumer.ackMany([acked as Delivery]);
      await consumer.close();
      await consumer.close();
      const next = await world.consume(await world.open());
      const again = await takeOne(next);
      assert.deepEqual(idsOf([again]), ['b']);
      world.assertAttemptReleased(again, 1);
      await assertEmpty(next);
    },
  },
  {
    name: 'stopping a connection releases what its consumers hold and ends their waiting',
    async check(world) {
      const keeper = await world.open();
      const broker = await world.open();
      await world.publish(keeper, ['a']);
      const consumer = await world.consume(broker);
      await takeOne(consumer);
      const waiting = consumer.receive(1, 60_000, new AbortController().signal);
      await broker.stop();
      assert.deepEqual(await waiting, []);
      assert.deepEqual(idsOf([await takeOne(await world.consume(keeper))]), ['a']);
    },
  },
];
