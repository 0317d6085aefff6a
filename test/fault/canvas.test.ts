/** Random workflows while tasks fail, are retried and replaced, and workers are killed: every node ends, every chord is over. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { freeze } from '../../src/canvas/freeze.ts';
import { type AsyncResult, type GroupResult, type Lovage, RemoteTaskError } from '../../src/index.ts';
import { newId } from '../../src/util/ids.ts';
import type { WireSignature } from '../../src/wire/task-message.ts';
import { grow, model, random, taskIds } from '../support/canvas-growth.ts';
import { makeCanvasApp } from '../support/canvas-worker.ts';
import { startRedis } from '../support/redis-server.ts';
import { kill, until } from '../support/workplace.ts';

class Place implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-graphs-'));
  readonly broker: string;
  readonly app: Lovage;
  readonly #workers: ChildProcess[] = [];
  #over = false;

  readonly #storage: 'message' | 'backend';

  constructor(storage: 'message' | 'backend', broker: (folder: string) => string) {
    this.#storage = storage;
    this.broker = broker(this.folder);
    this.app = makeCanvasApp(this.broker, storage);
  }

  /** Keeps so many workers going: who dies is replaced. */
  async staff(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#hire()));
  }

  async #hire(): Promise<void> {
    const child = spawn(process.execPath, [join(import.meta.dirname, '..', 'support', 'canvas-worker.ts')], {
      env: {
        ...process.env,
        TEST_BROKER: this.broker,
        TEST_FOLDER: this.folder,
        TEST_STORAGE: this.#storage,
        TEST_WORKER_RUNS: '1',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#workers.push(child);
    child.once('exit', () => {
      if (!this.#over) void this.#hire();
    });
    await Promise.race([once(createInterface({ input: child.stdout }), 'line'), once(child, 'exit')]);
  }

  /** Kills a worker. */
  async strike(): Promise<void> {
    const alive = this.#workers.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    if (alive[0]) await kill(alive[0]);
  }

  /** Which tasks have come to their end, in order, and in which process. */
  get runs(): { id: string; pid: number }[] {
    try {
      const lines = readFileSync(join(this.folder, 'runs'), 'utf8').trim().split('\n');
      return lines.map((line) => line.split(' ')).map(([id = '', pid]) => ({ id, pid: Number(pid) }));
    } catch {
      return [];
    }
  }

  isAlive(pid: number): boolean {
    return this.#workers.some((child) => child.pid === pid && child.exitCode === null && child.signalCode === null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await Promise.all(this.#workers.map((child) => kill(child)));
    await this.app.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const graphs = Number(process.env.TEST_GRAPHS ?? 6);
const firstSeed = Number(process.env.TEST_SEED ?? 1);

/** Sends random workflows, kills workers meanwhile, and checks what has come of each. */
async function ordeal(place: Place): Promise<void> {
  await place.staff(2);
  const sent: { seed: number; frozen: WireSignature; result: AsyncResult | GroupResult | undefined }[] = [];
  for (let seed = firstSeed; seed < firstSeed + graphs; seed += 1) {
    const next = random(seed);
    const frozen = freeze(grow(next, 5 + Math.floor(next() * 56)), newId);
    sent.push({ seed, frozen, result: await place.app.signature(frozen).delay() });
    if (seed % 4 === 0) await place.strike();
  }
  await until(() => place.runs.length > 20, 60_000);
  await place.strike();
  const results = await place.app.results();
  for (const { seed, frozen, result } of sent) {
    const ids = taskIds(frozen);
    const open = async () => {
      const metas = await Promise.all(ids.map((id) => results.fetch(id)));
      return metas.flatMap((meta, i) => (meta && ['SUCCESS', 'FAILURE'].includes(meta.state) ? [] : [ids[i]]));
    };
    await until(async () => (await open()).length === 0, 60_000).catch(async () => {
      throw new Error(`seed ${seed}: no end of ${(await open()).join()} in ${JSON.stringify(frozen)}`);
    });
    const value = await result?.get({ timeout: 5 }).catch((error: Error) => {
      if (error instanceof RemoteTaskError) throw error;
      return undefined;
    });
    expect([seed, value]).toEqual([seed, model(frozen, [])]);
  }
  // A copy of a body, or of any step, with an id of its own would be one that runs twice.
  const known = new Set(sent.flatMap(({ frozen }) => taskIds(frozen)));
  expect(place.runs.filter(({ id }) => !known.has(id))).toEqual([]);
  const metas = await Promise.all([...known].map((id) => results.fetch(id)));
  const succeeded = metas.flatMap((meta) => (meta?.state === 'SUCCESS' ? [meta.taskId] : []));
  expect(new Set(place.runs.map(({ id }) => id))).toEqual(new Set(succeeded));
  // What runs once is run again only where its worker died before it could say so.
  const once = new Set(sent.flatMap(({ frozen }) => taskIds(frozen, 'g.once')));
  const runs = place.runs.filter(({ id }) => once.has(id));
  const again = [...Map.groupBy(runs, ({ id }) => id).values()].flatMap((all) => all.slice(0, -1));
  expect(again.filter(({ pid }) => place.isAlive(pid))).toEqual([]);
}

describe.each(['message', 'backend'] as const)("of random workflows with canvasStorage '%s'", (storage) => {
  test('every node ends, with the right results, what runs once does, and nothing is left, on sqlite', {
    timeout: 180_000,
  }, async () => {
    await using place = new Place(storage, (folder) => `sqlite://${join(folder, 'graphs.db')}?visibilityTimeout=2`);
    await ordeal(place);
    const db = new DatabaseSync(join(place.folder, 'graphs.db'));
    const count = (from: string) => Number(db.prepare(`SELECT count(*) AS n FROM ${from}`).get()?.n);
    await until(() => count('joins WHERE taken = 0') + count('messages') === 0);
    for (const table of ['join_parts', 'payloads', 'dead_letters', 'rates', 'reservations'])
      expect([table, count(table)]).toEqual([table, 0]);
    // All that is left has its time, and is gone when that is over and others write.
    expect(count('results WHERE expires_at IS NULL') + count('joins WHERE expires_at IS NULL')).toBe(0);
    db.exec('PRAGMA busy_timeout = 5000; UPDATE results SET expires_at = 1; UPDATE joins SET expires_at = 1');
    const results = await place.app.results();
    await until(async () => {
      await results.store({ taskId: 'another', state: 'SUCCESS', result: 1, children: [] });
      await results.required().joins?.setSize('another', 1, 60_000);
      return count('results') + count('joins') === 2;
    });
    db.close();
  });

  test('every node ends, with the right results, what runs once does, and nothing is left, on redis', {
    timeout: 180_000,
  }, async () => {
    await using redis = await startRedis();
    await using place = new Place(storage, () => redis.url);
    await ordeal(place);
    const store = new Redis(redis.url);
    const open = async () => (await store.keys('celery-taskset-meta-*')).filter((key) => /\.[jst]$/.test(key));
    await until(async () => (await open()).length === 0);
    await until(async () => (await store.llen('celery')) + (await store.hlen('unacked')) === 0);
    // All that is left has its time. Only which queues there are stays, as with Celery.
    const keys = await store.keys('*');
    const times = await Promise.all(keys.map((key) => store.pttl(key)));
    const stays = /^(_kombu\.binding\..+|lovage:queues)$/;
    expect(keys.filter((key, i) => times[i] === -1 && !stays.test(key))).toEqual([]);
    store.disconnect();
  });
});
