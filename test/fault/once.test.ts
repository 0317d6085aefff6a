/** A worker that runs tasks once dies at each of its calls to the stores, one after the other; another one takes over. */
import { describe, expect, test } from 'vitest';
import { type Broker, type Consumer, Lovage, type ResultBackend, Worker } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { LimitShop, type StoreName, stores } from '../support/limit-shop.ts';
import { override } from '../support/override.ts';
import { kill, until, Workplace } from '../support/workplace.ts';

/** The life of a worker: it ends before or after its call number `at`. From then on no call returns. */
class Life {
  readonly #at: number;
  readonly #before: boolean;
  readonly #death = new AbortController();
  calls = 0;
  /** What it has done in the stores, and when its body ended, in order. */
  readonly deeds: string[] = [];

  constructor(at: number, before: boolean) {
    this.#at = at;
    this.#before = before;
  }

  get isOver(): boolean {
    return this.#death.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.#death.signal;
  }

  async step<T>(name: string, act: () => Promise<T>): Promise<T> {
    const never = new Promise<never>(() => {});
    if (this.isOver) return never;
    this.calls += 1;
    const isLast = this.calls === this.#at;
    if (isLast && this.#before) {
      this.#death.abort();
      return never;
    }
    const value = await act();
    this.deeds.push(name);
    if (isLast) this.#death.abort();
    return this.isOver ? never : value;
  }
}

/** Leases are renewed from this thread, so that they end with the life. */
function withoutRecipe<T extends object>(driver: T): T {
  return new Proxy(driver, {
    get(real, name) {
      const value: unknown = name === 'recipe' ? undefined : Reflect.get(real, name);
      return typeof value === 'function' ? value.bind(real) : value;
    },
  });
}

function mortalBackend(backend: ResultBackend, life: Life): ResultBackend {
  const { limits } = backend;
  if (!limits) throw new Error('no limits');
  return override(withoutRecipe(backend), {
    storeMany: (...args) => life.step('store', () => backend.storeMany(...args)),
    fetchMany: (...args) => life.step('fetch', () => backend.fetchMany(...args)),
    limits: {
      claimMany: (...args) => life.step('claim', () => limits.claimMany(...args)),
      // Renewals come when they come: they are not counted, only ended.
      renewMany: (...args) => (life.isOver ? new Promise(() => {}) : limits.renewMany(...args)),
      releaseMany: (...args) => life.step('release', () => limits.releaseMany(...args)),
      finishMany: (...args) => life.step('finish', () => limits.finishMany(...args)),
      reserveMany: (...args) => life.step('reserve', () => limits.reserveMany(...args)),
    },
  });
}

function mortalBroker(broker: Broker, life: Life): Broker {
  return override(withoutRecipe(broker), {
    publishMany: (...args) => life.step('publish', () => broker.publishMany(...args)),
    extendMany: (...args) => (life.isOver ? new Promise(() => {}) : broker.extendMany(...args)),
    consume: async (...args) => mortalConsumer(await broker.consume(...args), life),
  });
}

function mortalConsumer(consumer: Consumer, life: Life): Consumer {
  return override(consumer, {
    receive: async (max, waitMs, signal) => {
      const got = await consumer.receive(max, waitMs, AbortSignal.any([signal, life.signal]));
      return life.isOver ? new Promise(() => {}) : got;
    },
    ackMany: (...args) => life.step('ack', () => consumer.ackMany(...args)),
    releaseMany: (...args) => life.step('later', () => consumer.releaseMany(...args)),
    rejectMany: (...args) => life.step('reject', () => consumer.rejectMany(...args)),
    deferMany: (...args) => life.step('defer', () => consumer.deferMany(...args)),
  });
}

/** One complete run of the body of an attempt. */
interface Run {
  readonly attempt: string;
  readonly by: string;
}

interface World {
  readonly runs: Run[];
  atOnce: number;
  mostAtOnce: number;
}

