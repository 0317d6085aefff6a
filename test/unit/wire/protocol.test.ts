import { describe, expect, test } from 'vitest';
import { ConfigError, ContentDisallowedError, DecodeError, SerializationError } from '../../../src/errors.ts';
import type { WireMessage } from '../../../src/wire/message.ts';
import { decodeTask, encodeTask, peekTaskId } from '../../../src/wire/protocol.ts';
import { acceptList } from '../../../src/wire/serializers.ts';
import type { TaskMessage } from '../../../src/wire/task-message.ts';

const ACCEPT = acceptList(['json']);
const MINIMAL: TaskMessage = {
  task: 'tasks.add',
  id: 'id-1',
  args: [2, 3],
  kwargs: {},
  lang: 'ts',
  retries: 0,
  rootId: 'id-1',
  ignoreResult: false,
  replacedTaskNesting: 0,
  headers: {},
  replyTo: '',
  priority: 0,
};
const SIGNATURE = { task: 't', args: [1], kwargs: {}, options: {}, subtask_type: null, immutable: true, chord_size: 2 };
const FULL: TaskMessage = {
  ...MINIMAL,
  kwargs: { k: [null] },
  eta: Date.UTC(2031, 0, 2),
  expires: Date.UTC(2031, 0, 3, 4, 5, 6, 789),
  retries: 2,
  rootId: 'root',
  parentId: 'parent',
  groupId: 'group',
  groupIndex: 7,
  shadow: 'alias',
  timeLimit: 30,
  softTimeLimit: 20.5,
  ignoreResult: true,
  argsRepr: '(***)',
  kwargsRepr: '{***}',
  origin: 'gen1@host',
  replacedTaskNesting: 1,
  stampedHeaders: ['s'],
  stamps: { s: [1] },
  link: [SIGNATURE],
  linkError: [SIGNATURE],
  chain: [SIGNATURE, SIGNATURE],
  chord: SIGNATURE,
  headers: { 'x-my': 'v' },
  replyTo: 'reply',
  priority: 9,
};

const message = (headers: object, payload: unknown, properties = {}): WireMessage => ({
  body: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: headers as WireMessage['headers'],
  properties,
});
const decode = (wire: WireMessage): Promise<TaskMessage> => decodeTask(wire, { accept: ACCEPT });

describe('encodeTask', () => {
  test('writes every header of protocol 2', () => {
    const wire = encodeTask(MINIMAL, { serializer: 'json' });
    expect(wire.headers).toEqual({
      ...{ lang: 'ts', task: 'tasks.add', id: 'id-1', shadow: null, eta: null, expires: null, group: null },
      ...{ group_index: null, retries: 0, timelimit: [null, null], root_id: 'id-1', parent_id: null },
      ...{ argsrepr: '(2, 3)', kwargsrepr: '{}', origin: '', ignore_result: false, replaced_task_nesting: 0 },
      ...{ stamped_headers: null, stamps: {} },
    });
    expect(wire.properties).toEqual({ correlation_id: 'id-1', reply_to: '', delivery_mode: 2, priority: 0 });
    const embed = { callbacks: null, errbacks: null, chain: null, chord: null };
    expect(JSON.parse(Buffer.from(wire.body).toString())).toEqual([[2, 3], {}, embed]);
  });

  test('writes instants as aware UTC, and the hard limit before the soft one', () => {
    const { headers } = encodeTask(FULL, { serializer: 'json' });
    expect(headers.eta).toBe('2031-01-02T00:00:00+00:00');
    expect(headers.expires).toBe('2031-01-03T04:05:06.789000+00:00');
    expect(headers.timelimit).toEqual([30, 20.5]);
    expect(headers['x-my']).toBe('v');
  });

  test('the lifetime of the message ends with the task, and is never negative', () => {
    const lifetime = (options: object): unknown =>
      encodeTask(FULL, { serializer: 'json', ...options }).properties.expiration;
    expect(lifetime({ now: Date.UTC(2031, 0, 3, 4, 5, 6, 0) })).toBe('789');
    expect(lifetime({ now: Date.UTC(2032, 0, 1) })).toBe('0');
    expect(lifetime({ expirationMs: 60_000 })).toBe('60000');
  });

  test('what is written is read back the same, compressed or not', async () => {
    for (const compression of [{}, { compression: 'zlib' }, { compression: 'zstd' }]) {
      expect(await decode(encodeTask(FULL, { serializer: 'json', ...compression }))).toEqual({ ...FULL });
    }
    expect(await decode(encodeTask(MINIMAL, { serializer: 'json' }))).toMatchObject(MINIMAL);
  });

  test.each(['task', 'id', 'stamps', 'compression', 'redelivered', 'argsrepr'])(
    'a custom header %s is refused',
    (name) => {
      const encode = (): unknown => encodeTask({ ...MINIMAL, headers: { [name]: 1 } }, { serializer: 'json' });
      expect(encode).toThrow(ConfigError);
      expect(encode).toThrow(new RegExp(`"${name}" of tasks.add is one of Celery's own`));
    },
  );

  test('an argument that cannot be sent is named by its place', () => {
    const encode = (task: object): unknown => encodeTask({ ...MINIMAL, ...task }, { serializer: 'json' });
    expect(() => encode({ args: [1, { user: { friends: [0, 1, new Set()] } }] })).toThrow(
      'args[1].user.friends[2]: it is a Set',
    );
    expect(() => encode({ kwargs: { when: new Date(Number.NaN) } })).toThrow('kwargs.when: it is an invalid Date');
    expect(() => encode({ eta: Number.NaN })).toThrow(SerializationError);
    expect(() => encode({ eta: 1e18 })).toThrow(/eta: expected epoch milliseconds in the years 1 to 9999/);
  });

  test('jsonTags: false writes dates for kombu 5.2', () => {
    const { body } = encodeTask({ ...MINIMAL, args: [new Date(0)] }, { serializer: 'json', jsonTags: false });
    expect(Buffer.from(body).toString()).toContain('[["1970-01-01T00:00:00Z"],');
  });
});

