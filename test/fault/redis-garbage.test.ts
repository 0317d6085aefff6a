import { expect, test } from 'vitest';
import { Place } from '../cli/lovage.ts';
import { RedisShop } from '../support/redis-shop.ts';
import { until } from '../support/workplace.ts';

// What strangers, older versions and accidents put into a queue.

type Envelope = Record<string, unknown> & { headers: object; properties: Record<string, unknown> };

/** The envelope of a call that nobody has received, and its task's id. */
async function envelope(shop: RedisShop, name: string): Promise<{ sound: Envelope; id: string }> {
  const { id } = await shop.app().sendTask('tasks.work', [name], { queue: 'aside' });
  return { sound: JSON.parse((await shop.raw.rpop('aside')) ?? ''), id };
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

/** What is put into the queue, made from a sound envelope; and what its dead letter says. */
const garbage: [name: string, make: (sound: Envelope) => string | Buffer, reason: RegExp][] = [
  ['no JSON', () => 'garbage', /not a message: expected the JSON object/],
  ['nothing at all', () => '', /not a message: expected the JSON object/],
  ['binary', () => Buffer.from([0x80, 4, 0x95, 0xff, 0, 0xc3, 0x28]), /not a message: expected the JSON object/],
  ['half of an envelope', (sound) => JSON.stringify(sound).slice(0, 200), /not a message|Malformed JSON/],
  ['a list', () => '[1, 2]', /not a message: expected the JSON object/],
  ['a number', () => '42', /not a message: expected the JSON object/],
  ['no envelope', () => '{}', /Bad envelope: expected a text as body/],
  ['a body that is no text', (sound) => JSON.stringify({ ...sound, body: 5 }), /Bad envelope: expected a text as body/],
  ['broken base64', (sound) => JSON.stringify({ ...sound, body: '!!! no base64 !!!' }), /body is not base64/],
  [
    'an unknown encoding of the body',
    (sound) => JSON.stringify({ ...sound, properties: { ...sound.properties, body_encoding: 'rot13' } }),
    /expected body_encoding base64 or none, got 'rot13'/,
  ],
  ['headers that are none', (sound) => JSON.stringify({ ...sound, headers: [1] }), /expected headers to be a map/],
  [
    'properties that are none',
    (sound) => JSON.stringify({ ...sound, properties: 7 }),
    /expected properties to be a map, got 7/,
  ],
  [
    'an unknown content type',
    (sound) => JSON.stringify({ ...sound, 'content-type': 'application/x-odd' }),
    /"application\/x-odd" is not accepted/,
  ],
  [
    'a pickle',
    (sound) => JSON.stringify({ ...sound, 'content-type': 'application/x-python-serialize' }),
    /Got pickle\. It is always refused/,
  ],
  [
    'a body that is no JSON',
    (sound) => JSON.stringify({ ...sound, body: base64('{') }),
    /Malformed JSON: .*the text ends/,
  ],
  [
    'a body that is no call',
    (sound) => JSON.stringify({ ...sound, body: base64('"hello"') }),
    /expected \[args, kwargs, embed\], got 'hello'/,
  ],
  [
    'a body that is too deep',
    (sound) => JSON.stringify({ ...sound, body: base64(nested(200_000)) }),
    /expected nesting of at most 900 levels at position 900,/,
  ],
  [
    'headers that are too deep',
    (sound) => JSON.stringify(sound).replace('"headers":{', `"headers":{"deep":${nested(200_000)},`),
    /expected nesting of at most 900 levels at position 1\d\d\d,/,
  ],
  [
    'a foreign map',
    (sound) => JSON.stringify({ ...sound, headers: JSON.parse('{"__proto__": {"task": 1}}') }),
    /Not a task message: expected a header "task"/,
  ],
];

test('garbage in a queue: each piece is a dead letter with its reason, and the tasks between them run', async () => {
  await using shop = await RedisShop.open();
  const { sound } = await envelope(shop, 'template');
  const names: string[] = [];
  for (const [i, [, make]] of garbage.entries()) {
    await shop.raw.lpush('celery', make(sound));
    names.push(`task ${i}`);
    await shop.app().sendTask('tasks.work', [`task ${i}`]);
  }
  await shop.worker(shop.app(), { concurrency: 3 });
  await shop.began(names.length);
  const { deadLetters } = await shop.app().broker();
  const letters = await until(async () => {
    const found = await deadLetters.list({ limit: 100 });
    return found.length >= garbage.length && found;
  }).catch(() => deadLetters.list({ limit: 100 }));
  const reasons = letters.map(({ reason }) => reason);
  for (const [name, , reason] of garbage) {
    expect(reasons, name).toContainEqual(expect.stringMatching(reason));
  }
  expect(letters).toHaveLength(garbage.length);
  expect([...shop.runs.keys()].toSorted()).toEqual(names.toSorted());
  expect([...shop.runs.values()].every((count) => count === 1)).toBe(true);
  await until(async () => (await shop.raw.hlen('unacked')) === 0);

  const listed = await new Place().run(['-b', shop.server.url, 'dlq', 'list', '--json']);
  const documents: { queue: string; reason: string }[] = JSON.parse(listed.stdout);
  expect(documents.map(({ reason }) => reason).toSorted()).toEqual(reasons.toSorted());
  expect(new Set(documents.map(({ queue }) => queue))).toEqual(new Set(['celery']));
});

test.each([
  ['without a delivery tag', ({ delivery_tag: _, ...rest }: Record<string, unknown>) => ({ properties: rest })],
  ['without properties, but for how its body is written', () => ({ properties: { body_encoding: 'base64' } })],
  ['with an empty delivery tag', (rest: Record<string, unknown>) => ({ properties: { ...rest, delivery_tag: '' } })],
  ['with a number as delivery tag', (rest: Record<string, unknown>) => ({ properties: { ...rest, delivery_tag: 7 } })],
])('an envelope %s runs once', async (_, change) => {
  await using shop = await RedisShop.open();
  const { sound, id } = await envelope(shop, 'odd');
  await shop.raw.lpush('celery', JSON.stringify({ ...sound, ...change(sound.properties) }));
  await shop.worker(shop.app());
  expect(await shop.app().result(id).get({ timeout: 10 })).toBe('odd');
  await until(async () => (await shop.raw.hlen('unacked')) === 0);
  expect(shop.runs.get('odd')).toBe(1);
});

test('two envelopes with one delivery tag both run', async () => {
  await using shop = await RedisShop.open();
  const [one, two] = [await envelope(shop, 'one'), await envelope(shop, 'two')];
  const tag = { delivery_tag: 'the-same' };
  for (const { sound } of [one, two])
    await shop.raw.lpush('celery', JSON.stringify({ ...sound, properties: { ...sound.properties, ...tag } }));
  await shop.worker(shop.app());
  for (const { id } of [one, two]) await shop.app().result(id).get({ timeout: 10 });
  await until(async () => (await shop.raw.hlen('unacked')) === 0);
  expect(shop.runs).toEqual(
    new Map([
      ['one', 1],
      ['two', 1],
    ]),
  );
});
