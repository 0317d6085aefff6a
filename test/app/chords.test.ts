import { describe, expect, test } from 'vitest';
import { ChordError, chain, chord } from '../../src/index.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

function shop(play: Playground) {
  const { app } = play;
  return {
    add: app.task('tasks.add', (x: number, y: number) => x + y),
    sum: app.task('tasks.sum', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)),
    list: app.task('tasks.list', (numbers: number[]) => numbers),
    fail: app.task('tasks.fail', (): number => {
      throw new TypeError('no');
    }),
  };
}

describe('a chord', () => {
  test('runs its body once, with the results in the order of the header', async () => {
    await using play = new Playground();
    const { add, list } = shop(play);
    await play.work();
    const header = Array.from({ length: 50 }, (_, i) => add.s(i, i));
    expect(await (await chord(header, list.s()).delay()).get({ timeout: 5 })).toEqual(header.map((_, i) => 2 * i));
  });

  test('without a header runs its body at once, with an empty list', async () => {
    await using play = new Playground();
    const { sum } = shop(play);
    await play.work();
    expect(await (await chord([], sum.s()).delay()).get({ timeout: 5 })).toBe(0);
  });

  test('keeps the id that the last step of its body was given', async () => {
    await using play = new Playground();
    const { add, sum } = shop(play);
    await play.work();
    const body = chain(sum.s(), add.s(1).set({ taskId: 'the-last' }));
    const result = await chord([add.s(1, 1)], body).delay();
    expect([result.id, await result.get({ timeout: 5 })]).toEqual(['the-last', 3]);
    expect(await play.app.result('the-last').get({ timeout: 5 })).toBe(3);
  });

  test('with a member that fails does not run its body: the body fails, and its errback is told', async () => {
    await using play = new Playground();
    const { add, fail, sum } = shop(play);
    const told: string[] = [];
    const errback = play.app.task('tasks.told', (id: string) => void told.push(id));
    await play.work();
    const result = await chord([add.s(1, 1), fail.s()], sum.s().linkError(errback.s())).delay();
    await expect(result.get({ timeout: 5 })).rejects.toThrow(ChordError);
    await expect(result.get({ timeout: 5 })).rejects.toThrow(/Dependency .* raised TypeError\('no'\)/);
    await until(() => told.length === 1);
    expect(told).toEqual([result.id]);
  });

  test('is not completed by a retry, nor twice by a member that is delivered twice', async () => {
    await using play = new Playground();
    const { sum } = shop(play);
    let bodies = 0;
    const flaky = play.app.task('tasks.flaky', { bind: true }, (self, n: number) => {
      if (self.request.retries < 1) throw self.retry({ countdown: 0 });
      return n;
    });
    const body = play.app.task('tasks.body', (numbers: number[]) => {
      bodies += 1;
      return sum(numbers);
    });
    await play.work();
    const result = await chord([flaky.s(1), flaky.s(2)], body.s()).delay();
    expect(await result.get({ timeout: 5 })).toBe(3);
    expect(bodies).toBe(1);
  });

  test('refuses members whose results are ignored, and applications that keep none', async () => {
    await using play = new Playground();
    const { add, sum } = shop(play);
    await expect(chord([add.s(1, 1).set({ ignoreResult: true })], sum.s()).delay()).rejects.toThrow(
      /member of a chord/,
    );
    await using none = new Playground({ backend: false });
    const other = shop(none);
    await expect(chord([other.add.s(1, 1)], other.sum.s()).delay()).rejects.toThrow(/keeps no results/);
  });
});