describe('decodeTask', () => {
  const body = [[], {}, {}];

  test('needs a task, an id and a body only', async () => {
    expect(await decode(message({ task: 't', id: 'i' }, [[1], null, null]))).toEqual({
      ...{ task: 't', id: 'i', args: [1], kwargs: {}, lang: 'py', retries: 0, rootId: 'i', ignoreResult: false },
      ...{ replacedTaskNesting: 0, headers: {}, replyTo: '', priority: 0 },
    });
  });

  test('tolerates embed keys and properties that it does not know', async () => {
    const task = await decode(
      message({ task: 't', id: 'i' }, [[], {}, { future: 1, callbacks: { task: 'cb' } }], { later: 1 }),
    );
    const callback = { task: 'cb', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    expect(task.link).toEqual([callback]);
  });

  test('takes times without an offset as UTC', async () => {
    const task = await decode(
      message({ task: 't', id: 'i', eta: '2031-01-02T03:04:05.678901', expires: '2031-01-02T03:04:05-01:30' }, body),
    );
    expect(task.eta).toBe(Date.UTC(2031, 0, 2, 3, 4, 5, 678));
    expect(task.expires).toBe(Date.UTC(2031, 0, 2, 4, 34, 5));
  });

  test('reads the hybrid of protocols 1 and 2, the headers winning', async () => {
    const payload = {
      task: 'old',
      id: 'old',
      args: [1],
      kwargs: { k: 2 },
      retries: 4,
      utc: true,
      callbacks: [SIGNATURE],
      chord: null,
    };
    const task = await decode(message({ task: 't', id: 'i', mine: 1 }, payload));
    expect(task).toMatchObject({
      task: 't',
      id: 'i',
      args: [1],
      kwargs: { k: 2 },
      retries: 4,
      headers: { mine: 1 },
      link: [SIGNATURE],
    });
  });

  test('reads protocol 1 without most keys', async () => {
    const task = await decode(message({}, { task: 't', id: 'i', taskset: 'g', timelimit: [3, null] }));
    expect(task).toMatchObject({
      task: 't',
      id: 'i',
      args: [],
      kwargs: {},
      groupId: 'g',
      timeLimit: 3,
      rootId: 'i',
      headers: {},
    });
    expect(task.softTimeLimit).toBeUndefined();
  });

  test("headers of a restored message are not the sender's own", async () => {
    expect((await decode(message({ task: 't', id: 'i', redelivered: true, mine: 1 }, body))).headers).toEqual({
      mine: 1,
    });
  });

  test.each<[string, object, unknown, RegExp]>([
    ['no task', { id: 'i' }, body, /Not a task message: expected a header "task"/],
    ['a body that is no task', {}, { hello: 1 }, /Not a task message.*got \{'hello': 1\}/],
    ['a task that is no text', { task: 1, id: 'i' }, body, /expected task to be a text that is not empty, got 1/],
    ['a missing id', { task: 't' }, body, /expected id to be a text that is not empty, got None/],
    ['an empty id', { task: 't', id: '' }, body, /expected id to be a text/],
    [
      'a body that is no triple',
      { task: 't', id: 'i' },
      [[], {}],
      /task 't': expected \[args, kwargs, embed\], got \[\[\], \{\}\]/,
    ],
    ['a body that is a text', { task: 't', id: 'i' }, '"x"', /expected \[args, kwargs, embed\], got 'x'/],
    ['args that are no list', { task: 't', id: 'i' }, [{ a: 1 }, {}, {}], /expected args to be a list, got \{'a': 1\}/],
    ['kwargs that are no map', { task: 't', id: 'i' }, [[], [1], {}], /expected kwargs to be a map, got \[1\]/],
    ['an embed that is no map', { task: 't', id: 'i' }, [[], {}, 'x'], /expected embed to be a map/],
    [
      'a bad eta',
      { task: 't', id: 'i', eta: 'tomorrow' },
      body,
      /expected eta to be an ISO time such as .*, got 'tomorrow'/,
    ],
    ['an eta that is a number', { task: 't', id: 'i', eta: 5 }, body, /expected eta to be an ISO time/],
    ['bad expires', { task: 't', id: 'i', expires: '2031-02-31T00:00:00' }, body, /expected expires to be an ISO time/],
    ['bad retries', { task: 't', id: 'i', retries: 'x' }, body, /expected retries to be a number or null/],
    ['a bad timelimit', { task: 't', id: 'i', timelimit: 5 }, body, /expected timelimit to be \[hard, soft\]/],
    ['a bad soft limit', { task: 't', id: 'i', timelimit: [1, 'x'] }, body, /expected timelimit\[1\] to be a number/],
    [
      'a bad link',
      { task: 't', id: 'i' },
      [[], {}, { callbacks: [{ task: 't' }, 5] }],
      /callbacks\[1\] to be a signature/,
    ],
    ['a bad chain', { task: 't', id: 'i' }, [[], {}, { chain: 'x' }], /chain to be a list of signatures/],
    [
      'a signature with bad args',
      { task: 't', id: 'i' },
      [[], {}, { chord: { task: 't', args: 1 } }],
      /chord\.args to be a list/,
    ],
    ['malformed JSON', { task: 't', id: 'i' }, '[[], {}', /Malformed JSON/],
    ['an unknown compression', { task: 't', id: 'i', compression: 'x/y' }, body, /Unknown compression "x\/y"/],
    [
      'a body that is not compressed',
      { task: 't', id: 'i', compression: 'application/x-gzip' },
      body,
      /Expected zlib data/,
    ],
  ])('refuses %s', async (_name, headers, payload, expected) => {
    await expect(decode(message(headers, payload))).rejects.toThrow(DecodeError);
    await expect(decode(message(headers, payload))).rejects.toThrow(expected);
  });

  test('a content type is refused before the body is unpacked', async () => {
    const wire = { ...message({ task: 't', id: 'i', compression: 'x/y' }, body), contentType: 'application/x-yaml' };
    await expect(decode(wire)).rejects.toThrow(ContentDisallowedError);
  });

  test('a body that unpacks to more than maxBytes is refused', async () => {
    const wire = encodeTask({ ...MINIMAL, args: ['x'.repeat(10_000)] }, { serializer: 'json', compression: 'zlib' });
    await expect(decodeTask(wire, { accept: ACCEPT, maxBytes: 1000 })).rejects.toThrow(/at most 1000 bytes/);
  });
});

test('peekTaskId finds what it can without the body', () => {
  expect(peekTaskId(message({ task: 't', id: 'i' }, 'broken'))).toEqual({ task: 't', id: 'i' });
  expect(peekTaskId(message({}, 'broken', { correlation_id: 'c' }))).toEqual({ id: 'c' });
  expect(peekTaskId(message({ id: 5 }, 'broken'))).toEqual({});
});
