import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.ts';
import { Place, type Running } from './lovage.ts';

/** More than the time in which two signals are one. */
const apart = 700;

const tasks = `
  import { Lovage } from 'lovage';
  export const app = new Lovage('shop');
  app.task('nap', { bind: true }, async (self, ms: number) => {
    self.logger.info({}, 'napping');
    await new Promise((resolve) => setTimeout(resolve, ms));
  });
  app.task('linger', { bind: true }, async (self) => {
    self.logger.info({}, 'lingering');
    await new Promise((resolve) => self.signal.addEventListener('abort', resolve));
    throw self.signal.reason;
  });
  app.task('stubborn', { bind: true }, async (self) => {
    self.logger.info({}, 'not stopping');
    await new Promise(() => setInterval(() => {}, 1000));
  });`;

interface Options {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A worker in the middle of one task, and the state of its queue. */
class Scene {
  readonly place = new Place();

  async worker(task: string, argument: readonly unknown[], { args = [], env = {} }: Options = {}): Promise<Running> {
    const file = this.place.write('app.ts', tasks);
    const worker = this.place.start(['-A', file, 'worker', '--shutdown-timeout', '600', ...args], env);
    await worker.says('ready.');
    const call = ['call', task, '--args', JSON.stringify(argument)];
    await this.place.run(call, env.LOVAGE_BROKER ? { LOVAGE_BROKER: env.LOVAGE_BROKER } : {});
    await worker.says(/napping|lingering|not stopping/);
    return worker;
  }

