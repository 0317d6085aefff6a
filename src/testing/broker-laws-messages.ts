import assert from 'node:assert/strict';
import { MessageTooLargeError } from '../errors.ts';
import type { WireMessage } from '../wire/message.ts';
import { assertEmpty, type BrokerLaw, take, takeOne } from './broker-world.ts';
import { idsOf, namedMessage, testMessage } from './message.ts';

const NEVER = new AbortController().signal;

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

function samples(maxBytes: number): WireMessage[] {
  const text = new TextEncoder();
  return [
    testMessage(),
    testMessage({
      body: Uint8Array.from({ length: 256 }, (_, i) => i),
      contentType: 'application/x-msgpack',
      contentEncoding: 'binary',
    }),
    testMessage({ body: new Uint8Array(0) }),
    testMessage({ body: text.encode('Grüße, 世界, 🌿, \u0000, \u2028') }),
    testMessage({ body: new Uint8Array(Math.min(maxBytes, 1024 * 1024)).map((_, i) => i * 31) }),
    testMessage({
      headers: {
        nested: { list: [1, -2.5, null, true, { deep: ['ü', '🌿', ''] }] },
        'key with \u0000 and "': '\\',
        big: 2 ** 53 - 1,
      },
      properties: { correlation_id: 'ü🌿', reply_to: '', expiration: '60000', priority: 3, 'x-own': { a: [1] } },
    }),
  ];
}