type Scenario = 'succeeds' | 'fails' | 'is retried' | 'has a follow-up' | 'keeps no result' | 'is a member of a chord';
const scenarios: readonly Scenario[] = [
  'succeeds',
  'fails',
  'is retried',
  'has a follow-up',
  'keeps no result',
  'is a member of a chord',
];

function register(app: Lovage, queue: string, by: string, world: World, onEnd: (retries: number) => void) {
  const pay = app.task('pay', { bind: true, once: true, maxRetries: 1, queue }, async (self, scenario: Scenario) => {
    world.atOnce += 1;
    world.mostAtOnce = Math.max(world.mostAtOnce, world.atOnce);
    await new Promise((resolve) => setTimeout(resolve, 20));
    world.atOnce -= 1;
    world.runs.push({ attempt: `${self.request.id} ${self.request.retries}`, by });
    onEnd(self.request.retries);
    if (scenario === 'fails') throw new Error('refused');
    if (scenario === 'is retried' && self.request.retries === 0) throw self.retry({ countdown: 0 });
    return 'paid';
  });
  const tell = app.task('tell', { queue }, (value: unknown) => ({ told: value }));
  return { pay, tell };
}

/** One worker with the given life, and one that takes over when it is gone. Returns whether the first one died. */
async function live(shop: LimitShop, scenario: Scenario, queue: string, life: Life): Promise<boolean> {
  const world: World = { runs: [], atOnce: 0, mostAtOnce: 0 };
  const drivers = shop.drivers();
  const mortal = new Lovage('mortal', {
    broker: mortalBroker(drivers.broker, life),
    backend: mortalBackend(drivers.backend, life),
    logger: quiet,
    workerWatchdog: 0,
  });
  register(mortal, queue, 'mortal', world, (retries) => life.deeds.push(`body ${retries}`));
  const first = new Worker(mortal, { queues: [queue] });
  await first.start();

  const healthy = shop.app();
  const { pay, tell } = register(healthy, queue, 'healthy', world, () => {});
  const result = await send(scenario, pay, tell);
  await until(async () => life.isOver || (await quietQueue(healthy, queue)), 20_000);
  const second = life.isOver ? await shop.worker(healthy, { queues: [queue] }) : undefined;
  await end(scenario, result);
  await until(() => quietQueue(healthy, queue), 30_000);

  expect(world.mostAtOnce, 'two runs at once').toBe(1);
  const counts = Map.groupBy(world.runs, ({ attempt }) => attempt);
  for (const [attempt, runs] of counts) {
    // A worker that dies after the body ended and before it wrote anything down is one that nobody can know of.
    const unknown = runs[0]?.by === 'mortal' && !wroteAfterBody(life.deeds, scenario, Number(attempt.split(' ')[1]));
    expect(runs.length, `runs of ${attempt}; deeds: ${life.deeds.join(', ')}`).toBe(unknown ? 2 : 1);
  }
  const { deadLetters } = await healthy.broker();
  expect(await deadLetters.list({ queue })).toEqual([]);
  await second?.stop();
  if (!life.isOver) {
    await first.stop();
    await mortal.close();
  }
  return life.isOver;
}

/** Whether what the body came to was written down in the same life: by the first write after it. */
function wroteAfterBody(deeds: readonly string[], scenario: Scenario, retries: number): boolean {
  const after = deeds.slice(deeds.indexOf(`body ${retries}`) + 1);
  // Without a result, only the mark that it ran says that it did.
  const first = scenario === 'keeps no result' || (scenario === 'is retried' && retries === 0) ? 'finish' : 'store';
  return after.includes(first);
}

type Sent = Awaited<ReturnType<ReturnType<typeof register>['pay']['delay']>>;

async function send(
  scenario: Scenario,
  pay: ReturnType<typeof register>['pay'],
  tell: ReturnType<typeof register>['tell'],
): Promise<Sent | undefined> {
  if (scenario === 'has a follow-up') return pay.applyAsync([scenario], { link: tell.s() });
  if (scenario === 'keeps no result') {
    await pay.applyAsync([scenario], { ignoreResult: true });
    return undefined;
  }
  if (scenario !== 'is a member of a chord') return pay.delay(scenario);
  const { chord } = await import('../../src/index.ts');
  return (await chord([pay.s(scenario)], tell.s()).delay()) as unknown as Sent;
}

