/**
 * Each workflow of the vectors, run by a worker of Celery and by one of ours: the messages of clients of 5.2 and 5.6 as they
 * were captured, and signatures as they were written. Both send the same after them, and the same comes of all of it.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinished } from '../../src/contracts/backend.ts';
import { type Lovage, Worker } from '../../src/index.ts';
import { newId } from '../../src/util/ids.ts';
import { capturedApp, comparable, idsIn, opened, sameIds } from '../app/canvas/captured.ts';
import { PythonClient, PythonWorker } from '../support/python.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { until } from '../support/workplace.ts';
import { type Json, loadVectors, type Vector } from '../unit/wire/vectors.ts';

const queues = ['celery', 'other', 'q'];

/** One language, on a Redis of its own: what is sent there is heard. One task runs at a time, so that each has the same end. */
class Side implements AsyncDisposable {
  readonly server: RedisServer;
  readonly store: Redis;
  /** It has the tasks of the captures; only ours runs them with it. */
  readonly app: Lovage;
  readonly #monitor: Redis;
  readonly #heard: string[] = [];
  readonly #ends: (() => Promise<unknown>)[] = [];

  private constructor(server: RedisServer, store: Redis, monitor: Redis) {
    this.server = server;
    this.store = store;
    this.#monitor = monitor;
    this.app = capturedApp(server.url).app;
    monitor.on('monitor', (_time: string, [command = '', ...args]: string[]) => {
      if (/^[lr]push$/i.test(command)) this.#heard.push(...args.slice(1));
      else if (command.toLowerCase() === 'echo') this.#heard.push(...args);
    });
  }

  static async open(): Promise<Side> {
    const server = await startRedis();
    const store = new Redis(server.url);
    return new Side(server, store, await store.monitor());
  }

  async python(): Promise<PythonClient> {
    // A worker that may hold one message waits for seconds between two.
    const settings = { task_acks_late: true, worker_prefetch_multiplier: 4 };
    const { url } = this.server;
    const worker = await PythonWorker.start({ url, queues, settings, concurrency: 1 });
    const client = await PythonClient.start({ url, settings });
    this.#ends.push(
      () => worker.kill(),
      () => client[Symbol.asyncDispose](),
    );
    return client;
  }

  async typescript(): Promise<void> {
    const worker = new Worker(this.app, { queues, concurrency: 1 });
    await worker.start();
    this.#ends.push(() => worker.stop({ now: true }));
  }

  /** Has something sent, waits for the end of all that follows from it, and gives all tasks with what became of them. */
  async run(send: () => Promise<unknown>): Promise<Json[]> {
    // Several captures have the same ids.
    const old = await this.store.keys('celery-task-meta-*');
    if (old.length > 0) await this.store.del(old);
    const from = this.#heard.length;
    await send();
    return until(async () => (await this.#isIdle()) && this.#ended(from), 20_000);
  }

  /** All tasks that were sent, once each of them has ended: Python holds a message nowhere while it takes it. */
  async #ended(from: number): Promise<Json[] | undefined> {
    const mark = newId();
    await this.store.echo(mark);
    const to = await until(() => {
      const at = this.#heard.indexOf(mark, from);
      return at >= 0 && { at };
    });
    const sent = new Map<string, Json>();
    for (const envelope of this.#heard.slice(from, to.at).filter((one) => one.startsWith('{'))) {
      const { message } = await opened(envelope);
      const meta = JSON.parse((await this.store.get(`celery-task-meta-${message.id}`)) ?? '{}') as Json;
      if (!message.ignoreResult && !isFinished(String(meta.status))) return undefined;
      sent.set(message.id, { ...comparable(message), became: outcome(meta) });
    }
    return [...sent.values()];
  }

  async #isIdle(): Promise<boolean> {
    const counts = await (await this.app.broker()).countMany(queues);
    const left = counts.reduce((sum, one) => sum + (one ? one.ready + one.inFlight + one.delayed : 0), 0);
    return left + (await this.store.hlen('unacked')) === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ends.map((end) => end()));
    await this.app.close();
    this.#monitor.disconnect();
    this.store.disconnect();
    await this.server[Symbol.asyncDispose]();
  }
}

