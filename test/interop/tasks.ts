/** The TypeScript application of the interop tests, with the same tasks as test/support/python/app.py has. */
import { Redis } from 'ioredis';
import { group, Lovage, type LovageOptions } from '../../src/index.ts';

/** An error with two arguments, as applications have; Python's application has one of the same name. */
export class OutOfStock extends Error {
  override name = 'OutOfStock';
  readonly args: readonly [item: string, count: number];

  constructor(item: string, count: number) {
    super(`${count} of ${item} are not there`);
    this.args = [item, count];
  }
}

/** Waits until somebody pushes to the list `gate`, on a connection of its own. */
async function opened(url: string, gate: string): Promise<void> {
  const redis = new Redis(url);
  await redis.blpop(gate, 60);
  redis.disconnect();
}

/** An application on `url` with all tasks; `store` is where they leave notes. */
export function makeApp(url: string, store: Redis, options: LovageOptions = {}): Lovage {
  const app = new Lovage('interop', {
    broker: url,
    taskRoutes: { 'py.*': { queue: 'py' }, 'ts.*': { queue: 'ts' }, 'both.*': { queue: 'both' } },
    acceptContent: ['json', 'msgpack', 'yaml'],
    // Debian's Celery is 5.2.
    jsonTags: false,
    errors: [OutOfStock],
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    ...options,
  });

  app.task('ts.add', (x: number, y?: number) => x + (y ?? 0));
  app.task('ts.echo', (value: unknown) => value);
  app.task('ts.length', (text: string) => text.length);
  app.task('ts.fail', (text: string) => {
    throw new RangeError(text);
  });
  app.task('ts.outOfStock', (item: string, count: number) => {
    throw new OutOfStock(item, count);
  });
  app.task('ts.retryOnce', { bind: true, maxRetries: 3 }, (self, value: unknown) => {
    if (self.request.retries === 0) throw self.retry({ error: new Error('try again'), countdown: 0 });
    return [value, self.request.retries];
  });
  app.task('ts.retryInVain', { bind: true, maxRetries: 1 }, (self) => {
    throw self.retry({ error: new RangeError('never works'), countdown: 0 });
  });
  app.task('ts.progress', { bind: true }, async (self, gate: string) => {
    await self.updateState('PROGRESS', { current: 1, total: 3 });
    await opened(url, gate);
    return 'complete';
  });
  app.task('ts.note', async (value: unknown, into: string) => {
    await store.rpush(into, JSON.stringify(value));
    return value;
  });
  app.task('ts.ignored', { ignoreResult: true }, async (into: string) => {
    await store.rpush(into, 'ran');
    return 'not stored';
  });
  app.task('ts.whoami', { bind: true }, ({ request }) => ({
    id: request.id,
    rootId: request.rootId,
    parentId: request.parentId ?? null,
    lang: request.lang,
    retries: request.retries,
    priority: request.priority,
    origin: request.origin,
    queue: request.queue,
    tenant: request.headers.tenant ?? null,
    eta: request.eta?.toISOString() ?? null,
    expires: request.expires?.toISOString() ?? null,
  }));
  app.task('ts.now', () => Date.now() / 1000);
  app.task('ts.types', () => ({
    date: new Date('2020-01-02T03:04:05.678Z'),
    nan: Number.NaN,
    inf: Number.POSITIVE_INFINITY,
    big: Number.MAX_SAFE_INTEGER,
    float: 1.5,
    unicode: 'h\u00e9llo \u2603 \u{1F600}',
    none: null,
    true: true,
  }));
  app.task('ts.kinds', (value: Record<string, unknown>) =>
    Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, item?.constructor.name ?? String(item)] as const),
    ),
  );
  app.task('ts.describe', (value: unknown) => String(value));
  app.task('ts.onError', async (id: string, into: string) => {
    const state = await app.result(id).state;
    await store.rpush(into, JSON.stringify({ id, state }));
    return id;
  });
  // The tasks of workflows, which both kinds of workers have.
  const cvAdd = app.task('cv.add', (x: number, y: number) => x + y);
  app.task('cv.mul', (x: number, y: number) => x * y);
  app.task('cv.xsum', (numbers: unknown[]) => (numbers.flat(9) as number[]).reduce((a, b) => a + b, 0));
  app.task('cv.echo', (value: unknown) => value);
  const cvFail = app.task('cv.fail', (..._any: unknown[]): number => {
    throw Object.assign(new Error('no'), { name: 'ValueError' });
  });
  app.task('cv.replace', { bind: true }, (self, x: number): number =>
    self.replace(cvAdd.s(x, 100).set({ queue: self.request.queue })),
  );
  app.task('cv.replace_group', { bind: true }, (self, x: number): number[] => {
    const { queue } = self.request;
    return self.replace(group([cvAdd.s(x, 1).set({ queue }), cvAdd.s(x, 2).set({ queue })]));
  });
  app.task('cv.replace_fail', { bind: true }, (self, _x: number): number =>
    self.replace(cvFail.s().set({ queue: self.request.queue })),
  );
  app.task('cv.retry_once', { bind: true, maxRetries: 3 }, (self, value: unknown) => {
    if (self.request.retries === 0) throw self.retry({ error: new Error('try again'), countdown: 0 });
    return [value, self.request.retries];
  });
  app.task('both.share', async (n: number) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    await store.rpush('shared', JSON.stringify([n, 'typescript']));
    return 'typescript';
  });
  app.task('both.hold', async (began: string, gate: string) => {
    await store.rpush(began, 'typescript');
    await opened(url, gate);
    return 'typescript';
  });
  return app;
}