async function end(scenario: Scenario, result: Sent | undefined): Promise<void> {
  if (!result) return;
  if (scenario === 'fails') await expect(result.get({ timeout: 30 })).rejects.toThrow('refused');
  else if (scenario === 'is a member of a chord') expect(await result.get({ timeout: 30 })).toEqual({ told: ['paid'] });
  else expect(await result.get({ timeout: 30 })).toBe('paid');
  if (scenario !== 'has a follow-up') return;
  const [child] = await until(async () => {
    const children = await result.children;
    return children.length > 0 && children;
  });
  expect(await child?.get({ timeout: 30 })).toEqual({ told: 'paid' });
}

async function quietQueue(app: Lovage, queue: string): Promise<boolean> {
  const [depth] = await (await app.broker()).countMany([queue]);
  return depth !== undefined && depth.ready + depth.inFlight + depth.delayed === 0;
}

describe.each(stores)('on %s, a worker that dies', (store: StoreName) => {
  test.each(scenarios)(
    'at any of its calls while a task that %s runs once: none is lost, none is run again',
    async (scenario) => {
      await using shop = await LimitShop.open(store, 0.6);
      let died = 0;
      const lives = async (before: boolean) => {
        // As many at a time as a slow machine bears; the first life that outlives its task ends the row.
        for (let from = 1; ; from += 4) {
          const ends = await Promise.all(
            [0, 1, 2, 3].map((i) => {
              const at = from + i;
              return live(shop, scenario, `q-${before ? 'before' : 'after'}-${at}`, new Life(at, before));
            }),
          );
          died += ends.filter((end) => end).length;
          if (ends.some((end) => !end)) return;
        }
      };
      await lives(true);
      await lives(false);
      // Claim, look, store, finish, release, ack, at least, in both ways.
      expect(died).toBeGreaterThanOrEqual(10);
    },
  );
});

test.each(stores)(
  'on %s, workers that are killed while they run tasks once: none is lost, none runs beside itself',
  async (store) => {
    await using shop = await LimitShop.open(store, 1);
    await using place = new Workplace();
    const url = `${shop.url}?${store === 'redis' ? 'leaseTimeout' : 'visibilityTimeout'}=1`;
    const app = new Lovage('client', { broker: url, logger: quiet });
    const env = { TEST_BROKER: url, TEST_CONCURRENCY: '3' };
    const calls = Array.from({ length: 60 }, (_, n) => [n]);
    const ids = calls.map(([n]) => `payment-${n}`);
    // Two copies of each.
    for (let copy = 0; copy < 2; copy += 1)
      await Promise.all(calls.map((args, n) => app.sendTask('tasks.payOnce', args, { taskId: ids[n] })));
    const killed = new Set<string>();
    const workers = [await place.worker(env), await place.worker(env)];
    for (let kills = 0; kills < 6; kills += 1) {
      const begun = place.notes().length;
      await until(() => place.notes().length > begun + 5 || place.notes().length >= 2 * calls.length);
      const victim = workers.shift();
      killed.add(String(victim?.pid));
      if (victim) await kill(victim);
      workers.push(await place.worker(env));
    }
    const results = await Promise.all(ids.map((id) => app.result(id).get({ timeout: 60 })));
    expect(results).toEqual(calls.map(([n]) => n));

    const running = new Map<string, string>();
    const ended = new Map<string, string>();
    for (const line of place.notes()) {
      const [what, n = '', pid = ''] = line.split(' ');
      if (what === 'end') {
        expect(running.get(n), `${line}: two at once`).toBe(pid);
        running.delete(n);
        ended.set(n, pid);
        continue;
      }
      const before = running.get(n) ?? ended.get(n);
      // Only what a killed worker left, in the middle or with nothing stored, runs again.
      if (before !== undefined) expect(killed.has(before), `${line}, after ${before}`).toBe(true);
      running.set(n, pid);
    }
    await app.close();
  },
);
