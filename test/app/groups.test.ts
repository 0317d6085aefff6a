import { describe, expect, test } from 'vitest';
import { ConfigError, GroupResult, group, Lovage, TimeoutError } from '../../src/index.ts';
import { Playground, quiet } from '../support/in-memory.ts';

function shop(play: Playground) {
  const { app } = play;
  return {
    add: app.task('tasks.add', (x: number, y: number) => x + y),
    greet: app.task('tasks.greet', (name: string) => `hello ${name}`),
    fail: app.task('tasks.fail', (): number => {
      throw new RangeError('no');
    }),
  };
}

const soon = { timeout: 5 };

describe('a group', () => {
  test('gives the results of its tasks in its own order, and knows when all are there', async () => {
    await using play = new Playground();
    const { add, greet } = shop(play);
    const result = await group([add.s(1, 1), greet.s('Ada'), add.s(2, 2)]).delay();
    expect(await result.ready()).toBe(false);
    expect(await result.completedCount()).toBe(0);
    await play.work();
    expect(await result.get(soon)).toEqual([2, 'hello Ada', 4]);
    expect(await result.results[1].get()).toBe('hello Ada');
    expect([await result.ready(), await result.successful(), await result.failed()]).toEqual([true, true, false]);
    expect(await result.completedCount()).toBe(3);
  });

  test('tells its tasks that they belong together', async () => {
    await using play = new Playground();
    const who = play.app.task('tasks.who', { bind: true }, ({ request }) => request.groupId);
    await play.work();
    const result = await group([who.s(), who.s()]).delay();
    expect(await result.get(soon)).toEqual([result.id, result.id]);
  });

  test('with a task that fails throws its error, though another one never ends', async () => {
    await using play = new Playground();
    const { add, fail } = shop(play);
    await play.work();
    const nobodys = add.s(1, 1).set({ queue: 'nobody' });
    const result = await group([fail.s(), nobodys]).delay();
    await expect(result.get(soon)).rejects.toThrow('no');
    expect([await result.ready(), await result.successful(), await result.failed()]).toEqual([false, false, true]);
    await expect((await group([nobodys]).delay()).get({ timeout: 0.01 })).rejects.toThrow(TimeoutError);
  });

  test('that is revoked does not run', async () => {
    await using play = new Playground();
    const { add } = shop(play);
    const result = await group([add.s(1, 1), add.s(2, 2)]).delay();
    await result.revoke();
    expect(await result.results[0].state).toBe('REVOKED');
    expect(await result.results[1].state).toBe('REVOKED');
  });

  test('without tasks is over at once', async () => {
    const empty = await group([]).delay();
    expect(await empty.get()).toEqual([]);
    expect(await empty.successful()).toBe(true);
    await empty.revoke();
    await expect(empty.save()).rejects.toThrow(/without members/);
  });

  test('refuses what are no signatures', () => {
    expect(() => group('all' as never)).toThrow(ConfigError);
    expect(() => group([1] as never)).toThrow(/got number at index 0/);
  });
});

describe('a saved group', () => {
  test('is found by its id from another application, until it is deleted', async () => {
    await using play = new Playground();
    const { add } = shop(play);
    await play.work();
    const sent = await group([add.s(1, 1), add.s(2, 2)]).delay();
    expect(await play.app.groupResult(sent.id)).toBeUndefined();
    await sent.save();
    await sent.save();
    await using other = new Lovage('other', { broker: play.app.config.broker, logger: quiet });
    const found = await other.groupResult(sent.id);
    expect(found).toBeInstanceOf(GroupResult);
    expect(found?.results.map(({ id }) => id)).toEqual(sent.results.map(({ id }) => id));
    expect(await found?.get(soon)).toEqual([2, 4]);
    await found?.delete();
    expect(await other.groupResult(sent.id)).toBeUndefined();
    expect(await sent.get(soon)).toEqual([2, 4]);
    await sent.forget();
    expect(await sent.completedCount()).toBe(0);
  });

  test('is gone when results are', async () => {
    await using play = new Playground({ resultExpires: 0.05 });
    const { add } = shop(play);
    const sent = await group([add.s(1, 1)]).delay();
    await sent.save();
    await expect.poll(() => play.app.groupResult(sent.id)).toBeUndefined();
  });

  test('needs an id, and an application that keeps results', async () => {
    await using play = new Playground();
    await expect(async () => play.app.groupResult('')).rejects.toThrow(/expected the id of a group/);
    await using none = new Playground({ backend: false });
    const sent = await group([shop(none).add.s(1, 1)]).delay();
    await expect(sent.save()).rejects.toThrow(/keeps no results/);
  });
});
