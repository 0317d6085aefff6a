/**
 * What our client writes into Redis for a workflow, field by field beside what Celery's client wrote: headers, properties
 * and body. Ids go by the order in which they come. Whatever else is not the same is here, with its reason, and in
 * docs/canvas.md.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { chain, chord, type FailedRequest, group, Lovage } from '../../../src/index.ts';
import { quiet } from '../../support/in-memory.ts';
import { type RedisServer, startRedis } from '../../support/redis-server.ts';
import { type Json, loadVectors } from '../../unit/wire/vectors.ts';
import { sameIds } from './captured.ts';

/** A message as kombu keeps it, with its body read. */
interface Sent {
  readonly headers: Json;
  readonly properties: Json;
  readonly body: readonly [args: unknown[], kwargs: Json, embed: Embed];
  readonly [label: string]: unknown;
}

interface Envelope extends Pick<Sent, 'headers' | 'properties'> {
  readonly body: string;
}

interface Embed {
  readonly chain: Signature[] | null;
  readonly chord: Signature | null;
}

interface Signature {
  readonly options: Json;
}

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port);
});
beforeEach(async () => {
  await redis.flushall();
});
afterAll(async () => {
  redis.disconnect();
  await server[Symbol.asyncDispose]();
});

/**
 * The workflows of the captures, by their names (see test/vectors/README.md), but for those whose messages have a group,
 * a chord or a chain in them: they are in client-vectors.test.ts.
 */
const made: Record<string, (tasks: ReturnType<typeof tasksOf>) => { delay(): Promise<unknown> }> = {
  task_chain_immutable: ({ add, mul }) =>
    chain(add.s(1, 2), add.si(5, 5).set({ queue: 'other', priority: 3 }), mul.s(2).set({ countdown: 4 })),
  task_chain3: ({ add, mul }) => chain(add.s(1, 2), mul.s(3), add.s(4)),
  task_chain_link_error: ({ add, mul, onError }) => chain(add.s(1, 2), mul.s(3)).onError(onError.s()),
  task_chord: ({ add, xsum }) => chord([add.s(1, 1), add.s(2, 2)], xsum.s()),
  task_chord_link_error: ({ add, xsum, onError }) => chord([add.s(1, 1), add.s(2, 2)], xsum.s().onError(onError.s())),
  task_chord_of_chains: ({ add, mul, xsum }) => chord([chain(add.s(1, 1), mul.s(2)), add.s(3, 3)], xsum.s()),
  task_group3: ({ add }) => group([add.s(0, 0), add.s(1, 1), add.s(2, 2)]),
  task_group_then_task: ({ add, xsum }) => chain(group([add.s(1, 1), add.s(2, 2)]), xsum.s()),
  task_chord_nested_group: ({ add, xsum }) => chord([add.s(1, 1), group([add.s(2, 2), add.s(3, 3)])], xsum.s()),
  task_chord_unlock: ({ add, xsum }) => chord([add.s(1, 1), add.s(2, 2)], xsum.s()),
  task_chunks: ({ add }) =>
    add.chunks(
      [0, 1, 2, 3, 4].map((i) => [i, i] as const),
      2,
    ),
  task_map: ({ xsum }) =>
    xsum.map([
      [1, 2],
      [3, 4],
    ]),
  task_starmap: ({ add }) =>
    add.starmap([
      [1, 2],
      [3, 4],
    ]),
};

function tasksOf(app: Lovage) {
  return {
    add: app.task('cap.add', (x: number, y: number) => x + y),
    mul: app.task('cap.mul', (x: number, y: number) => x * y),
    onError: app.task(
      'cap.on_error_new',
      (_request: FailedRequest, _error: unknown, _traceback: string | undefined) => {},
    ),
    xsum: app.task('cap.xsum', (numbers: readonly unknown[]) => numbers.length),
  };
}

/** All that is written for a workflow, in order. */
async function sentHere(name: string): Promise<Sent[]> {
  const app = new Lovage('cap', { broker: server.url, backend: server.url, logger: quiet });
  try {
    await made[name]?.(tasksOf(app)).delay();
  } finally {
    await app.close();
  }
  const keys = await redis.keys('*');
  const types = await Promise.all(keys.map((key) => redis.type(key)));
  // What is to run later waits in the message before it: there is one list.
  expect(keys.filter((_key, i) => types[i] === 'list')).toEqual(['celery']);
  return (await redis.lrange('celery', 0, -1)).toReversed().map((text) => read(JSON.parse(text)));
}

