import { describe, expect, test } from 'vitest';
import {
  type AsyncResult,
  MaxRetriesExceededError,
  NonRetryableError,
  RetryAfter,
  type RetryOptions,
  Snooze,
  type TaskRequest,
} from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

class Busy extends Error {
  override name = 'Busy';
}

/** A task that notes its request, and retries once as told. */
function retrying(play: Playground, retry: RetryOptions) {
  const requests: TaskRequest[] = [];
  const task = play.app.task(
    'tasks.again',
    { bind: true, defaultRetryDelay: 0, params: ['x?', 'y?', 'deep?'] },
    (self, ..._args: readonly unknown[]) => {
      requests.push(self.request);
      if (requests.length === 1) throw self.retry(retry);
      return [...self.request.args];
    },
  );
  return { task, requests };
}

const value = <T>(result: AsyncResult<T>) => result.get({ timeout: 5 });

describe('self.retry()', () => {
  test('keeps the request: id, root, group, headers, queue, priority, expiry; and counts', async () => {
    await using play = new Playground({}, { queues: ['slow'] });
    const { task, requests } = retrying(play, {});
    await play.work();
    const call = { queue: 'slow', priority: 3, headers: { tenant: 'a' }, expires: 60 };
    const result = await task.applyAsync([1, 2], call);
    expect(await value(result)).toEqual([1, 2]);
    const [first, second] = requests;
    const same = ({ id, rootId, groupId, headers, queue, priority, expires, args, kwargs }: TaskRequest) => {
      return { id, rootId, groupId, headers, queue, priority, expires, args, kwargs };
    };
    expect(first && second && same(second)).toEqual(first && same(first));
    expect([second?.id, second?.parentId, second?.retries, second?.headers]).toEqual([
      result.id,
      result.id,
      1,
      { tenant: 'a' },
    ]);
  });

  test('runs with what it is given in place of what the message had', async () => {
    await using play = new Playground({}, { queues: ['celery', 'other'] });
    const later = new Date(Date.now() + 3_600_000);
    const { task, requests } = retrying(play, {
      args: [7],
      kwargs: { deep: true },
      queue: 'other',
      priority: 6,
      expires: later,
      headers: { tenant: 'b' },
      countdown: 0,
    });
    await play.work();
    await value(await task.applyAsync([1, 2], { priority: 3, headers: { tenant: 'a' } }));
    expect(requests[1]).toMatchObject({
      args: [7],
      kwargs: { deep: true },
      queue: 'other',
      priority: 6,
      expires: later,
      headers: { tenant: 'b' },
      retries: 1,
    });
  });

  test('may change what follows the task', async () => {
    await using play = new Playground();
    const linked: unknown[] = [];
    const note = play.app.task('tasks.note', (given: unknown) => void linked.push(given));
    const { task } = retrying(play, { link: note.s(), args: [] });
    await play.work();
    await value(await task.delay('x'));
    await until(() => linked.length > 0);
    expect(linked).toEqual([[]]);
  });

  test('with other arguments, shows those and not the ones before', async () => {
    await using play = new Playground();
    const { task } = retrying(play, { args: ['new'], queue: 'elsewhere' });
    await play.work();
    await task.applyAsync(['old'], { argsRepr: "('secret',)" });
    const broker = await play.app.broker();
    await until(async () => ((await broker.countMany(['elsewhere']))[0]?.ready ?? 0) > 0);
    const consumer = await broker.consume(['elsewhere']);
    const [delivery] = await consumer.receive(1, 1000, new AbortController().signal);
    expect(delivery?.message.headers).toMatchObject({ argsrepr: "('new',)", retries: 1 });
    await consumer.close();
  });

  test('with throw: false, this run ends as it will and the task runs once more besides', async () => {
    await using play = new Playground();
    const runs: number[] = [];
    const task = play.app.task('tasks.twice', { bind: true }, (self) => {
      runs.push(self.request.retries);
      if (self.request.retries === 0) self.retry({ throw: false, countdown: 0 });
      return self.request.retries;
    });
    await play.work();
    const result = await task.delay();
    await until(() => runs.length === 2);
    // As in Celery, a success stays.
    expect(await value(result)).toBe(0);
    expect(runs).toEqual([0, 1]);
  });

  test('with throw: false in a hook, runs the task once more too', async () => {
    await using play = new Playground({}, { queues: ['celery', 'second'] });
    const queues: string[] = [];
    const task = play.app.task(
      'tasks.elsewhere',
      {
        bind: true,
        onFailure: (self) => void self.retry({ throw: false, queue: 'second', countdown: 0 }),
      },
      (self) => {
        queues.push(self.request.queue);
        if (queues.length === 1) throw new Busy('not here');
      },
    );
    await play.work();
    await task.delay();
    await until(() => queues.length === 2);
    expect(queues).toEqual(['celery', 'second']);
  });

  test('holds its maxRetries for an automatic retry too', async () => {
    await using play = new Playground();
    let runs = 0;
    const options = { bind: true, autoretryFor: [Busy], maxRetries: 9, defaultRetryDelay: 0 } as const;
    const task = play.app.task('tasks.limited', options, (self) => {
      runs += 1;
      throw self.retry({ error: new Busy('no'), maxRetries: 1 });
    });
    await play.work();
    await expect(value(await task.delay())).rejects.toThrow('no');
    expect(runs).toBe(2);
  });

  test.each([
    [{ countdown: -1 }, /option 'countdown' of self.retry: expected a number of seconds from 0 up, got -1/],
    [{ eta: new Date(Number.NaN) }, /option 'eta' of self.retry/],
    [{ countdown: 1, eta: new Date() }, /either countdown or eta/],
    [{ max_retries: 3 }, /no option 'max_retries'; did you mean 'maxRetries'/],
    [{ args: 'x' }, /expected a list, got "x"/],
  ])('refuses %j: the task fails with what was wrong', async (options, message) => {
    await using play = new Playground();
    const { task } = retrying(play, options as RetryOptions);
    await play.work();
    await expect(value(await task.delay())).rejects.toThrow(message);
  });
});

