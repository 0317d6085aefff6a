import { describe, expect, test } from 'vitest';
import { chord } from '../../src/index.ts';
import { kill, until, Workplace } from '../support/workplace.ts';

const lease = '?visibilityTimeout=0.6';

describe('workers that die', () => {
  test('10,000 tasks, two workers, one killed every second: every effect happens, every result is there, nothing is left', {
    timeout: 120_000,
  }, async () => {
    await using place = new Workplace('?visibilityTimeout=1');
    const total = 10_000;
    const results = await place.app.sendMany(
      'tasks.slowEffect',
      Array.from({ length: total }, (_, i) => [i]),
    );
    const workers = await Promise.all([place.worker(), place.worker()]);
    const broker = await place.app.broker();
    let kills = 0;
    let turn = 0;
    const depth = async () => (await broker.countMany(['celery']))[0];
    for (let left = true; left; ) {
      const started = Date.now();
      await until(async () => {
        const now = await depth();
        left = now !== undefined && now.ready + now.inFlight + now.delayed > 0;
        return !left || Date.now() - started >= 1000;
      });
      if (!left) break;
      const at = turn++ % 2;
      const victim = workers[at];
      if (victim) await kill(victim);
      kills += 1;
      workers[at] = await place.worker();
    }
    const values = await Promise.all(results.map((result) => result.get({ timeout: 10 })));
    expect(values).toEqual(Array.from({ length: total }, (_, i) => i));
    expect(new Set(place.notes()).size).toBe(total);
    expect(kills).toBeGreaterThan(0);
    expect(await depth()).toEqual({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
  });

  test('a task that runs three times as long as its lease runs once', { timeout: 30_000 }, async () => {
    await using place = new Workplace(lease);
    await place.worker();
    await place.worker();
    const results = await Promise.all([
      place.app.sendTask('tasks.nap', ['nap', 1900]),
      place.app.sendTask('tasks.block', ['block', 1900]),
    ]);
    for (const result of results) await result.get({ timeout: 20 });
    expect(place.notes().toSorted()).toEqual(['begin block', 'begin nap', 'end block', 'end nap']);
  });

  test('a worker killed in the middle of a task has it run again by another', async () => {
    await using place = new Workplace(lease);
    const first = await place.worker();
    const result = await place.app.sendTask('tasks.nap', ['one', 400]);
    await until(() => place.notes().includes('begin one'));
    await kill(first);
    await place.worker();
    expect(await result.get({ timeout: 10 })).toBe('one');
    expect(place.notes()).toEqual(['begin one', 'begin one', 'end one']);
  });

  test('a task that kills every worker ends in the dead letters, with a FAILURE for its caller', {
    timeout: 60_000,
  }, async () => {
    await using place = new Workplace('?visibilityTimeout=0.3');
    const result = await place.app.sendTask('tasks.crash', ['boom']);
    for (let i = 0; i < 3; i += 1) {
      const worker = await place.worker();
      await new Promise((resolve) => worker.once('exit', resolve));
    }
    await place.worker();
    await expect(result.get({ timeout: 15 })).rejects.toThrow(/delivered 4 times and never settled \(limit 3\)/);
    expect(place.notes()).toEqual(['crash boom', 'crash boom', 'crash boom']);
    const { deadLetters } = await place.app.broker();
    // The result is stored first, then the message is buried.
    const letters = await until(async () => {
      const found = await deadLetters.list();
      return found.length > 0 && found;
    });
    expect(letters.map((letter) => letter.message.headers.task)).toEqual(['tasks.crash']);
  });

  test('the chord of a task that kills every worker is told, and so are their errbacks', {
    timeout: 60_000,
  }, async () => {
    await using place = new Workplace('?visibilityTimeout=0.3');
    // Errbacks get the id of what failed.
    const told = place.app.signature('tasks.effect');
    const crash = place.app.signature('tasks.crash', ['boom']).set({ taskId: 'crash' }).linkError(told);
    const body = place.app.signature('tasks.effect').set({ taskId: 'body' }).linkError(told);
    const result = await chord([crash, place.app.signature('tasks.add', [1, 1])], body).delay();
    for (let i = 0; i < 3; i += 1) {
      const worker = await place.worker();
      await new Promise((resolve) => worker.once('exit', resolve));
    }
    await place.worker();
    await expect(result.get({ timeout: 20 })).rejects.toThrow(/crash raised DeliveryLimitError.*delivered 4 times/);
    await until(() => place.notes().includes('effect crash') && place.notes().includes('effect body'));
    const effects = place.notes().filter((line) => line.startsWith('effect'));
    expect(effects.toSorted()).toEqual(['effect body', 'effect crash']);
  });

  test('a message that kills its workers takes no neighbour to the dead letters with it', {
    timeout: 60_000,
  }, async () => {
    await using place = new Workplace('?visibilityTimeout=0.3');
    const names = Array.from({ length: 9 }, (_, i) => `neighbour ${i}`);
    const neighbours = await place.app.sendMany(
      'tasks.nap',
      names.slice(0, 5).map((n) => [n, 50]),
    );
    await place.app.sendTask('tasks.crash', ['boom']);
    neighbours.push(
      ...(await place.app.sendMany(
        'tasks.nap',
        names.slice(5).map((n) => [n, 50]),
      )),
    );
    let running = true;
    const workers = (async () => {
      while (running) {
        const worker = await place.worker();
        await Promise.race([new Promise((resolve) => worker.once('exit', resolve)), until(() => !running, 60_000)]);
      }
    })();
    expect(await Promise.all(neighbours.map((result) => result.get({ timeout: 40 })))).toEqual(names);
    const { deadLetters } = await place.app.broker();
    await until(async () => (await deadLetters.list()).length === 1);
    running = false;
    await workers;
  });

  test('with acksLate: false a crash loses the run, and it does not happen twice', async () => {
    await using place = new Workplace(lease);
    const worker = await place.worker();
    await place.app.sendTask('tasks.early', ['once']);
    await new Promise((resolve) => worker.once('exit', resolve));
    await place.worker();
    const marker = await place.app.sendTask('tasks.add', [1, 1], { countdown: 1 });
    expect(await marker.get({ timeout: 10 })).toBe(2);
    expect(place.notes()).toEqual(['early once']);
  });

  test('a task for later is in no worker: it runs when due though every worker was replaced', async () => {
    await using place = new Workplace(lease);
    const first = await place.worker();
    const broker = await place.app.broker();
    const far = await place.app.sendTask('tasks.add', [1, 1], { countdown: 3600 });
    const near = await place.app.sendTask('tasks.add', [2, 2], { countdown: 1.5 });
    expect(await (await place.app.sendTask('tasks.add', [0, 0])).get({ timeout: 5 })).toBe(0);
    await until(async () => (await broker.countMany(['celery']))[0]?.inFlight === 0);
    expect((await broker.countMany(['celery']))[0]).toEqual({ ready: 0, inFlight: 0, delayed: 2, dead: 0 });
    await kill(first);
    await place.worker();
    expect(await near.get({ timeout: 10 })).toBe(4);
    expect(await far.state).toBe('PENDING');
  });
});

describe('workers that are told to stop', () => {
  test('SIGTERM lets a running task end, and the process exits by itself with 0', async () => {
    await using place = new Workplace();
    const worker = await place.worker();
    const result = await place.app.sendTask('tasks.nap', ['last', 500]);
    await until(() => place.notes().includes('begin last'));
    expect(await kill(worker, 'SIGTERM')).toBe(0);
    expect(place.notes()).toEqual(['begin last', 'end last']);
    expect(await result.get({ timeout: 1 })).toBe('last');
  });

  test('messages that have not begun go back at once', async () => {
    await using place = new Workplace('?visibilityTimeout=60');
    const worker = await place.worker({ TEST_CONCURRENCY: '1' });
    await place.app.sendMany('tasks.nap', [
      ['a', 600],
      ['b', 600],
      ['c', 600],
    ]);
    await until(() => place.notes().includes('begin a'));
    expect(await kill(worker, 'SIGTERM')).toBe(0);
    const [depth] = await (await place.app.broker()).countMany(['celery']);
    expect(depth).toEqual({ ready: 2, inFlight: 0, delayed: 0, dead: 0 });
  });

  test('a task that outlasts the grace time is aborted and given back; the worker exits with 1', async () => {
    await using place = new Workplace('?visibilityTimeout=60');
    const worker = await place.worker({ TEST_GRACE: '0.3' });
    await place.app.sendTask('tasks.nap', ['long', 60_000]);
    await until(() => place.notes().includes('begin long'));
    expect(await kill(worker, 'SIGTERM')).toBe(1);
    expect(place.notes()).toEqual(['begin long', 'aborted long']);
    const [depth] = await (await place.app.broker()).countMany(['celery']);
    expect(depth).toEqual({ ready: 1, inFlight: 0, delayed: 0, dead: 0 });
  });
});
