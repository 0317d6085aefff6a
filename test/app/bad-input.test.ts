import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  ConfigError,
  fromCelerySettings,
  Lovage,
  MessageTooLargeError,
  NotSupportedError,
  SerializationError,
  TaskRegistryError,
  type WireMessage,
} from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const id = '11111111-1111-4111-8111-111111111111';
const body = (value: unknown) => Buffer.from(JSON.stringify(value));
const app = (options: object) => new Lovage('x', { logger: quiet, ...options });
const embed = { callbacks: null, errbacks: null, chain: null, chord: null };

function message(change: Partial<WireMessage> = {}, headers: Record<string, unknown> = {}): WireMessage {
  return {
    body: body([[1, 2], {}, embed]),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { lang: 'py', task: 'tasks.add', id, ...headers },
    properties: { correlation_id: id },
    ...change,
  };
}

/** What can come in, and what its caller and the operator are told. */
const bad: readonly (readonly [name: string, message: WireMessage, told: RegExp])[] = [
  ['malformed JSON', message({ body: Buffer.from('[[1, 2], {"a":') }), /JSON/],
  ['bytes that are no UTF-8', message({ body: Buffer.from([0xff, 0xfe, 0x00]) }), /UTF-8/i],
  ['an empty body', message({ body: new Uint8Array() }), /JSON|empty/],
  ['arguments that are no list', message({ body: body([{ x: 1 }, {}, embed]) }), /args.*list/],
  ['keyword arguments that are no map', message({ body: body([[], [1], embed]) }), /kwargs/],
  ['a body that is no triple', message({ body: body({ hello: 1 }) }), /expected/i],
  [
    'a content type that is not accepted',
    message({ contentType: 'application/x-yaml', body: Buffer.from('- [1]\n- {}\n- {}\n') }),
    /application\/x-yaml.*application\/json/s,
  ],
  [
    'pickle',
    message({ contentType: 'application/x-python-serialize', contentEncoding: 'binary' }),
    /pickle.*task_serializer/is,
  ],
  ['an unknown compression', message({}, { compression: 'application/x-rot13' }), /rot13/],
  ['compressed bytes that are none', message({}, { compression: 'application/x-gzip' }), /zlib data.*incorrect header/],
  ['an ETA that is no time', message({}, { eta: 'tomorrow' }), /eta/],
  ['a task that nobody has', message({}, { task: 'tasks.ad' }), /no task 'tasks.ad' \(did you mean 'tasks.add'\?\)/],
];

describe('messages that cannot be run', () => {
  test.each(bad)(
    '%s: parked with the reason, its caller is told, and the worker goes on',
    async (_name, wire, told) => {
      await using play = new Playground();
      const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
      const broker = await play.app.broker();
      await broker.publishMany([{ queue: 'celery', message: wire }]);
      const good = await add.delay(20, 22);
      await play.work();
      expect(await good.get({ timeout: 5 })).toBe(42);
      await expect(play.app.result(id).get({ timeout: 5 })).rejects.toThrow(told);
      const [letter] = await until(async () => {
        const letters = await broker.deadLetters.list();
        return letters.length > 0 && letters;
      });
      expect(letter?.reason).toMatch(told);
      expect(Buffer.from(letter?.message.body ?? []).equals(Buffer.from(wire.body))).toBe(true);
    },
  );

  test('a message without id or task is parked too', async () => {
    await using play = new Playground();
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    const broker = await play.app.broker();
    await broker.publishMany([{ queue: 'celery', message: { ...message(), headers: {}, properties: {} } }]);
    await play.work();
    await until(async () => (await broker.deadLetters.list()).length === 1);
    expect(await (await add.delay(1, 1)).get({ timeout: 5 })).toBe(2);
  });

  test('a dead letter can be sent again once its task exists', async () => {
    await using play = new Playground();
    const broker = await play.app.broker();
    await broker.publishMany([{ queue: 'celery', message: message({}, { task: 'tasks.new' }) }]);
    await play.work();
    const [letter] = await until(async () => {
      const letters = await broker.deadLetters.list();
      return letters.length > 0 && letters;
    });
    const ran = Promise.withResolvers<number>();
    play.app.task('tasks.new', (x: number, y: number) => ran.resolve(x + y));
    expect(await broker.deadLetters.retryMany([letter?.id ?? ''])).toBe(1);
    expect(await ran.promise).toBe(3);
  });
});

