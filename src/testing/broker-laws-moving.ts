import assert from 'node:assert/strict';
import type { Broker } from '../contracts/broker.ts';
import type { ParkedMessages, PublishOnce } from '../contracts/moving.ts';
import { MessageTooLargeError } from '../errors.ts';
import { assertEmpty, type BrokerLaw, type BrokerWorld, take, takeOne } from './broker-world.ts';
import { eventually } from './eventually.ts';
import { idsOf, namedMessage } from './message.ts';

const LATER_MS = 60_000;
// Clocks of store and test may differ by a tick.
const TICK_MS = 50;

function parkedOf({ parked }: Broker): ParkedMessages {
  assert.ok(parked);
  return parked;
}

function onceOf(broker: Broker): PublishOnce {
  assert.ok(broker.publishOnce);
  return broker.publishOnce.bind(broker);
}

const outgoing = (world: BrokerWorld, ids: readonly string[], delayMs = 0) =>
  ids.map((id) => ({ queue: world.queue(), message: namedMessage(id), delayMs }));

/** What makes it possible to move messages to another broker. */
export const movingLaws: readonly BrokerLaw[] = [
  {
    name: 'parked messages are seen as they were sent, those due first in front, and stay parked',
    needs: ({ canSeeParked }) => canSeeParked,
    async check(world) {
      const broker = await world.open();
      const start = Date.now();
      await world.publish(broker, ['late'], { delayMs: 2 * LATER_MS, priority: 9 });
      await world.publish(broker, ['soon'], { delayMs: LATER_MS });
      await world.publish(broker, ['other'], { delayMs: LATER_MS, label: 'other' });
      await world.publish(broker, ['now']);
      const parked = parkedOf(await world.open());
      for (const limit of [1, 10, 10]) {
        const seen = await parked.list(world.queue(), limit);
        assert.deepEqual(idsOf(seen), ['soon', 'late'].slice(0, limit));
        assert.ok(Math.abs((seen[0]?.dueAt ?? 0) - start - LATER_MS) < 5000, `due at ${seen[0]?.dueAt}`);
      }
      const [, late] = await parked.list(world.queue(), 2);
      assert.ok(late);
      const { body, headers, ...label } = late.message;
      const { body: sent, headers: _, ...sentLabel } = namedMessage('late', 9);
      assert.deepEqual({ ...label, body: [...body] }, { ...sentLabel, body: [...sent] });
      assert.equal(headers.task, 'tasks.add');
      assert.deepEqual(await parked.list(world.queue('unknown'), 10), []);
      const [depth] = await broker.countMany([world.queue()]);
      assert.deepEqual(depth, { ready: 1, inFlight: 0, delayed: 2, dead: 0 });
    },
  },
  {
    name: 'of many who take a parked message one gets it, and it never becomes ready',
    needs: ({ canSeeParked }) => canSeeParked,
    async check(world) {
      const brokers = [await world.open(), await world.open(), await world.open()];
      const [broker] = brokers;
      assert.ok(broker);
      await world.publish(broker, ['a', 'b'], { delayMs: 300 });
      await world.publish(broker, ['c'], { delayMs: LATER_MS });
      const seen = JSON.parse(JSON.stringify(await parkedOf(broker).list(world.queue(), 2)));
      const failures = await Promise.all(brokers.map((one) => parkedOf(one).takeMany(seen)));
      assert.equal(failures.flat().length, 4, 'two of three come too late for each of two messages');
      for (const { error } of failures.flat()) assert.equal(error.name, 'LeaseLostError');
      const consumer = await world.consume(broker);
      await world.publish(broker, ['after'], { delayMs: 400 });
      assert.deepEqual(idsOf([await takeOne(consumer)]), ['after']);
      assert.deepEqual(idsOf(await parkedOf(broker).list(world.queue(), 9)), ['c']);
    },
  },
  {
    name: 'a message that fell due is not taken as a parked one',
    needs: ({ canSeeParked }) => canSeeParked,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a'], { delayMs: 100 });
      const seen = await parkedOf(broker).list(world.queue(), 1);
      const consumer = await world.consume(broker);
      const delivery = await takeOne(consumer);
      assert.deepEqual(
        (await parkedOf(broker).takeMany(seen)).map(({ index, error }) => [index, error.name]),
        [[0, 'LeaseLostError']],
      );
      assert.deepEqual(await consumer.ackMany([delivery]), []);
    },
  },
  {
    name: 'a batch with a key is published once, by whomever and however often',
    needs: ({ canPublishOnce }) => canPublishOnce,
    async check(world) {
      const [one, two] = [await world.open(), await world.open()];
      const batch = [...outgoing(world, ['a', 'b']), ...outgoing(world, ['later'], LATER_MS)];
      const answers = await Promise.all([one, two, one].map((broker) => onceOf(broker)(batch, 'k', LATER_MS)));
      assert.deepEqual(answers.sort(), [false, false, true]);
      assert.equal(await onceOf(two)(batch, 'k', LATER_MS), false);
      const consumer = await world.consume(one);
      assert.deepEqual(idsOf(await take(consumer, 2)), ['a', 'b']);
      await assertEmpty(consumer);
      assert.equal(await onceOf(two)(outgoing(world, ['c']), 'another', LATER_MS), true);
      assert.deepEqual(idsOf([await takeOne(consumer)]), ['c']);
      const [depth] = await one.countMany([world.queue()]);
      assert.deepEqual(depth, { ready: 0, inFlight: 3, delayed: 1, dead: 0 });
    },
  },
  {
    name: 'the key of a batch is forgotten after its time',
    needs: ({ canPublishOnce }) => canPublishOnce,
    async check(world) {
      const broker = await world.open();
      assert.equal(await onceOf(broker)(outgoing(world, ['a']), 'k', 100), true);
      await eventually(async () => assert.equal(await onceOf(broker)(outgoing(world, ['b']), 'k', LATER_MS), true));
      assert.deepEqual(idsOf(await take(await world.consume(broker), 2)), ['a', 'b']);
    },
  },
  {
    name: 'a batch with a message that is too large is not published at all, and its key is free',
    needs: ({ canPublishOnce, features }) => canPublishOnce && features.maxMessageBytes < 100_000_000,
    async check(world) {
      const broker = await world.open();
      const [small, large] = outgoing(world, ['small', 'large']);
      assert.ok(small && large);
      const body = new Uint8Array(world.features.maxMessageBytes + 1);
      const tooLarge = { ...large, message: { ...large.message, body } };
      await assert.rejects(onceOf(broker)([small, tooLarge], 'k', LATER_MS), MessageTooLargeError);
      await assertEmpty(await world.consume(broker));
      assert.equal(await onceOf(broker)([small], 'k', LATER_MS), true);
    },
  },
  {
    name: 'a delay of a batch with a key is kept',
    needs: ({ canPublishOnce }) => canPublishOnce,
    async check(world) {
      const broker = await world.open();
      const start = Date.now();
      assert.equal(await onceOf(broker)(outgoing(world, ['a'], 300), 'k', LATER_MS), true);
      await takeOne(await world.consume(broker));
      assert.ok(Date.now() - start >= 300 - TICK_MS, `came after ${Date.now() - start} ms`);
    },
  },
  {
    name: 'a look through a queue shows all that is there, and leaves it there',
    needs: ({ canLookThrough, features }) => canLookThrough && !features.groups,
    async check(world) {
      const broker = await world.open();
      const ids = Array.from({ length: 25 }, (_, i) => `m${i}`);
      await world.publish(broker, ids);
      await world.publish(broker, ['later'], { delayMs: 1000 });
      const all = [...ids, 'later'].sort();
      for (const enough of [all.length, Number.POSITIVE_INFINITY]) {
        const seen: string[] = [];
        const see = ({ properties }: { properties: { correlation_id?: string } }) =>
          seen.push(String(properties.correlation_id)) >= enough;
        await broker.lookThrough?.(world.queue(), see, new AbortController().signal);
        assert.deepEqual(seen.sort(), all);
      }
      const consumer = await world.consume(broker);
      const deliveries = await take(consumer, all.length);
      assert.deepEqual(idsOf(deliveries).sort(), all);
      assert.deepEqual(await consumer.ackMany(deliveries), []);
    },
  },
  {
    name: 'what is published again under its id is there once, where the store remembers it',
    needs: ({ features }) => (features.remembersMs ?? 0) > 0,
    async check(world) {
      const broker = await world.open();
      const [a, b, c] = ['a', 'b', 'c'].map((id) => world.outgoing(namedMessage(id), 'one'));
      assert.ok(a && b && c);
      assert.deepEqual(await broker.publishMany([a, b]), []);
      const other = await world.open();
      assert.deepEqual(await other.publishMany([b, a, c]), []);
      const consumer = await world.consume(other);
      for (const id of ['a', 'b', 'c']) {
        const delivery = await takeOne(consumer);
        assert.deepEqual(idsOf([delivery]), [id]);
        assert.deepEqual(await consumer.ackMany([delivery]), []);
      }
      await assertEmpty(consumer);
    },
  },
];
