import { describe, expect, onTestFinished, test } from 'vitest';
import { memoryBroker } from '../../src/brokers/memory.ts';
import { redisBroker } from '../../src/brokers/redis.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import {
  type Broker,
  type Consumer,
  Lovage,
  type LovageOptions,
  StoreError,
  Worker,
  type WorkerOptions,
  type WorkerState,
} from '../../src/index.ts';
import { Place } from '../cli/lovage.ts';
import { quiet } from '../support/in-memory.ts';
import { override } from '../support/override.ts';
import { type RedisOptions, startRedis } from '../support/redis-server.ts';
import { until } from '../support/workplace.ts';

let count = 0;

/** An application with a worker in this process. What the worker logs and the states it has been in are written down. */
function shop(options: LovageOptions, workerOptions: WorkerOptions = {}) {
  const log: string[] = [];
  const keep = (level: string) => (_: object, message: string) => log.push(`${level}: ${message}`);
  const logger = { debug() {}, info() {}, warn: keep('warn'), error: keep('error') };
  const app = new Lovage('shop', { logger, ...options });
  const worker = new Worker(app, workerOptions);
  const states: WorkerState[] = [];
  worker.onState((state) => states.push(state));
  onTestFinished(async () => {
    await worker.stop({ now: true }).catch(() => {});
    await app.close().catch(() => {});
  });
  return { app, worker, log, states };
}

async function redisServer(options: RedisOptions = {}) {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

describe('a worker whose Redis goes away', () => {
  test('while it is idle: it reconnects, says so once, and runs what is sent afterwards', async () => {
    const server = await redisServer();
    const { app, worker, log, states } = shop({ broker: server.url });
    const add = app.task('tasks.add', (x: number, y: number) => x + y);
    await worker.start();
    await server.kill();
    await until(() => worker.state === 'reconnecting');
    await server.start();
    await until(() => worker.state === 'running');
    expect(await (await add.delay(2, 3)).get({ timeout: 20 })).toBe(5);
    expect(states).toEqual(['starting', 'running', 'reconnecting', 'running']);
    const told = log.filter((line) => line.includes('connection to') || line.includes('connected to'));
    expect(told).toEqual([
      expect.stringMatching(/^error: connection to redis:.* lost: .*; trying again$/),
      expect.stringMatching(/^warn: connected to redis:.* again after [\d.]+ s$/),
    ]);
  });

  test('while a task runs: the task goes on, and its result is stored when Redis is back', async () => {
    const server = await redisServer({ aof: true });
    const { app, worker } = shop({ broker: server.url });
    const go = Promise.withResolvers<void>();
    let runs = 0;
    const slow = app.task('tasks.slow', async () => {
      runs += 1;
      await go.promise;
      return 'done';
    });
    await worker.start();
    const result = await slow.delay();
    await until(() => runs === 1);
    await server.kill();
    await until(() => worker.state === 'reconnecting');
    go.resolve();
    await server.start();
    await until(() => worker.state === 'running');
    expect(await result.get({ timeout: 20 })).toBe('done');
    const broker = await app.broker();
    await until(async () => (await broker.countMany(['celery']))[0]?.inFlight === 0);
    expect(runs).toBe(1);
  });

  test('for more tries than brokerConnectionMaxRetries: it stops, and run() fails with what was wrong', async () => {
    const server = await redisServer();
    const { worker, states } = shop({ broker: server.url, brokerConnectionMaxRetries: 1 });
    const ended = worker.run();
    await until(() => worker.state === 'running');
    await Promise.all([expect(ended).rejects.toBeInstanceOf(StoreError), server.kill()]);
    expect(states).toEqual(['starting', 'running', 'reconnecting', 'stopping', 'failed']);
    expect(worker.failure).toMatchObject({ code: 'STORE', message: expect.stringContaining(server.url) });
  });
});

describe('a worker whose Redis is not there when it starts', () => {
  test('says what it waits for, and ends in time with one line and status 1', async () => {
    const server = await redisServer();
    await server.kill();
    const url = `redis://:secret@127.0.0.1:${server.port}/0?socketConnectTimeout=2`;
    const place = new Place();
    const file = place.write('app.ts', `import { Lovage } from 'lovage'; export default new Lovage('shop');`);
    const worker = place.start(['-A', file, '-b', url, 'worker']);
    await worker.says(/waiting for redis:.*127\.0\.0\.1/);
    const { status, stdout, stderr } = await worker.end();
    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringContaining('waiting for'),
      expect.stringMatching(/^error STORE: no connection to redis:.* within 2 s: connect ECONNREFUSED/),
    ]);
    expect(stderr).not.toContain('secret');
  });

  test('fails its application, too, within the same time', async () => {
    const server = await redisServer();
    await server.kill();
    const { app, worker } = shop({ broker: `${server.url}?socketConnectTimeout=0.5` });
    await expect(app.sendTask('tasks.add')).rejects.toThrow(/no connection to redis:.* within 0\.5 s/);
    await expect(worker.run()).rejects.toThrow(/no connection to redis:.* within 0\.5 s/);
    expect(worker.state).toBe('failed');
  });

  test('with brokerConnectionRetryOnStartup goes on trying, and works when it comes', async () => {
    const server = await redisServer();
    await server.kill();
    const { app, worker, log } = shop({
      broker: `${server.url}?socketConnectTimeout=0.3`,
      brokerConnectionRetryOnStartup: true,
    });
    const add = app.task('tasks.add', (x: number, y: number) => x + y);
    const starting = worker.start();
    await until(() => log.some((line) => /no connection to redis:.*; trying again$/.test(line)));
    expect(worker.state).toBe('starting');
    await server.start();
    await starting;
    expect(await (await add.delay(2, 3)).get({ timeout: 20 })).toBe(5);
  });

  test('ends at once with status 0 when it is stopped while it waits', async () => {
    const server = await redisServer();
    await server.kill();
    const { app, worker, states } = shop({ broker: `${server.url}?socketConnectTimeout=3` });
    const stop = new AbortController();
    const ended = worker.run({ signal: stop.signal });
    await until(() => worker.state === 'starting');
    stop.abort();
    expect(await ended).toBe(0);
    expect(states).toEqual(['starting', 'stopping', 'stopped']);
    // Nothing was opened, so that there is nothing to complain of.
    await app.close();
  });
});