describe('values that cannot be sent', () => {
  const circular: { self?: unknown } = {};
  circular.self = circular;

  test.each([
    ['a BigInt that would come back as a number', 5n, /BigInt|bigint/],
    ['a circular object', circular, /circular/],
    ['a function', () => 1, /function/],
    ['a Map', new Map([[1, 2]]), /Map/],
    ['an invalid Date', new Date(Number.NaN), /date/i],
  ])('as an argument: %s is refused before anything is sent', async (_name, value, told) => {
    await using play = new Playground();
    const echo = play.app.task('tasks.echo', (v: unknown) => v);
    await expect(echo.delay(value)).rejects.toThrow(SerializationError);
    await expect(echo.delay(value)).rejects.toThrow(told);
    expect((await (await play.app.broker()).countMany(['celery']))[0]?.ready ?? 0).toBe(0);
  });

  test.each([
    ['a BigInt', () => 5n],
    ['a circular object', () => circular],
    ['a function', () => () => 1],
  ])('as a result: %s is the failure of its task, and the worker goes on', async (_name, make) => {
    await using play = new Playground();
    const bad = play.app.task('tasks.bad', make as () => unknown);
    const add = play.app.task('tasks.add', (x: number, y: number) => x + y);
    await play.work();
    await expect((await bad.delay()).get({ timeout: 5 })).rejects.toThrow(SerializationError);
    expect(await (await add.delay(1, 1)).get({ timeout: 5 })).toBe(2);
  });

  test('an error with arguments that cannot be written is stored all the same', async () => {
    await using play = new Playground();
    const bad = play.app.task('tasks.bad', () => {
      throw Object.assign(new Error('odd'), { cause: circular, extra: 5n });
    });
    await play.work();
    await expect((await bad.delay()).get({ timeout: 5 })).rejects.toThrow('odd');
  });

  test('a message over the size limit names its size, the limit and a way out', async () => {
    await using play = new Playground({ maxMessageBytes: 2048 });
    const echo = play.app.task('tasks.echo', (v: string) => v);
    await expect(echo.delay('x'.repeat(3000))).rejects.toThrow(MessageTooLargeError);
    await expect(echo.delay('x'.repeat(3000))).rejects.toThrow(/has 30\d\d bytes, the limit is 2048.*reference/);
  });
});

describe('options that are wrong', () => {
  const play = () => app({ broker: 'memory://options' });

  test.each<[string, () => unknown, RegExp]>([
    ['an unknown option', () => app({ brocker: 'x' }), /has no option 'brocker'; did you mean 'broker'/],
    ['a wrong type', () => app({ resultExpires: '1d' }), /'resultExpires'.*expected a number of seconds.*got "1d"/],
    ['an unknown pool', () => app({ workerPool: 'prefork' }), /'workerPool'.*async/],
    ['no name', () => new Lovage(''), /needs a name/],
    [
      'an unknown task option',
      () => play().task('a', { maxRetry: 1 } as never, () => 1),
      /task 'a' has no option 'maxRetry'; did you mean 'maxRetries'/,
    ],
    ['a task that is no function', () => play().task('a', {}, 5 as never), /expected a function last, got number/],
  ])('%s', (_name, make, told) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(told);
  });

  test('a task option of a later version is refused, not ignored', () => {
    expect(() => play().task('a', { trail: true } as never, () => 1)).toThrow(NotSupportedError);
  });

  test('two tasks of one name', () => {
    const one = play();
    one.task('a', () => 1);
    expect(() => one.task('a', () => 2)).toThrow(TaskRegistryError);
  });

  test.each<[string, object, RegExp]>([
    ['an unknown option', { count_down: 5 }, /tasks.add has no option 'count_down'; did you mean 'countdown'/],
    ['a negative countdown', { countdown: -1 }, /'countdown'.*from 0 up, got -1/],
    ['countdown and eta', { countdown: 1, eta: new Date() }, /either countdown or eta/],
    ['a priority out of range', { priority: 10 }, /'priority'.*0 to 9, got 10/],
    ['a header of Celery', { headers: { task: 'other' } }, /task/],
  ])('of a call: %s', async (_name, options, told) => {
    await using here = new Playground();
    await expect(here.app.sendTask('tasks.add', [1, 2], options)).rejects.toThrow(told);
  });

  test('arguments that are no list', async () => {
    await using here = new Playground();
    await expect(here.app.sendTask('tasks.add', 'ab' as never)).rejects.toThrow(/expected a list, got string/);
  });

  test.each([
    ['redis2://x', /no broker for 'redis2:\/\/x'/],
    ['sqlit:///tmp/x.db', /did you mean 'sqlite:\/\/'/],
    ['just a word', /expected a URL/],
    ['amqq://user:secret@host', /amqq:\/\/user:\*\*@host/],
  ])('the broker URL %s', async (broker, told) => {
    await expect(app({ broker }).broker()).rejects.toThrow(told);
    await expect(app({ broker }).broker()).rejects.not.toThrow(/secret/);
  });

  test('an unknown option in a URL suggests the nearest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lovage-'));
    await expect(app({ broker: `sqlite://${folder}/x.db?visibilityTimout=5` }).broker()).rejects.toThrow(
      /visibilityTimout.*visibilityTimeout/,
    );
    rmSync(folder, { recursive: true });
  });

  test('asking for results where none are kept', async () => {
    await using here = new Playground({ backend: false });
    const result = await here.app.sendTask('tasks.add', [1, 2]);
    await expect(result.get()).rejects.toThrow(/keeps no results/);
  });
});

