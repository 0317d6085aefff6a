import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { redisBroker } from '../../../src/brokers/redis.ts';
import type { Broker, Consumer } from '../../../src/contracts/broker.ts';
import type { Delivery } from '../../../src/contracts/message.ts';
import { idsOf, namedMessage } from '../../../src/testing/message.ts';
import { encodeEnvelope } from '../../../src/wire/envelope.ts';
import { type RedisServer, startRedis } from '../../support/redis-server.ts';

// What Python sees of our work, and what we make of Python's and of strangers'. Everything in one Redis, by its raw keys.

const SEP = '\x06\x16';
const NEVER = new AbortController().signal;
let server: RedisServer;
let redis: Redis;
let broker: Broker;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port);
});
beforeEach(async () => {
  await redis.flushall();
  broker = redisBroker(`${server.url}?visibility_timeout=3600`);
  await broker.start();
  return () => broker.stop();
});
afterAll(async () => {
  redis.disconnect();
  await server[Symbol.asyncDispose]();
});

const consume = (leaseMs = 60_000, queues = ['celery']) => broker.consume(queues, { leaseMs });
const receive = (consumer: Consumer, max = 10, waitMs = 200) => consumer.receive(max, waitMs, NEVER);
const envelope = (id: string, tag: string, priority = 0, routingKey = 'celery', exchange = '') =>
  encodeEnvelope(namedMessage(id, priority), { routingKey, tag, exchange });
const now = () => Date.now() / 1000;

/** As kombu records a message that a worker took so many seconds ago. */
async function heldByPython(text: string, tag: string, exchange: string, key: string, secondsAgo: number) {
  await redis.hset('unacked', tag, `[${text}, "${exchange}", "${key}"]`);
  await redis.zadd('unacked_index', String(now() - secondsAgo), tag);
}

test('messages stand in the lists of their steps, newest first, and the queue is bound', async () => {
  const messages = [0, 2, 5, 9, 0].map((priority, i) => ({
    queue: 'celery',
    message: namedMessage(`m${i}`, priority),
  }));
  expect(await broker.publishMany(messages)).toEqual([]);
  const ids = async (key: string) =>
    (await redis.lrange(key, 0, -1)).map((t) => JSON.parse(t).properties.correlation_id);
  expect(await ids('celery')).toEqual(['m4', 'm1', 'm0']);
  expect(await ids(`celery${SEP}3`)).toEqual(['m2']);
  expect(await ids(`celery${SEP}9`)).toEqual(['m3']);
  expect(await redis.smembers('_kombu.binding.celery')).toEqual([`celery${SEP}${SEP}celery`]);
});

test('what is held stands in unacked as kombu writes it, and is gone with its ack', async () => {
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a', 3) }]);
  const sent = JSON.parse((await redis.lindex(`celery${SEP}3`, 0)) ?? '');
  const consumer = await consume();
  const deliveries = await receive(consumer);
  const [[key, record] = []] = Object.entries(await redis.hgetall('unacked'));
  expect(JSON.parse(record ?? '')).toEqual([sent, '', 'celery']);
  expect(Number(await redis.zscore('unacked_index', key ?? ''))).toBeCloseTo(now(), 0);
  expect(await consumer.ackMany(deliveries)).toEqual([]);
  const left = (await redis.keys('*')).sort();
  expect(left).toEqual(['_kombu.binding.celery', 'lovage:queues']);
});

test('names follow the options', async () => {
  const other = redisBroker(server.url, {
    global_keyprefix: 'pfx_',
    sep: ':',
    priority_steps: [0, 4],
    unacked_key: 'u',
  } as object);
  await other.start();
  await other.publishMany([{ queue: 'q', message: namedMessage('a', 7) }]);
  expect(await redis.llen('pfx_q:4')).toBe(1);
  expect(await redis.smembers('pfx__kombu.binding.q')).toEqual(['q::q']);
  const consumer = await other.consume(['q']);
  expect(idsOf(await receive(consumer))).toEqual(['a']);
  expect(await redis.hlen('pfx_u')).toBe(1);
  await other.stop();
  expect(await redis.llen('pfx_q:4')).toBe(1);
});

test('extending a lease also keeps Python from restoring the message', async () => {
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  const [delivery] = await receive(await consume());
  const tag = String(await redis.zrange('unacked_index', '0', '0'));
  await redis.zadd('unacked_index', 'XX', String(now() - 3000), tag);
  expect(await broker.extendMany([delivery as Delivery], 60_000)).toEqual([]);
  expect(Number(await redis.zscore('unacked_index', tag))).toBeCloseTo(now(), 0);
});

