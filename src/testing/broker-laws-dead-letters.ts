import assert from 'node:assert/strict';
import type { Broker } from '../contracts/broker.ts';
import { assertEmpty, type BrokerLaw, type BrokerWorld, take, takeOne } from './broker-world.ts';
import { eventually } from './eventually.ts';
import { idsOf } from './message.ts';

/** Rejects messages of these ids, each with the reason `no <id>`. */
async function bury(world: BrokerWorld, broker: Broker, ids: readonly string[], label = 'q'): Promise<void> {
  const consumer = await world.consume(broker, { labels: [label] });
  for (const id of ids) {
    await world.publish(broker, [id], { label });
    assert.deepEqual(await consumer.rejectMany([await takeOne(consumer)], [`no ${id}`]), []);
  }
  await assertEmpty(consumer);
  await consumer.close();
}

/** Messages that were given up. */
export const deadLetterLaws: readonly BrokerLaw[] = [
  {
    name: 'a rejected message is kept with its reason',
    async check(world) {
      const broker = await world.open();
      const start = Date.now();
      await world.publish(broker, ['a', 'b']);
      const consumer = await world.consume(broker);
      const deliveries = await take(consumer, 2);
      assert.deepEqual(await consumer.rejectMany(deliveries, ['first', 'second']), []);
      await assertEmpty(consumer);
      const letters = await broker.deadLetters.list({ queue: world.queue() });
      const byReason = [...letters].sort((x, y) => x.reason.localeCompare(y.reason));
      assert.deepEqual(
        byReason.map(({ reason }) => reason),
        ['first', 'second'],
      );
      assert.deepEqual(idsOf(byReason), idsOf(deliveries));
      for (const [i, letter] of byReason.entries()) {
        assert.equal(letter.queue, world.queue());
        assert.deepEqual(letter.message, deliveries[i]?.message);
        assert.equal(letter.attempt, world.features.attempts ? 1 : 0);
        assert.ok(letter.diedAt >= start - 1000 && letter.diedAt <= Date.now() + 1000);
      }
      await eventually(async () => {
        assert.deepEqual(await broker.countMany([world.queue()]), [{ ready: 0, inFlight: 0, delayed: 0, dead: 2 }]);
      });
    },
  },
  {
    name: 'dead letters are listed newest first, by queue, and no more than asked for',
    async check(world) {
      const broker = await world.open();
      await bury(world, broker, ['1', '2', '3']);
      await bury(world, broker, ['other'], 'other');
      const queue = world.queue();
      assert.deepEqual(idsOf(await broker.deadLetters.list({ queue })), ['3', '2', '1']);
      assert.deepEqual(idsOf(await broker.deadLetters.list({ queue, limit: 2 })), ['3', '2']);
      const all = idsOf(await broker.deadLetters.list({ limit: 1000 }));
      assert.ok(all.includes('other') && all.includes('1'));
    },
  },
  {
    name: 'dead letters are found by id, on every connection',
    async check(world) {
      const broker = await world.open();
      await bury(world, broker, ['a', 'b']);
      const elsewhere = await world.open();
      const letters = await broker.deadLetters.list({ queue: world.queue() });
      const found = await elsewhere.deadLetters.getMany([...letters.map(({ id }) => id), 'unknown', '999999999']);
      assert.deepEqual(found, [...letters, undefined, undefined]);
    },
  },
  {
    name: 'a retried dead letter is delivered as new',
    async check(world) {
      const broker = await world.open();
      await bury(world, broker, ['a', 'b']);
      const [b, a] = await broker.deadLetters.list({ queue: world.queue() });
      assert.ok(a && b);
      assert.equal(await broker.deadLetters.retryMany([a.id, a.id, 'unknown']), 1);
      const consumer = await world.consume(broker);
      const delivery = await takeOne(consumer);
      assert.deepEqual(delivery.message, a.message);
      world.assertAttempt(delivery, 1);
      await assertEmpty(consumer);
      assert.deepEqual(await broker.deadLetters.list({ queue: world.queue() }), [b]);
      assert.equal(await broker.deadLetters.retryMany([a.id]), 0);
    },
  },
  {
    name: 'a dropped dead letter is gone',
    async check(world) {
      const broker = await world.open();
      await bury(world, broker, ['a', 'b']);
      const [b, a] = await broker.deadLetters.list({ queue: world.queue() });
      assert.ok(a && b);
      assert.equal(await broker.deadLetters.dropMany([b.id, 'unknown']), 1);
      assert.deepEqual(await broker.deadLetters.getMany([b.id, a.id]), [undefined, a]);
      await assertEmpty(await world.consume(broker));
    },
  },
  {
    name: 'dead letters survive a restart of everything',
    needs: ({ features }) => features.durable,
    async check(world) {
      await bury(world, await world.open(), ['a']);
      await world.stopAll();
      const letters = await (await world.open()).deadLetters.list({ queue: world.queue() });
      assert.deepEqual(
        letters.map(({ reason }) => reason),
        ['no a'],
      );
    },
  },
];