describe('settings from elsewhere', () => {
  test("Celery's settings become options; those without a meaning are told, unknown ones refused", () => {
    const { options, warnings } = fromCelerySettings({
      broker_url: 'sqlite:///x.db',
      result_backend: 'disabled',
      task_default_queue: 'main',
      CELERYD_CONCURRENCY: 3,
      cassandra_table: 'x',
    });
    expect(options).toEqual({
      broker: 'sqlite:///x.db',
      backend: false,
      taskDefaultQueue: 'main',
      workerConcurrency: 3,
    });
    expect(warnings).toEqual([expect.stringContaining("'cassandra_table' is ignored")]);
    expect(() => fromCelerySettings({ broker_uri: 'x' })).toThrow(/no setting 'broker_uri'; did you mean 'broker_url'/);
  });

  test('those of a result backend on AWS become options of its driver, where it is that one', () => {
    const settings = { s3_bucket: 'results', s3_base_path: 'shop/', dynamodb_endpoint_url: 'http://localhost:8000' };
    const s3 = fromCelerySettings({ result_backend: 's3://', ...settings });
    expect(s3.options.resultBackendTransportOptions).toEqual({ bucket: 'results', basePath: 'shop/' });
    expect(s3.warnings).toEqual([expect.stringContaining('dynamodb_endpoint_url')]);
    const dynamodb = fromCelerySettings({ result_backend: 'dynamodb://@eu-west-1/results', ...settings });
    expect(dynamodb.options.resultBackendTransportOptions).toEqual({ endpointUrl: 'http://localhost:8000' });
    const saved = { ...process.env };
    try {
      Object.assign(process.env, { CELERY_RESULT_BACKEND: 's3://', CELERY_S3_BUCKET: 'results' });
      expect(app({}).config).toMatchObject({ backend: 's3://', resultBackendTransportOptions: { bucket: 'results' } });
    } finally {
      process.env = saved;
    }
  });

  test('the environment sets options, code wins over it, and a wrong value is named', () => {
    const saved = { ...process.env };
    try {
      process.env.CELERY_BROKER_URL = 'memory://env';
      process.env.CELERY_TASK_DEFAULT_QUEUE = 'env';
      process.env.CELERY_WORKER_CONCURRENCY = '7';
      expect(app({}).config).toMatchObject({ broker: 'memory://env', taskDefaultQueue: 'env', workerConcurrency: 7 });
      expect(app({ taskDefaultQueue: 'code' }).config.taskDefaultQueue).toBe('code');
      process.env.CELERY_WORKER_CONCURRENCY = 'many';
      expect(() => app({})).toThrow(/CELERY_WORKER_CONCURRENCY: expected a whole number.*got "many"/);
    } finally {
      process.env = saved;
    }
  });
});
