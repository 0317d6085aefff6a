import { describe, expect, test } from 'vitest';
import { kill, until, Workplace } from '../support/workplace.ts';

const env = { TEST_BLOCK_WARNING: '0.4', TEST_CONCURRENCY: '4' };

describe('a task that blocks the event loop of its worker', () => {
  test('is named in a warning with its id and for how long, when the loop turns again', async () => {
    await using place = new Workplace();
    await place.worker(env);
    await place.app.sendTask('tasks.nap', ['polite', 3_000]);
    await until(() => place.notes().includes('begin polite'));
    const { id } = await place.app.sendTask('tasks.block', ['rude', 1_500]);
    const [, seconds, rest] = await until(
      () => /the event loop stood still for ([\d.]+) s (in the task tasks\.block.*)/.exec(place.log) ?? false,
    );
    expect(rest).toBe(
      `in the task tasks.block[${id}], which computes without pause. Give it pool: 'threads' or 'processes'`,
    );
    expect(Number(seconds)).toBeGreaterThan(1.1);
    expect(place.log).not.toContain('has been standing still');
  });

  test('is among those that are named where it has waited before', async () => {
    await using place = new Workplace();
    await place.worker(env);
    const nap = await place.app.sendTask('tasks.nap', ['polite', 4_000]);
    await until(() => place.notes().includes('begin polite'));
    const rude = await place.app.sendTask('tasks.blockLater', ['rude', 1_500]);
    await until(() => /stood still .*tasks\.blockLater/.test(place.log));
    expect(place.log).toContain(
      ` s in one of the tasks tasks.nap[${nap.id}], tasks.blockLater[${rude.id}], which computes without pause`,
    );
  });

  test('is named while it blocks, too, since it may never return', async () => {
    await using place = new Workplace();
    const worker = await place.worker(env);
    const { id } = await place.app.sendTask('tasks.block', ['endless', 1e9]);
    await until(() => place.log.split('has been standing still').length > 2);
    const [, seconds, rest] =
      /WARNING\] celery@\S+: the event loop has been standing still for (\d+) s (.*)/.exec(place.log) ?? [];
    expect(Number(seconds)).toBe(2);
    expect(rest).toBe(
      `in the task tasks.block[${id}], which computes without pause. A time limit cannot end it there: give such tasks pool: 'threads' or 'processes'`,
    );
    await kill(worker);
  });

  test('nothing is said of tasks that only take long', async () => {
    await using place = new Workplace();
    await place.worker({ ...env, TEST_BLOCK_WARNING: '2' });
    const results = await place.app.sendMany('tasks.nap', [
      ['a', 3_000],
      ['b', 3_000],
    ]);
    await Promise.all(results.map((result) => result.get({ timeout: 10 })));
    expect(place.log).toBe('');
  });
});