describe('a sender whose Redis is away', () => {
  /** Connected, and then the server is gone. */
  async function cutOff(options: LovageOptions = {}) {
    const server = await redisServer();
    const app = new Lovage('sender', { broker: server.url, logger: quiet, ...options });
    onTestFinished(() => app.close());
    await app.sendTask('tasks.first');
    await server.kill();
    return { server, app, ready: async () => (await (await app.broker()).countMany(['celery']))[0]?.ready };
  }
  const noConnection = /no connection to redis:.*|the connection to redis:.* is lost/;

  test('waits for it as the policy of the application says', async () => {
    const { server, app, ready } = await cutOff();
    const sending = app.sendTask('tasks.second');
    // By then the first try of the other has failed, too.
    await expect(app.sendTask('tasks.third', [], { retry: false })).rejects.toThrow(noConnection);
    await server.start();
    await sending;
    expect(await ready()).toBe(1);
  });

  test('with retry: false, of the call or of the application, fails with the first try', async () => {
    const { app } = await cutOff({ taskPublishRetry: false, taskPublishRetryPolicy: { max_retries: null } });
    await expect(app.sendTask('tasks.second')).rejects.toMatchObject({
      code: 'STORE',
      retryable: true,
      message: expect.stringMatching(noConnection),
    });
  });

  test('with a retryPolicy of the call waits as that says', async () => {
    const { server, app, ready } = await cutOff({ taskPublishRetryPolicy: { max_retries: 0 } });
    const patient = app.sendTask('tasks.second', [], { retryPolicy: { max_retries: null, interval_max: 0.1 } });
    await expect(app.sendTask('tasks.third')).rejects.toThrow(noConnection);
    await server.start();
    await patient;
    expect(await ready()).toBe(1);
  });

  test('a policy that makes no sense is refused before anything is sent', async () => {
    const app = new Lovage('sender', { broker: 'memory://', logger: quiet });
    const wrong = { retryPolicy: { max_retries: -1 } };
    await expect(app.sendTask('tasks.second', [], wrong)).rejects.toThrow(/retryPolicy.*max_retries, interval_start/);
  });
});