  async ready(): Promise<number> {
    const [queue] = JSON.parse((await this.place.run(['queues', '--json'])).stdout);
    expect(queue.inFlight).toBe(0);
    return queue.ready;
  }
}

describe('signals to a worker', () => {
  test('a second SIGTERM does not hurry: the running task ends, status 0', async () => {
    const scene = new Scene();
    const worker = await scene.worker('nap', [3000]);
    worker.process.kill('SIGTERM');
    await worker.says(/warm shutdown \(SIGTERM\), waits up to 600 s for 1 task \(nap\[[\w-]+\]\)/);
    await sleep(apart);
    worker.process.kill('SIGTERM');
    await worker.says(/SIGTERM changes nothing, waits up to 599\.\d s/);
    expect((await worker.end()).status).toBe(0);
    expect(await scene.ready()).toBe(0);
  });

  test('SIGINT that comes twice within a moment, as from a terminal and npm, is one', async () => {
    const scene = new Scene();
    const worker = await scene.worker('nap', [1000]);
    worker.process.kill('SIGINT');
    await worker.says('warm shutdown (SIGINT)');
    worker.process.kill('SIGINT');
    const { status, stderr } = await worker.end();
    expect(status).toBe(0);
    expect(stderr).not.toContain('cold');
  });

  test('a second SIGINT aborts and gives back: status 1', async () => {
    const scene = new Scene();
    const worker = await scene.worker('linger', []);
    worker.process.kill('SIGINT');
    await worker.says('warm shutdown (SIGINT)');
    await sleep(apart);
    worker.process.kill('SIGINT');
    const { status, stderr } = await worker.end();
    expect(status).toBe(1);
    expect(stderr).toMatch(/cold shutdown \(SIGINT\), does not wait for 1 task \(linger\[/);
    expect(await scene.ready()).toBe(1);
  });

  test('SIGQUIT aborts and gives back at once, also what ignores its abort', async () => {
    for (const task of ['linger', 'stubborn']) {
      const scene = new Scene();
      const worker = await scene.worker(task, []);
      worker.process.kill('SIGQUIT');
      const { status, stderr } = await worker.end();
      expect(status).toBe(1);
      expect(stderr).toContain(`cold shutdown (SIGQUIT), does not wait for 1 task (${task}[`);
      expect(await scene.ready()).toBe(1);
    }
  });

  test('SIGQUIT waits for the soft timeout, where there is one', async () => {
    const scene = new Scene();
    const args = ['--soft-shutdown-timeout', '60'];
    const worker = await scene.worker('nap', [1000], { args });
    worker.process.kill('SIGQUIT');
    await worker.says(/soft shutdown \(SIGQUIT\), waits up to 60 s for 1 task/);
    expect((await worker.end()).status).toBe(0);
  });

  test('after the soft timeout it is cold; so it is after a second SIGQUIT', async () => {
    const scene = new Scene();
    const short = await scene.worker('linger', [], { args: ['--soft-shutdown-timeout', '0.2'] });
    short.process.kill('SIGQUIT');
    expect((await short.end()).stderr).toMatch(/soft shutdown[\s\S]*the time is up, 1 task \(linger\[/);
    const long = await new Scene().worker('linger', [], { args: ['--soft-shutdown-timeout', '600'] });
    long.process.kill('SIGQUIT');
    await long.says('soft shutdown');
    await sleep(apart);
    long.process.kill('SIGQUIT');
    expect((await long.end()).status).toBe(1);
  });

  test('REMAP_SIGTERM=SIGQUIT has SIGTERM do so, and a second SIGTERM nothing', async () => {
    const env = { REMAP_SIGTERM: 'SIGQUIT', CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT: '600' };
    const scene = new Scene();
    const worker = await scene.worker('nap', [3000], { env });
    worker.process.kill('SIGTERM');
    await worker.says('soft shutdown (SIGTERM)');
    await sleep(apart);
    worker.process.kill('SIGTERM');
    await worker.says('SIGTERM changes nothing');
    expect((await worker.end()).status).toBe(0);
    const cold = await new Scene().worker('linger', [], { env: { REMAP_SIGTERM: 'SIGQUIT' } });
    cold.process.kill('SIGTERM');
    expect((await cold.end()).status).toBe(1);
  });

  test('a signal during the start ends it before it takes a message', async () => {
    const place = new Place();
    await place.run(['call', 'nap', '--args', '[1]']);
    const file = place.write(
      'app.ts',
      `${tasks}\nconsole.log('loading'); await new Promise((r) => setTimeout(r, 60_000));`,
    );
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
      const worker = place.start(['-A', file, 'worker']);
      await worker.says('loading');
      worker.process.kill(signal);
      const { status, stderr } = await worker.end();
      expect(status).toBe(0);
      expect(stderr).toBe(`the worker was stopped by ${signal} before it took any message\n`);
    }
    const [queue] = JSON.parse((await place.run(['queues', '--json'])).stdout);
    expect(queue).toMatchObject({ ready: 1, inFlight: 0 });
  });

  test('a store that hangs at the end does not keep the process beyond its time: status 1', async () => {
    await using redis = await startRedis();
    const env = {
      LOVAGE_BROKER: redis.url,
      ECS_CONTAINER_METADATA_URI_V4: 'http://127.0.0.1/v4',
      ECS_CONTAINER_STOP_TIMEOUT: '2s',
    };
    const worker = await new Scene().worker('linger', [], { args: ['--shutdown-timeout', '0.2'], env });
    expect(worker.stdout).toMatch(/shutdown +0\.2 s for running tasks \(ECS kills after 2 s\)/);
    redis.pause();
    worker.process.kill('SIGTERM');
    const { status, stderr } = await worker.end();
    redis.resume();
    expect(status).toBe(1);
    expect(stderr).toMatch(/did not come to its end in 1\.9 s; 1 held message returns when its lease ends/);
  });

  test('on Heroku tasks get 8 of the 10 seconds, unless somebody says otherwise', async () => {
    const place = new Place();
    const file = place.write('app.ts', tasks);
    for (const [args, says] of [
      [[], /shutdown +8 s for running tasks \(Heroku kills after 10 s\)/],
      [['--shutdown-timeout', '25'], /shutdown +25 s for running tasks \(Heroku kills after 10 s\)/],
    ] as const) {
      const worker = place.start(['-A', file, 'worker', ...args], { DYNO: 'worker.1' });
      await worker.says('ready.');
      expect(worker.stdout).toMatch(says);
      worker.process.kill('SIGTERM');
      expect((await worker.end()).status).toBe(0);
    }
  });
});