/** Publishing, receiving, acknowledging. */
export const messageLaws: readonly BrokerLaw[] = [
  {
    name: 'a published message is received, and gone after its ack',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const consumer = await world.consume(broker);
      const delivery = await takeOne(consumer);
      assert.equal(delivery.queue, world.queue());
      world.assertAttempt(delivery, 1);
      assert.deepEqual(await consumer.ackMany([delivery]), []);
      await consumer.close();
      await assertEmpty(await world.consume(broker));
    },
  },
  {
    name: 'body, headers and properties arrive bit for bit',
    async check(world) {
      const broker = await world.open();
      const sent = samples(world.features.maxMessageBytes);
      const consumer = await world.consume(broker);
      for (const message of sent) {
        assert.deepEqual(await broker.publishMany([world.outgoing(message)]), []);
        const { message: got } = await takeOne(consumer);
        assert.ok(got.body instanceof Uint8Array);
        assert.ok(Buffer.from(got.body).equals(message.body), 'the body differs');
        assert.deepEqual({ ...got, body: undefined }, { ...message, body: undefined });
      }
    },
  },
  {
    name: 'what the sender does with its message after publishing changes nothing',
    async check(world) {
      const broker = await world.open();
      const body = Uint8Array.of(1, 2, 3);
      const headers = { task: 'before' };
      await broker.publishMany([world.outgoing(testMessage({ body, headers }))]);
      body.fill(9);
      headers.task = 'after';
      const { message } = await takeOne(await world.consume(broker));
      assert.deepEqual([...message.body], [1, 2, 3]);
      assert.deepEqual(message.headers, { task: 'before' });
    },
  },
  {
    name: 'messages come in the order of publishing',
    needs: ({ features }) => features.ordering,
    async check(world) {
      const broker = await world.open();
      const ids = numbered(60);
      for (let i = 0; i < 60; i += 20) await world.publish(broker, ids.slice(i, i + 20));
      const consumer = await world.consume(broker);
      const got = [...(await take(consumer, 7)), ...(await take(consumer, 53))];
      assert.deepEqual(idsOf(got), ids);
    },
  },
  {
    name: 'a released message comes before those published after it',
    needs: ({ features }) => features.ordering,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a', 'b', 'c']);
      const consumer = await world.consume(broker);
      await consumer.releaseMany(await take(consumer, 2));
      assert.deepEqual(idsOf(await take(consumer, 3)), ['a', 'b', 'c']);
    },
  },
  {
    name: 'messages of a group come in the order of publishing, one at a time, and other groups do not wait for them',
    needs: ({ features }) => features.groups,
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, ['a1', 'a2', 'a3'], { groupKey: 'a' });
      const consumer = await world.consume(broker);
      const first = await takeOne(consumer);
      await world.publish(broker, ['b1'], { groupKey: 'b' });
      assert.deepEqual(idsOf([first, await takeOne(consumer)]), ['a1', 'b1']);
      await assertEmpty(consumer);
      assert.deepEqual(await consumer.releaseMany([first]), []);
      for (const id of ['a1', 'a2', 'a3']) {
        const delivery = await takeOne(consumer);
        assert.deepEqual(idsOf([delivery]), [id]);
        assert.equal(delivery.ordered, true);
        assert.deepEqual(await consumer.ackMany([delivery]), []);
      }
    },
  },
  {
    name: 'a message without a group is refused, and no other with it',
    needs: ({ features }) => features.groups,
    async check(world) {
      const broker = await world.open();
      const messages = [{ queue: world.queue(), message: namedMessage('none') }, world.outgoing(namedMessage('own'))];
      const [failure, ...others] = await broker.publishMany(messages);
      assert.deepEqual([failure?.index, failure?.error.name, others], [0, 'ConfigError', []]);
      assert.deepEqual(idsOf([await takeOne(await world.consume(broker))]), ['own']);
    },
  },
  {
    name: 'messages of priority 0 come before others',
    needs: ({ features }) => features.priority,
    async check(world) {
      const broker = await world.open();
      for (const [id, priority] of [
        ['z', 9],
        ['a', 0],
        ['y', 6],
        ['b', 0],
      ] as const) {
        await world.publish(broker, [id], { priority });
      }
      const got = idsOf(await take(await world.consume(broker), 4));
      assert.deepEqual(got.slice(0, 2).sort(), ['a', 'b']);
      assert.deepEqual(got.slice(2).sort(), ['y', 'z']);
    },
  },
  {
    name: 'receive gives at most what was asked for',
    async check(world) {
      const broker = await world.open();
      await world.publish(broker, numbered(10));
      const consumer = await world.consume(broker);
      let left = 10;
      while (left > 0) {
        const got = await consumer.receive(3, 5000, NEVER);
        assert.ok(got.length >= 1 && got.length <= 3, `asked for 3, got ${got.length}`);
        left -= got.length;
      }
      assert.equal(left, 0);
    },
  },
  {
    name: 'a batch larger than the store takes at once goes through whole',
    needs: ({ features }) => features.maxBatch <= 10_000,
    async check(world) {
      const broker = await world.open();
      const ids = numbered(world.features.maxBatch * 2 + 1);
      await world.publish(broker, ids);
      const consumer = await world.consume(broker);
      const got = await take(consumer, ids.length, 20_000);
      assert.deepEqual(new Set(idsOf(got)), new Set(ids));
      assert.deepEqual(await consumer.ackMany(got), []);
      await consumer.close();
      await assertEmpty(await world.consume(broker));
    },
  },
  {
    name: 'an empty batch does nothing',
    async check(world) {
      const broker = await world.open();
      const consumer = await world.consume(broker);
      const none = await Promise.all([
        broker.publishMany([]),
        broker.extendMany([], 1000),
        consumer.ackMany([]),
        consumer.releaseMany([]),
        consumer.rejectMany([], []),
        consumer.deferMany([], []),
      ]);
      assert.deepEqual(none.flat(), []);
    },
  },
  {
    name: 'a message that is too large fails alone',
    needs: ({ features }) => features.maxMessageBytes <= 256 * 1024 * 1024,
    async check(world) {
      const broker = await world.open();
      const large = testMessage({ body: new Uint8Array(world.features.maxMessageBytes + 1) });
      const messages = [namedMessage('a'), large, namedMessage('b'), large, namedMessage('c')];
      const failures = await broker.publishMany(messages.map((message) => world.outgoing(message)));
      assert.deepEqual(
        failures.map(({ index }) => index),
        [1, 3],
      );
      for (const { error } of failures) assert.ok(error instanceof MessageTooLargeError, `got ${error}`);
      const consumer = await world.consume(broker);
      assert.deepEqual(idsOf(await take(consumer, 3)).sort(), ['a', 'b', 'c']);
      await assertEmpty(consumer);
    },
  },
  {
    name: 'two consumers never get the same message',
    async check(world) {
      const brokers = [await world.open(), await world.open()];
      await world.publish(brokers[0] as never, numbered(200));
      const consumers = await Promise.all([...brokers, ...brokers].map((broker) => world.consume(broker)));
      const got: string[] = [];
      const drain = async (consumer: (typeof consumers)[number]) => {
        while (got.length < 200) got.push(...idsOf(await consumer.receive(7, 100, NEVER)));
      };
      await Promise.all(consumers.map(drain));
      assert.deepEqual(
        got.map(Number).sort((a, b) => a - b),
        [...Array(200).keys()],
      );
    },
  },
  {
    name: 'receive is woken by a publish',
    async check(world) {
      const broker = await world.open();
      const receiving = takeOne(await world.consume(broker));
      await world.publish(broker, ['a']);
      assert.deepEqual(idsOf([await receiving]), ['a']);
    },
  },
  {
    name: 'receive is woken by a publish on another connection',
    async check(world) {
      const receiving = takeOne(await world.consume(await world.open()));
      await world.publish(await world.open(), ['a']);
      assert.deepEqual(idsOf([await receiving]), ['a']);
    },
  },
  {
    name: 'receive returns nothing after its wait, and not before',
    async check(world) {
      const consumer = await world.consume(await world.open());
      const start = performance.now();
      assert.deepEqual(await consumer.receive(1, 150, NEVER), []);
      const waited = performance.now() - start;
      assert.ok(waited >= 140, `returned after ${waited} ms`);
      assert.ok(waited < 5000, `returned after ${waited} ms`);
    },
  },
  {
    name: 'receive returns nothing at once when it is aborted',
    async check(world) {
      const consumer = await world.consume(await world.open());
      const abort = new AbortController();
      const start = performance.now();
      const receiving = consumer.receive(1, 60_000, abort.signal);
      setImmediate(() => abort.abort());
      assert.deepEqual(await receiving, []);
      assert.deepEqual(await consumer.receive(1, 60_000, abort.signal), []);
      assert.ok(performance.now() - start < 5000);
    },
  },
];