describe('a worker whose consumer goes deaf', () => {
  /** A broker whose first `deaf` consumers hand out nothing once `deafen` was called, though they look alive. */
  function deafBroker(deaf: number, real = memoryBroker(`memory://deaf-${process.pid}-${count++}`)) {
    const deafened = new AbortController();
    let made = 0;
    const broker = override(real, {
      consume: async (queues) => {
        const consumer = await real.consume(queues);
        made += 1;
        if (made > deaf) return consumer;
        const receive: Consumer['receive'] = async (max, waitMs, signal) => {
          const deliveries = await consumer.receive(max, waitMs, AbortSignal.any([signal, deafened.signal]));
          if (deliveries.length > 0 || signal.aborted || !deafened.signal.aborted) return deliveries;
          return new Promise((resolve) => signal.addEventListener('abort', () => resolve([])));
        };
        return override(consumer, { receive });
      },
    });
    return { broker, deafen: () => deafened.abort(), made: () => made };
  }

  const drivers: Record<string, () => Promise<Broker>> = {
    memory: async () => memoryBroker(`memory://deaf-${process.pid}-${count++}`),
    sqlite: async () => sqliteBroker(new Place().broker),
    redis: async () => redisBroker((await redisServer()).url),
  };

  test.each(Object.keys(drivers))(
    'makes it anew: what waits is run, and what ran meanwhile ends once (%s)',
    async (name) => {
      const { broker, deafen, made } = deafBroker(1, await drivers[name]?.());
      const { app, worker, log, states } = shop({ broker, backend: 'memory://', workerWatchdog: 0.5 });
      const go = Promise.withResolvers<void>();
      let runs = 0;
      const slow = app.task('tasks.slow', async () => {
        runs += 1;
        await go.promise;
        return 'done';
      });
      const add = app.task('tasks.add', (x: number, y: number) => x + y);
      await worker.start();
      const slowly = await slow.delay();
      await until(() => runs === 1);
      deafen();
      expect(await (await add.delay(2, 3)).get({ timeout: 20 })).toBe(5);
      go.resolve();
      expect(await slowly.get({ timeout: 20 })).toBe('done');
      await until(async () => (await broker.countMany(['celery']))[0]?.inFlight === 0);
      expect({ runs, made: made(), states }).toEqual({ runs: 1, made: 2, states: ['starting', 'running'] });
      expect(log).toEqual([expect.stringMatching(/^warn: 1 message waits \(celery\), .* consumer is made anew$/)]);
    },
  );

  test('stops when that does not help: what runs may end, and run() fails with WORKER_STUCK', async () => {
    const { broker, deafen } = deafBroker(Number.POSITIVE_INFINITY);
    const { app, worker, states } = shop({ broker, backend: 'memory://', workerWatchdog: 0.5 });
    const go = Promise.withResolvers<void>();
    let runs = 0;
    const slow = app.task('tasks.slow', async () => {
      runs += 1;
      await go.promise;
      return 'done';
    });
    const ended = worker.run();
    ended.catch(() => {});
    const slowly = await slow.delay();
    await until(() => runs === 1);
    deafen();
    await slow.delay();
    await until(() => worker.state === 'stopping');
    go.resolve();
    await expect(ended).rejects.toMatchObject({
      code: 'WORKER_STUCK',
      message: expect.stringMatching(/^1 message waits/),
    });
    expect(await slowly.get({ timeout: 20 })).toBe('done');
    expect(states).toEqual(['starting', 'running', 'stopping', 'failed']);
    expect(await broker.countMany(['celery'])).toMatchObject([{ ready: 1, inFlight: 0 }]);
  });

  test('is left alone where workerWatchdog is 0, while it is busy, and where nothing waits', async () => {
    for (const [options, concurrency, waits] of [
      [{ workerWatchdog: 0 }, 2, 1],
      [{ workerWatchdog: 0.02 }, 1, 1],
      [{ workerWatchdog: 0.02 }, 2, 0],
    ] as const) {
      const { broker, deafen, made } = deafBroker(1);
      let counts = 0;
      const counted = override(broker, {
        countMany: (queues) => {
          counts += 1;
          return broker.countMany(queues);
        },
      });
      const { app, worker } = shop({ broker: counted, backend: 'memory://', ...options }, { concurrency });
      let runs = 0;
      const slow = app.task('tasks.slow', async () => {
        runs += 1;
        await new Promise(() => {});
      });
      await worker.start();
      await slow.delay();
      await until(() => runs === 1);
      deafen();
      await slow.applyMany(Array.from({ length: waits }, () => []));
      // There is nothing to wait for: nothing is to happen, within ten intervals.
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(made()).toBe(1);
      if (waits === 1) expect(counts).toBe(0);
    }
  });

  test('on the command line: it ends with status 1, also where its broker cannot even be closed', async () => {
    const place = new Place();
    const memory = JSON.stringify(new URL('../../src/brokers/memory.ts', import.meta.url).href);
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       import { memoryBroker } from ${memory};
       const broker = memoryBroker();
       const consume = broker.consume.bind(broker);
       broker.consume = async (...args) => Object.assign(await consume(...args), {
         receive: (max, ms, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve([]))),
       });
       broker.stop = () => new Promise(() => {});
       const app = new Lovage('shop', { broker, backend: false, workerWatchdog: 0.1 });
       app.task('tasks.add', (x, y) => x + y);
       setTimeout(() => app.sendTask('tasks.add', [2, 3]), 100);
       setInterval(() => {}, 1000);
       export default app;`,
    );
    const { status, stderr } = await place.start(['-A', file, 'worker']).end();
    expect(status).toBe(1);
    expect(stderr).toMatch(/1 message waits \(celery\).*the consumer is made anew/);
    expect(stderr).toMatch(/the worker stops, since it cannot go on: 1 message waits/);
  });
});
