/** The application whose tasks run in threads and processes. Its places come from the environment, for children too. */
import { appendFileSync, existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { chain, group, Lovage, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError } from '../../src/index.ts';

const notes = process.env.TEST_NOTES ?? '';
const note = (text: string) => notes && appendFileSync(notes, `${text}\n`);

export class ShopError extends Error {
  override name = 'ShopError';
}

export const app = new Lovage('pools', {
  broker: process.env.TEST_BROKER ?? 'memory://pools',
  errors: [ShopError],
  taskMaxDeliveries: 3,
  workerShutdownTimeout: 5,
  workerBursts: process.env.TEST_BURSTS !== 'false',
  workerChildren: process.env.TEST_CHILDREN ? Number(process.env.TEST_CHILDREN) : undefined,
});

const pool = process.env.TEST_POOL === 'processes' ? 'processes' : 'threads';

export const where = app.task('pool.where', { pool }, (n: number) => [n, process.env.TEST_POOL, isMain()]);
export const here = app.task('pool.here', (n: number) => [n, isMain()]);
export const forever = app.task('pool.forever', { pool, timeLimit: 0.5 }, () => {
  for (;;);
});
/** The same without a limit: somebody has to end it. */
export const spin = app.task('pool.spin', { pool }, (name: string) => {
  note(`spins ${name}`);
  for (;;);
});
/** Loops for ever in its first run, or in each. */
const stuck = (name: string, retries: number, always: boolean) => {
  note(`stuck ${name}`);
  while (always || retries === 0);
  return retries;
};
const again = { pool, bind: true, timeLimit: 0.3, maxRetries: 1, defaultRetryDelay: 0 } as const;
export const stuckRetried = app.task(
  'pool.stuckRetried',
  { ...again, autoretryFor: [TimeLimitExceeded] },
  (self, name: string, always: boolean) => stuck(name, self.request.retries, always),
);
export const stuckForGood = app.task(
  'pool.stuckForGood',
  { ...again, autoretryFor: [Error], acksOnFailureOrTimeout: false },
  (self, name: string) => stuck(name, self.request.retries, false),
);
export const patient = app.task(
  'pool.patient',
  { pool, bind: true, softTimeLimit: 0.2, timeLimit: 20 },
  async (self) => {
    await sleep(20_000, undefined, { signal: self.signal }).catch(() => {});
    return self.signal.reason instanceof SoftTimeLimitExceeded ? 'ended in time' : 'ran on';
  },
);
export const fail = app.task('pool.fail', { pool }, () => {
  throw new ShopError('out of lovage');
});
export const flaky = app.task('pool.flaky', { pool, bind: true, maxRetries: 2, defaultRetryDelay: 0 }, (self) => {
  if (self.request.retries < 2) throw self.retry();
  return self.request.retries;
});
export const parent = app.task('pool.parent', { pool }, async (n: number) => (await here.delay(n)).id);
export const die = app.task('pool.die', { pool }, (name: string) => {
  note(`died ${name}`);
  if (isMain()) throw new Error('in the worker itself');
  process.kill(process.pid, 'SIGKILL');
});
export const dieTold = app.task('pool.dieTold', { pool, rejectOnWorkerLost: false }, () => {
  process.kill(process.pid, 'SIGKILL');
});
export const add = app.task('pool.add', { pool }, (x: number, y: number) => x + y);
export const total = app.task('pool.total', { pool }, (numbers: readonly unknown[]) =>
  (numbers.flat(9) as number[]).reduce((a, b) => a + b, 0),
);
/** Has others run in its place. */
export const replaced = app.task(
  'pool.replaced',
  { pool, bind: true },
  (self, n: number, by: 'task' | 'chain' | 'group'): number => {
    if (by === 'task') return self.replace(add.s(n, 1));
    if (by === 'chain') return self.replace(chain(add.s(n, 1), here.si(1), add.si(n, 2)));
    return self.replace(chain(group([add.s(n, 1), add.s(n, 2)]), total.s()));
  },
);
/** Adds a task to its chord. */
export const more = app.task('pool.more', { pool, bind: true }, async (self, n: number) => {
  await self.addToChord(chain(add.s(n, 100), add.s(1000)));
  return n;
});
export const errback = app.task('pool.errback', { pool }, (id: string) => note(`told of ${id}`));
export const dieRetried = app.task(
  'pool.dieRetried',
  { pool, bind: true, rejectOnWorkerLost: false, autoretryFor: [WorkerLostError], defaultRetryDelay: 0 },
  (self) => {
    if (self.request.retries === 0) process.kill(process.pid, 'SIGKILL');
    return self.request.retries;
  },
);
export const unwritable = app.task('pool.unwritable', { pool }, () => ({ run: () => {} }));
export const dated = app.task('pool.dated', { pool }, () => ({ at: new Date(0), bytes: new Uint8Array([1, 2]) }));
export const effect = app.task('pool.effect', { pool }, (name: string) => note(`effect ${name}`));
/** One in each process that runs tasks. */
const ledger = app.resource(
  'ledger',
  () => {
    note(`opens ${place()}`);
    return { where: place() };
  },
  { close: ({ where }) => void note(`closes ${where}`) },
);
/** Tells where its hooks ran, and where its resource is open. */
export const hooked = app.task(
  'pool.hooked',
  {
    pool,
    before: () => void note(`before ${place()}`),
    onSuccess: (_self, value) => void note(`success ${value} ${place()}`),
    after: (_self, { state }) => void note(`after ${state} ${place()}`),
  },
  () => ledger.value.where,
);
/** Goes on where its last run was stopped, and is only then to end. */
export const steps = app.task('pool.steps', { pool, bind: true }, async (self) => {
  const last = await self.lastCheckpoint<string>();
  if (last !== undefined) return last;
  await self.checkpoint(`left by ${place()}`);
  note(`left by ${place()}`);
  await new Promise((_, reject) => self.signal.addEventListener('abort', () => reject(self.signal.reason)));
});
/** Tells in which process and thread it was, after so many milliseconds. */
export const nap = app.task('pool.nap', { pool }, async (ms: number) => {
  await sleep(ms);
  return place();
});
export const say = app.task('pool.say', { pool }, (text: string) => {
  console.log(text);
  return text;
});

/** Tells the same, once a file is there. */
export const hold = app.task('pool.hold', { pool }, async (file: string) => {
  note(`holds ${place()}`);
  while (!existsSync(file)) await sleep(20);
  return place();
});

/** The process and the thread. */
function place(): string {
  return `${process.pid} ${threadId}`;
}

/** Whether this is the process and thread of the worker itself. */
function isMain(): boolean {
  return !(Symbol.for('lovage.pool-child') in globalThis);
}
