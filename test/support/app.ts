/** The application that worker processes of the tests run. Where it keeps its messages and its notes comes from the environment. */
import { appendFileSync } from 'node:fs';
import { Ignore, Lovage, Reject, type TaskContext } from '../../src/index.ts';

const notes = process.env.TEST_NOTES ?? '';

/** Writes down that something happened: one line, atomically, so that many processes may write. */
export function note(text: string): void {
  appendFileSync(notes, `${text}\n`);
}

export class ShopError extends Error {
  override name = 'ShopError';
}

export const app = new Lovage('test', {
  broker: process.env.TEST_BROKER ?? 'memory://test',
  ...(process.env.TEST_BACKEND !== undefined && { backend: process.env.TEST_BACKEND }),
  errors: [ShopError],
  taskMaxDeliveries: Number(process.env.TEST_DELIVERIES ?? 3),
  workerBlockWarning: Number(process.env.TEST_BLOCK_WARNING ?? 0),
  workerShutdownTimeout: Number(process.env.TEST_GRACE ?? 5),
});

export const add = app.task('tasks.add', (x: number, y: number) => x + y);

export const effect = app.task('tasks.effect', (n: number) => {
  note(`effect ${n}`);
  return n;
});

/** The same, with a wait before it, as a task that asks another service has. */
export const slowEffect = app.task('tasks.slowEffect', async (n: number) => {
  await new Promise((resolve) => setTimeout(resolve, 8));
  note(`effect ${n}`);
  return n;
});

/** Sleeps, politely: it ends when it is told to. */
async function sleepPolitely(self: TaskContext, name: string, ms: number): Promise<string> {
  note(`begin ${name}`);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    self.signal.addEventListener('abort', () => {
      clearTimeout(timer);
      note(`aborted ${name}`);
      reject(self.signal.reason);
    });
  });
  note(`end ${name}`);
  return name;
}

export const nap = app.task('tasks.nap', { bind: true }, sleepPolitely);

/** The same, run once. */
export const napOnce = app.task('tasks.napOnce', { bind: true, once: true }, sleepPolitely);

/** Computes without pause: the event loop stands still meanwhile. */
export const block = app.task('tasks.block', (name: string, ms: number) => {
  note(`begin ${name}`);
  const end = Date.now() + ms;
  while (Date.now() < end);
  note(`end ${name}`);
  return name;
});

/** The same after a wait, so that it is no longer the code that the worker has called. */
export const blockLater = app.task('tasks.blockLater', async (name: string, ms: number) => {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return block(name, ms);
});

/** Takes its worker down. */
export const crash = app.task('tasks.crash', (name: string) => {
  note(`crash ${name}`);
  process.kill(process.pid, 'SIGKILL');
});

export const fail = app.task('tasks.fail', (text: string) => {
  throw new ShopError(text);
});

export const throwAnything = app.task('tasks.throwAnything', (kind: string) => {
  // What badly written tasks throw is no error object.
  throw { string: 'just text', undefined: undefined, null: null, number: 7 }[kind];
});

export const unserializable = app.task('tasks.unserializable', (kind: 'bigint' | 'circular' | 'function'): unknown => {
  const circular: { self?: unknown } = {};
  circular.self = circular;
  return { bigint: 5n, circular, function: () => 1 }[kind];
});

export const flaky = app.task('tasks.flaky', { bind: true, maxRetries: 3 }, (self, failures: number) => {
  note(`run ${self.request.retries}`);
  if (self.request.retries < failures)
    throw self.retry({ countdown: 0, error: new ShopError(`try ${self.request.retries}`) });
  return self.request.retries;
});

export const auto = app.task(
  'tasks.auto',
  { bind: true, autoretryFor: [ShopError], maxRetries: 2, retryBackoff: 0.01, retryBackoffMax: 0.05 },
  (self, failures: number) => {
    if (self.request.retries < failures) throw new ShopError('again');
    return self.request.retries;
  },
);

export const progress = app.task('tasks.progress', { bind: true }, async (self, until: string) => {
  await self.updateState('PROGRESS', { done: 3, of: 10 });
  await new Promise<void>((resolve) => {
    const timer = setInterval(async () => {
      if ((await app.result(until).state) === 'SUCCESS') {
        clearInterval(timer);
        resolve();
      }
    }, 10);
  });
  return 'done';
});

export const early = app.task('tasks.early', { acksLate: false }, (name: string) => {
  note(`early ${name}`);
  process.kill(process.pid, 'SIGKILL');
});

export const ignored = app.task('tasks.ignored', () => {
  throw new Ignore('nothing to do');
});

export const rejected = app.task('tasks.rejected', () => {
  throw new Reject('not for me');
});

export const parent = app.task('tasks.parent', async () => {
  const child = await add.delay(1, 1);
  return child.id;
});

export const whoami = app.task('tasks.whoami', { bind: true }, (self) => ({
  id: self.request.id,
  parentId: self.request.parentId ?? null,
  rootId: self.request.rootId,
  headers: self.request.headers,
  queue: self.request.queue,
}));

/** The same as `block`, run once. */
export const blockOnce = app.task('tasks.blockOnce', { once: true }, (name: string, ms: number) => {
  note(`begin ${name}`);
  const end = Date.now() + ms;
  while (Date.now() < end);
  note(`end ${name}`);
  return name;
});

/** A run of some milliseconds, once, that tells which process it was in. */
export const payOnce = app.task('tasks.payOnce', { once: true, maxDeliveries: 100 }, async (n: number) => {
  note(`begin ${n} ${process.pid}`);
  await new Promise((resolve) => setTimeout(resolve, 30));
  note(`end ${n} ${process.pid}`);
  return n;
});