describe('automatic retries', () => {
  test('are as retryKwargs says', async () => {
    await using play = new Playground({}, { queues: ['celery', 'slow'] });
    const queues: string[] = [];
    const options = {
      bind: true,
      autoretryFor: [Busy],
      retryKwargs: { maxRetries: 2, countdown: 0, queue: 'slow' },
    } as const;
    const task = play.app.task('tasks.auto', options, (self) => {
      queues.push(self.request.queue);
      throw new Busy('still');
    });
    await play.work();
    await expect(value(await task.delay())).rejects.toThrow('still');
    expect(queues).toEqual(['celery', 'slow', 'slow']);
  });

  test('are not for NonRetryableError, nor for what dontAutoretryFor names', async () => {
    await using play = new Playground();
    let runs = 0;
    const options = { autoretryFor: [Error], dontAutoretryFor: [Busy], defaultRetryDelay: 0 };
    const task = play.app.task('tasks.never', options, (busy: boolean) => {
      runs += 1;
      throw busy ? new Busy('busy') : new NonRetryableError('no such customer', { cause: new Error('404') });
    });
    await play.work();
    await expect(value(await task.delay(false))).rejects.toThrow('no such customer');
    await expect(value(await task.delay(true))).rejects.toThrow('busy');
    expect(runs).toBe(2);
  });
});

describe('RetryAfter', () => {
  test('retries the task at its time, and counts; then the task fails with its cause', async () => {
    await using play = new Playground();
    const runs: number[] = [];
    const task = play.app.task('tasks.limited', { bind: true, maxRetries: 2 }, (self) => {
      runs.push(self.request.retries);
      throw new RetryAfter(0, { cause: new Busy('429') });
    });
    await play.work();
    await expect(value(await task.delay())).rejects.toThrow('429');
    expect(runs).toEqual([0, 1, 2]);
  });

  test('without a cause, ends in MaxRetriesExceededError', async () => {
    await using play = new Playground();
    const task = play.app.task('tasks.limited', { maxRetries: 0 }, () => {
      throw new RetryAfter(5);
    });
    await play.work();
    await expect(value(await task.delay())).rejects.toThrow(MaxRetriesExceededError);
  });

  test('takes seconds, a Date, and the text of the HTTP header', () => {
    const near = (dueAt: number, ms: number) => expect(Math.abs(dueAt - Date.now() - ms)).toBeLessThan(1000);
    near(new RetryAfter(30).dueAt, 30_000);
    near(new RetryAfter('120').dueAt, 120_000);
    expect(new RetryAfter('Wed, 21 Oct 2026 07:28:00 GMT').dueAt).toBe(Date.UTC(2026, 9, 21, 7, 28));
    expect(new RetryAfter(new Date(5)).dueAt).toBe(5);
    for (const wrong of [-1, Number.NaN, 'soon', new Date('x'), Number.POSITIVE_INFINITY])
      expect(() => new RetryAfter(wrong)).toThrow(/expected 0 or more seconds, or a Date, got/);
  });
});

describe('snooze', () => {
  test.each(['self.snooze', 'new Snooze'])('%s brings the task back, and counts as no retry', async (how) => {
    await using play = new Playground();
    const runs: number[] = [];
    const task = play.app.task('tasks.poll', { bind: true, maxRetries: 0 }, (self) => {
      runs.push(self.request.retries);
      if (runs.length < 9) throw how === 'self.snooze' ? self.snooze(0) : new Snooze(0);
      return 'ready';
    });
    await play.work();
    const result = await task.delay();
    expect(await value(result)).toBe('ready');
    // More often than taskMaxDeliveries: a snooze is no delivery that failed either.
    expect(runs).toEqual(Array.from({ length: 9 }, () => 0));
  });

  test('a task that is acked early comes back too', async () => {
    await using play = new Playground();
    let runs = 0;
    const task = play.app.task('tasks.early', { bind: true, acksLate: false }, (self) => {
      runs += 1;
      if (runs === 1) throw self.snooze(0);
      return runs;
    });
    await play.work();
    expect(await value(await task.delay())).toBe(2);
  });

  test('until its time the task is in the broker, not in the worker', async () => {
    await using play = new Playground();
    const task = play.app.task('tasks.later', { bind: true }, (self) => {
      throw self.snooze(3600);
    });
    await play.work();
    const result = await task.delay();
    const broker = await play.app.broker();
    await until(async () => (await broker.countMany(['celery']))[0]?.delayed === 1);
    await until(async () => (await result.state) === 'RETRY');
  });
});