function sentByCelery(decoded: unknown): Sent[] {
  const inRedis = Array.isArray(decoded) ? decoded : (decoded as { celery: unknown[] }).celery;
  return (inRedis as { envelope: Envelope }[]).toReversed().map(({ envelope }) => read(envelope));
}

function read({ body, ...others }: Envelope): Sent {
  return { ...others, body: JSON.parse(Buffer.from(body, 'base64').toString()) };
}

/** In one form: ids by their order, keys sorted, the sender's process and host left out. */
function shown(messages: readonly Sent[]): Json[] {
  const own = messages.map(({ headers, ...others }) => {
    expect(headers.origin).toMatch(/^gen\d+@./);
    return sorted({ ...others, headers: { ...headers, origin: 'gen@' } }) as Json;
  });
  return sameIds(own, new Set());
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1));
  return Object.fromEntries(entries.map(([name, item]) => [name, sorted(item)]));
}

/** What Celery has sent, as it is sent here. */
function expected(messages: readonly Sent[], name: string): Sent[] {
  const all = messages.map((message, i) => asSentHere(message, i));
  return differences[name]?.(all) ?? all;
}

function asSentHere(message: Sent, place: number): Sent {
  const { headers, properties, body } = message;
  const [args, kwargs, embed] = body;
  const { chain, chord } = embed;
  return {
    ...message,
    headers: {
      // Headers that Celery has since 5.3, which 5.2 takes for ones of the sender's own.
      ...{ replaced_task_nesting: 0, stamped_headers: null, stamps: {} },
      ...headers,
      lang: 'ts',
      // Celery tells members of plain groups their place since 5.3.4.
      group_index: headers.group === null ? null : (headers.group_index ?? place),
      // For display only: where Python has tuples, JavaScript has lists.
      kwargsrepr: String(headers.kwargsrepr).replaceAll('(', '[').replaceAll(')', ']'),
    },
    body: [
      args,
      kwargs,
      {
        ...embed,
        chain: chain?.map((step) => signatureHere(step, properties)) ?? null,
        chord: chord && signatureHere(ofGroup(chord, headers.group), properties),
      },
    ],
  };
}

/**
 * A task's signature that travels along. Celery writes into each what the message says as well: `reply_to`. Who sends a
 * step puts its own there, and only rpc:// reads it.
 */
function signatureHere(signature: Signature, properties: Json): Signature {
  const { reply_to, chord, ...options } = signature.options;
  expect(reply_to).toBe(properties.reply_to);
  if (!isSignature(chord)) return { ...signature, options };
  return {
    ...signature,
    options: { ...options, chord: signatureHere(ofGroup(chord, options.group_id), properties) },
  };
}

function isSignature(value: unknown): value is Signature {
  return typeof value === 'object' && value !== null && 'options' in value;
}

/** Since 5.3 the body of a chord knows the group of its header. */
function ofGroup(body: Signature, group: unknown): Signature {
  return { ...body, options: { group_id: group, ...body.options } };
}

/** What is another message here, or none. */
const differences: Record<string, (messages: readonly Sent[]) => Sent[]> = {
  // Celery turns the members of an inner group round, and so the results that the body gets.
  task_chord_nested_group: ([first, ...inner]) => {
    const inOrder = inner.toReversed().map((message, i) => {
      return { ...message, headers: { ...message.headers, group_index: i + 1 } };
    });
    return first ? [first, ...inOrder] : [];
  },
  // Where its backend cannot count Celery has a task that looks again and again. All of ours count, so there is none.
  task_chord_unlock: ([unlock, ...members]) => {
    expect(unlock?.headers.task).toBe('celery.chord_unlock');
    return members;
  },
};

const vectors = loadVectors('task_').filter(({ name }) => name in made);

describe('what is written for a workflow', () => {
  test('there are as many as were captured', () => {
    expect(vectors).toHaveLength(2 * Object.keys(made).length);
  });

  test.each(vectors)('$label is in every field what Celery writes', async ({ name, decoded }) => {
    const ours = await sentHere(name);
    expect(shown(ours)).toEqual(shown(expected(sentByCelery(decoded), name)));
  });
});
