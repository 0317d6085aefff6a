/**
 * Messages and results as Celery 5.2 and Celery 5.6 write them, captured in test/vectors: the Celery that Debian has, and
 * that the other interop tests run, is 5.2.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/workplace.ts';
import { loadVectors } from '../unit/wire/vectors.ts';
import { Pair } from './pair.ts';

let pair: Pair;
/** Hears the arguments of the next run. */
let heard: (args: readonly unknown[]) => void;

beforeAll(async () => {
  pair = await Pair.start();
  for (const name of ['cap.echo', 'cap.add']) pair.app.task(name, (...args: readonly unknown[]) => heard(args));
  await pair.typescriptWorker({ queues: ['celery'] });
});
afterAll(() => pair[Symbol.asyncDispose]());

function raw<T>(label: string): T {
  const vector = loadVectors('').find((one) => one.label === label);
  if (!vector) throw new Error(`there is no vector ${label}`);
  return vector.raw as T;
}

/** Puts a captured message into the queue, as Celery did; the worker takes it from there. */
async function push(label: string): Promise<void> {
  const { celery = [] } = raw<{ celery: string[] }>(label);
  await pair.store.lpush('celery', ...celery);
}

async function argumentsOf(label: string): Promise<readonly unknown[]> {
  const run = Promise.withResolvers<readonly unknown[]>();
  heard = run.resolve;
  await push(label);
  return run.promise;
}

/** Puts a captured result into the store, as Celery did. */
async function resultOf(label: string): Promise<unknown> {
  const document = raw<string>(label);
  const [, id = ''] = /"task_id": "([^"]+)"/.exec(document) ?? [];
  await pair.store.setex(`celery-task-meta-${id}`, 60, document);
  return pair.app.result(id).get({ timeout: 5 });
}

describe('arguments', () => {
  const common = ['1.10', [1, 2], Number.NaN, Number.POSITIVE_INFINITY];
  const uuid = '00000000-0000-0000-0000-000000000005';

  test('of Celery 5.2: dates are ISO text', async () => {
    const [instant, ...rest] = await argumentsOf('task_json_types');
    expect(instant).toBe('2031-01-02T03:04:05.678901Z');
    expect(rest).toEqual(['2031-01-02T03:04:05.678901', '2031-01-02T00:00:00', '03:04:05', uuid, ...common]);
  });

  test('of Celery 5.6: instants are Dates', async () => {
    const [aware, naive, ...rest] = await argumentsOf('celery56/task_json_types');
    expect([aware, naive]).toEqual([new Date('2031-01-02T03:04:05.678Z'), new Date('2031-01-02T03:04:05.678Z')]);
    expect(rest).toEqual(['2031-01-02', '03:04:05', uuid, ...common]);
  });

  test('of Celery 5.6: bytes are a Uint8Array', async () => {
    expect(await argumentsOf('celery56/task_json_bytes')).toEqual([new Uint8Array([0x00, 0xff, 0x61, 0x62, 0x63])]);
  });
});

describe('results', () => {
  const common = {
    decimal: '1.10',
    float: 1.5,
    nan: Number.NaN,
    none: null,
    true: true,
    tuple: [1, 2],
    unicode: 'h\u00e9llo \u2603 \u{1F600}',
    uuid: '12345678-1234-5678-1234-567812345678',
    time: '03:04:05',
  };

  test('of Celery 5.2: dates are ISO text', async () => {
    expect(await resultOf('result_success_types')).toEqual({
      ...common,
      date: '2020-01-02T00:00:00',
      dt_naive: '2020-01-02T03:04:05',
      dt_utc: '2020-01-02T03:04:05.678901Z',
    });
  });

  test('of Celery 5.6: instants are Dates', async () => {
    expect(await resultOf('celery56/result_success_types')).toEqual({
      ...common,
      date: '2020-01-02',
      dt_naive: new Date('2020-01-02T03:04:05Z'),
      dt_utc: new Date('2020-01-02T03:04:05.678Z'),
    });
  });

  test.each(['result_failure', 'celery56/result_failure'])('%s: a failure is thrown', async (label) => {
    await expect(resultOf(label)).rejects.toMatchObject({ name: expect.any(String), type: 'ValueError' });
  });
});

describe('times', () => {
  test.each(['task_eta', 'celery56/task_eta'])('%s: a message for the year 2031 is parked', async (label) => {
    const broker = await pair.app.broker();
    const delayed = async () => (await broker.countMany(['celery']))[0]?.delayed ?? 0;
    const before = await delayed();
    await push(label);
    await until(async () => (await delayed()) === before + 1);
    expect((await broker.countMany(['celery']))[0]).toMatchObject({ ready: 0, inFlight: 0 });
  });

  test.each(['task_expires_datetime', 'celery56/task_expires_datetime'])(
    '%s: a message that expires in 2031 runs',
    async (label) => {
      expect(await argumentsOf(label)).toEqual([2, 3]);
    },
  );
});