test('a lease that outlives the visibility timeout is not taken for lost by Python', async () => {
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  await receive(await consume(7200_000));
  const [, score] = await redis.zrange('unacked_index', '0', '0', 'WITHSCORES');
  expect(Number(score) + 3600).toBeGreaterThan(now() + 7100);
});

test('an expired message comes next, marked as redelivered in sound JSON, its tag and numbers kept', async () => {
  const odd = {
    ...namedMessage('a', 6),
    headers: { list: [], map: {}, big: 2 ** 53 - 1, text: '"delivery_info": {"x', delivery_info: 'no' },
  };
  await broker.publishMany([{ queue: 'celery', message: odd }]);
  await receive(await consume(1));
  const [held = ''] = await redis.hvals('unacked');
  const [before] = JSON.parse(held);
  await broker.publishMany([{ queue: 'celery', message: namedMessage('b', 6) }]);
  const [first, second] = await receive(await consume());
  expect(idsOf([first as Delivery, second as Delivery])).toEqual(['a', 'b']);
  expect(first?.attempt).toBe(2);
  expect(first?.message.headers).toEqual({ redelivered: true, ...odd.headers });
  const records = (await redis.hvals('unacked')).map((record) => JSON.parse(record)[0]);
  const again = records.find(({ properties }) => properties.correlation_id === 'a');
  expect(again.properties.delivery_tag).toBe(before.properties.delivery_tag);
  expect(again.properties.delivery_info).toMatchObject({ redelivered: true, exchange: '', routing_key: 'celery' });
});

test('deliveries are counted over many deaths', async () => {
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  for (let attempt = 1; attempt <= 12; attempt++) {
    const [delivery] = await receive(await consume(1));
    expect(delivery?.attempt).toBe(attempt);
  }
});

test("what dead Python workers held is given back to its priority's list, of named exchanges too", async () => {
  await redis.sadd('_kombu.binding.ex', `other${SEP}${SEP}x`, `key${SEP}${SEP}work`);
  await heldByPython(envelope('a', 't1', 5), 't1', '', 'celery', 4000);
  await heldByPython(envelope('b', 't2', 0, 'key', 'ex'), 't2', 'ex', 'key', 4000);
  await heldByPython(envelope('young', 't3'), 't3', '', 'celery', 3000);
  await heldByPython(envelope('topic', 't4'), 't4', 'unknown', 'a.b', 4000);
  const got = await receive(await consume(60_000, ['celery', 'work']));
  expect(got.map(({ queue, attempt, message }) => [queue, attempt, message.properties.correlation_id])).toEqual([
    ['work', 2, 'b'],
    ['celery', 2, 'a'],
  ]);
  expect(await redis.hexists('unacked', 't3')).toBe(1);
  expect(await redis.hexists('unacked', 't4')).toBe(1);
});

test('a message that Python took over after our lease had ended is left to it', async () => {
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  const consumer = await consume(50);
  const deliveries = await receive(consumer, 1);
  // What kombu does: it restores the message, and a worker takes it, under the tag in its envelope.
  const [key = ''] = await redis.hkeys('unacked');
  const [taken] = JSON.parse((await redis.hget('unacked', key)) ?? '');
  await redis.hdel('unacked', key);
  await redis.zrem('unacked_index', key);
  const tag = taken.properties.delivery_tag;
  await heldByPython(JSON.stringify(taken), tag, '', 'celery', 0);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(await receive(await consume(), 1, 100)).toEqual([]);
  expect(await consumer.ackMany(deliveries)).toHaveLength(1);
  expect(await redis.hkeys('unacked')).toEqual([tag]);
  expect(await redis.exists('lovage:leases', 'lovage:batches')).toBe(0);
});

test('a message that is renewed outlives the lease of those it came with', async () => {
  await broker.publishMany(['a', 'b', 'c'].map((name) => ({ queue: 'celery', message: namedMessage(name) })));
  const consumer = await consume(200);
  const [a, b, c] = await receive(consumer, 3);
  expect(await broker.extendMany([b as Delivery], 60_000)).toEqual([]);
  const other = await consume();
  expect(idsOf(await other.receive(10, 20_000, new AbortController().signal))).toEqual(['a', 'c']);
  expect(await consumer.ackMany([a as Delivery, b as Delivery, c as Delivery])).toMatchObject([
    { index: 0 },
    { index: 2 },
  ]);
  expect(await broker.countMany(['celery'])).toMatchObject([{ ready: 0, inFlight: 2 }]);
});

