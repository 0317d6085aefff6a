/** What tasks on the event loop of a worker do to the process that they share: it is the failure of one task, in its name. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { Lovage } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';
import { Place } from './lovage.ts';

const tasks = `
  import { Lovage } from 'lovage';
  export const app = new Lovage('shop');
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const forgotten = async (message: string) => { await pause(1); throw new RangeError(message); };
  app.task('add', (x: number, y: number) => x + y);
  app.task('wait', { bind: true }, async (self, ms: number) => {
    console.log('waiting');
    await pause(ms);
    return self.signal.aborted ? 'aborted' : 'waited';
  });
  app.task('forget', { bind: true }, async (self) => {
    void forgotten('left behind');
    await new Promise((resolve) => self.signal.addEventListener('abort', resolve));
    return 'well';
  });
  app.task('hang', () => new Promise(() => void forgotten('never comes back')));
  app.task('late', () => { void forgotten('too late'); return 'well'; });
  app.task('quit', async () => { await pause(1); process.exit(3); });
  app.task('quitQuietly', () => { try { process.exit(4); } catch { return 'well'; } });
  app.task('say', () => { console.log('one\\ntwo %d', 2); console.error('oops'); });`;

const timeout = { timeout: 20 };

/** A worker with these tasks, and a client. */
async function open(...args: readonly string[]) {
  const place = new Place();
  const worker = place.start(['-A', place.write('app.ts', tasks), 'worker', ...args]);
  await worker.says('ready.');
  const app = new Lovage('client', { broker: place.broker, logger: quiet });
  onTestFinished(() => app.close());
  return { worker, send: (task: string, values: readonly unknown[] = []) => app.sendTask(task, values) };
}

describe.each(['async', 'solo'])('in the pool %s', (pool) => {
  test('a rejection that nobody handles fails the task that runs; it is told to stop, and the worker goes on', async () => {
    const { worker, send } = await open('-P', pool);
    const result = await send('forget');
    await expect(result.get(timeout)).rejects.toThrow('left behind');
    await worker.says(new RegExp(`nobody handles: the task fails.*task=forget id=${result.id}`));
    expect(await (await send('add', [1, 1])).get(timeout)).toBe(2);
    worker.process.kill('SIGTERM');
    expect((await worker.end()).status).toBe(0);
  });

  test('process.exit() fails the task that calls it, also one that catches everything', async () => {
    const { worker, send } = await open('-P', pool);
    const beside = await send('wait', [500]);
    await expect((await send('quit')).get(timeout)).rejects.toThrow(/called process\.exit\(3\)/);
    await expect((await send('quitQuietly')).get(timeout)).rejects.toThrow(/called process\.exit\(4\)/);
    expect(await beside.get(timeout)).toBe('waited');
    worker.process.kill('SIGTERM');
    expect((await worker.end()).status).toBe(0);
  });
});

test('a task that will never end because of a rejection fails all the same, and its slot is free', async () => {
  const { send } = await open('-c', '1');
  const hanging = await send('hang');
  const next = await send('add', [2, 2]);
  await expect(hanging.get(timeout)).rejects.toThrow('never comes back');
  expect(await next.get(timeout)).toBe(4);
});

test('a rejection of a task that has returned is logged with its name', async () => {
  const { worker, send } = await open();
  const result = await send('late');
  expect(await result.get(timeout)).toBe('well');
  await worker.says(new RegExp(`a promise was rejected that nobody handles\\. Await it.*task=late id=${result.id}`));
  await worker.says('too late');
});

test('what a task prints has its name and id on each line', async () => {
  const { worker, send } = await open();
  const { id } = await send('say');
  const label = `[say[${id}]] `;
  await until(() => worker.stdout.includes(`${label}one\n${label}two 2\n`) && worker.stderr.includes(`${label}oops\n`));
});

test.each(['async', 'threads'])('with --json what a task prints is JSON as well, in the pool %s', async (pool) => {
  const { worker, send } = await open('--json', '-P', pool);
  const { id } = await send('say');
  const lines = () =>
    worker.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  await until(() => lines().some(({ msg }) => msg === 'oops'));
  const said = lines().filter(({ stream }) => stream !== undefined);
  const common = { level: 'info', task: 'say', id };
  expect(said.map(({ time: _, ...rest }) => rest)).toEqual([
    { ...common, msg: 'one', stream: 'stdout' },
    { ...common, msg: 'two 2', stream: 'stdout' },
    { ...common, msg: 'oops', stream: 'stderr' },
  ]);
  worker.process.kill('SIGTERM');
  expect((await worker.end()).stderr).toBe('');
});