/** A state and a value; of an error what every language knows. What a task returns of new ids cannot be the same. */
function outcome({ status, result }: Json): Json {
  if (status === 'SUCCESS') return { status, result: idsIn(JSON.stringify(result)).size > 0 ? 'ids' : result };
  const { exc_type, exc_message } = (result ?? {}) as Json;
  return { status, exc_type, exc_message };
}

/** In one order; ids that were made under way by the order in which they come. */
function inOrder(tasks: readonly Json[], known: ReadonlySet<string>): Json[] {
  const key = ({ task, args, became }: Json) => JSON.stringify([task, args, became]);
  return sameIds(
    tasks.toSorted((a, b) => key(a).localeCompare(key(b))),
    known,
  );
}

let theirs: Side;
let ours: Side;
let python: PythonClient;

beforeAll(async () => {
  [theirs, ours] = await Promise.all([Side.open(), Side.open()]);
  [python] = await Promise.all([theirs.python(), ours.typescript()]);
}, 60_000);
afterAll(() => Promise.all([theirs[Symbol.asyncDispose](), ours[Symbol.asyncDispose]()]));

/** The messages of a vector in the order in which they were sent, and their queues. */
function messagesOf({ raw }: Vector): [queue: string, envelope: string][] {
  const lists = Array.isArray(raw) ? { celery: raw } : (raw as Record<string, unknown[]>);
  return Object.entries(lists).flatMap(([queue, list]) =>
    list.toReversed().map((envelope): [string, string] => [queue, envelope as string]),
  );
}

const workflows = ['chain', 'chord', 'chunks', 'group', 'link', 'map', 'starmap'];
const vectors = workflows.flatMap((name) => loadVectors(`task_${name}`));

describe('the messages of a workflow', () => {
  // Its members are members of a chord that nobody counts: where there is a backend that counts, Celery never sends it.
  const isUnlock = ({ name }: Vector) => name === 'task_chord_unlock';

  test.each(vectors.filter((one) => !isUnlock(one)))('$label are run with the same follow-ups', async (vector) => {
    const messages = messagesOf(vector);
    const known = idsIn(messages.map(([, text]) => text + Buffer.from(JSON.parse(text).body, 'base64')).join());
    const runOn = (side: Side) =>
      side.run(async () => {
        const all = side.store.pipeline();
        for (const [key, { type, value }] of Object.entries(vector.otherKeys))
          if (type === 'string') all.setex(key, 600, String(value));
        for (const [queue, envelope] of messages) all.lpush(queue, envelope);
        await all.exec();
      });
    const [expected, found] = await Promise.all([runOn(theirs), runOn(ours)]);
    expect(inOrder(found, known)).toEqual(inOrder(expected, known));
    expect(found.length).toBeGreaterThanOrEqual(messages.length);
  });

  test.each(vectors.filter(isUnlock))('$label are run: the body follows, once', async (vector) => {
    const found = await ours.run(async () => {
      for (const [queue, envelope] of messagesOf(vector)) await ours.store.lpush(queue, envelope);
    });
    const bodies = found.filter(({ task }) => task === 'cap.xsum');
    expect(bodies).toMatchObject([{ args: [[2, 4]], became: { status: 'SUCCESS', result: 6 } }]);
  });
});

describe('a signature', () => {
  const all = loadVectors('signatures').flatMap(({ label, decoded }) =>
    Object.entries(decoded as Record<string, Json>).map(([name, wire]) => ({ label: `${label} ${name}`, wire })),
  );

  test.each(all)('$label is sent and run as in Python', async ({ wire }) => {
    const code = 'str(signature(wire, app=app).apply_async())';
    const [expected, found] = await Promise.all([
      theirs.run(() => python.run(code, { wire })),
      ours.run(() => ours.app.signature(wire).applyAsync([] as never)),
    ]);
    expect(inOrder(found, new Set())).toEqual(inOrder(expected, new Set()));
    expect(found.length).toBeGreaterThan(0);
  });
});