test('garbage in a list becomes a dead letter and holds up nobody', async () => {
  const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x80]);
  const garbage = [
    'not json',
    '[1, 2]',
    '',
    '{"body": 3, "properties": {"delivery_tag": "g"}}',
    '"delivery_tag": "x"',
    bytes,
  ];
  await redis.lpush('celery', ...garbage, envelope('good', 't'));
  const consumer = await consume();
  expect(idsOf(await receive(consumer))).toEqual(['good']);
  const letters = await broker.deadLetters.list({ queue: 'celery' });
  expect(letters).toHaveLength(garbage.length);
  for (const { reason } of letters) expect(reason).not.toBe('');
  const bodies = letters.map(({ message }) => Buffer.from(message.body));
  expect(bodies.some((body) => body.equals(bytes))).toBe(true);
  expect(await redis.hlen('unacked')).toBe(1);
});

test('an envelope without delivery_tag, or with one that is in use, is held and acked like any other', async () => {
  const bare = JSON.parse(envelope('bare', 'x'));
  delete bare.properties.delivery_tag;
  const texts = [
    JSON.stringify(bare),
    '{"body": "W10="}',
    envelope('one', 'same'),
    envelope('two', 'same'),
    '{"body": "W10=", "properties": {}}',
  ];
  await redis.lpush('celery', ...texts);
  const consumer = await consume();
  const got = await receive(consumer);
  expect(got).toHaveLength(5);
  expect(await redis.hlen('unacked')).toBe(5);
  expect(await consumer.ackMany(got)).toEqual([]);
  expect(await redis.hlen('unacked')).toBe(0);
});

test('large messages come in batches of some megabytes, in their order, and none is overlooked', async () => {
  const megabytes = [3, 6, 1, 9, 2, 1];
  const ids = megabytes.map((_, i) => String(i));
  const outgoing = megabytes.map((size, i) => ({
    queue: 'celery',
    message: { ...namedMessage(String(i)), body: Buffer.alloc(size * 1024 * 1024, 'x') },
  }));
  for (const one of outgoing) expect(await broker.publishMany([one])).toEqual([]);
  const consumer = await consume();
  const batches: string[][] = [];
  while (batches.flat().length < ids.length) batches.push(idsOf(await receive(consumer, 100)));
  expect(batches.flat()).toEqual(ids);
  expect(batches.length).toBeGreaterThan(3);
});

test('a key of another type where a queue should be says which, and the other queues go on', async () => {
  await redis.set('broken', 'text');
  await redis.lpush('celery', envelope('a', 't'));
  const consumer = await consume(60_000, ['broken', 'celery']);
  expect(idsOf(await receive(consumer))).toEqual(['a']);
  await expect(receive(consumer)).rejects.toMatchObject({
    code: 'STORE_CORRUPT',
    message: expect.stringContaining('broken'),
  });
});

test('scripts that the server forgot are sent again', async () => {
  const consumer = await consume();
  await redis.script('FLUSH');
  await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
  const got = await receive(consumer);
  await redis.script('FLUSH');
  expect(await consumer.ackMany(got)).toEqual([]);
});

test('with parkDelayed off a delayed message goes straight to its queue, for Python to hold', async () => {
  const plain = redisBroker(server.url, { parkDelayed: false });
  await plain.start();
  await plain.publishMany([{ queue: 'celery', message: namedMessage('a'), delayMs: 60_000 }]);
  expect(await redis.llen('celery')).toBe(1);
  await plain.stop();
});

test('a Python producer is heard at once in the watched list, and soon in any other', async () => {
  const consumer = await consume();
  const time = async (key: string, id: string) => {
    const waiting = receive(consumer, 1, 10_000);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const start = performance.now();
    await redis.lpush(key, envelope(id, id));
    expect(idsOf(await waiting)).toEqual([id]);
    return performance.now() - start;
  };
  await receive(consumer, 1, 50);
  expect(await time('celery', 'a')).toBeLessThan(1000);
  expect(await time(`celery${SEP}6`, 'b')).toBeLessThan(3500);
});

test('queues that Celery declared are listed, mailboxes are not', async () => {
  await redis.sadd('_kombu.binding.web', `web${SEP}${SEP}web`);
  await redis.sadd('_kombu.binding.celery.pidbox', `${SEP}${SEP}w1@host.celery.pidbox`);
  await redis.sadd('_kombu.binding.reply.celery.pidbox', `x${SEP}${SEP}x.reply.celery.pidbox`);
  await broker.declareMany([{ name: 'ours' }]);
  expect(await broker.listQueues()).toEqual(['ours', 'web']);
});
