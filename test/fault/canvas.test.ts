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
import { bodyOf, chainOf, chordOf, groupOf, headerOf, kindOf, tasksOf } from '../../src/canvas/wire-tree.ts';
import { type AsyncResult, type GroupResult, type Lovage, RemoteTaskError } from '../../src/index.ts';
import { newId } from '../../src/util/ids.ts';
import type { WireSignature } from '../../src/wire/task-message.ts';
import { makeCanvasApp, type NodeSpec, sumOf } from '../support/canvas-worker.ts';
import { startRedis } from '../support/redis-server.ts';
import { kill, until } from '../support/workplace.ts';

/** Numbers that a seed fixes (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A workflow of up to `budget` tasks. */
function grow(next: () => number, budget: number): WireSignature {
  const fails = next() < 0.5 ? 0.05 : 0;
  let left = budget;
  let n = 0;
  const task = (): WireSignature => {
    left -= 1;
    const at = next();
    const kind = at < fails ? 'fail' : at < 0.13 ? 'retry' : at < 0.15 ? 'die' : at < 0.2 ? 'replace' : 'plain';
    const spec: NodeSpec = { n: n++, kind };
    return { task: 'g.work', args: [spec], kwargs: {}, options: {}, subtask_type: null, immutable: false };
  };
  const several = (depth: number) => {
    const all = [node(depth + 1)];
    while (left > 0 && next() < 0.65) all.push(node(depth + 1));
    return all;
  };
  const node = (depth: number): WireSignature => {
    const at = next();
    if (left <= 1 || depth > 4 || at < 0.35) return task();
    if (at < 0.65) return chainOf([...several(depth), ...(left > 0 ? [task()] : [])]);
    if (at < 0.8) return groupOf(several(depth));
    return chordOf(several(depth), left > 0 && next() < 0.3 ? node(depth + 1) : task());
  };
  return chordOf(several(0), task());
}

/** What is to come of a workflow; `undefined` where something of it fails. */
function model(signature: WireSignature, inputs: readonly unknown[]): unknown {
  switch (kindOf(signature)) {
    case 'task': {
      const { n, kind } = signature.args[0] as NodeSpec;
      return kind === 'fail' ? undefined : sumOf(n, inputs);
    }
    case 'chain':
      return tasksOf(signature).reduce<{ value: unknown; given: readonly unknown[] }>(
        ({ value, given }, step, i) => {
          if (i > 0 && value === undefined) return { value, given };
          const result = model(step, i === 0 ? given : [value]);
          return { value: result, given };
        },
        { value: undefined, given: inputs },
      ).value;
    case 'group': {
      const values = tasksOf(signature).map((member) => model(member, inputs));
      return values.includes(undefined) ? undefined : values;
    }
    case 'chord': {
      const values = tasksOf(headerOf(signature)).map((member) => model(member, inputs));
      return values.includes(undefined) ? undefined : model(bodyOf(signature), [values]);
    }
  }
}

function taskIds(signature: WireSignature): string[] {
  switch (kindOf(signature)) {
    case 'task':
      return [String(signature.options.task_id)];
    case 'chord':
      return [headerOf(signature), bodyOf(signature)].flatMap(taskIds);
    default:
      return tasksOf(signature).flatMap(taskIds);
  }
}

class Place implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-graphs-'));
  readonly broker: string;
  readonly app: Lovage;
  readonly #workers: ChildProcess[] = [];
  #over = false;

  constructor(broker: (folder: string) => string) {
    this.broker = broker(this.folder);
    this.app = makeCanvasApp(this.broker);
  }

  /** Keeps so many workers going: who dies is replaced. */
  async staff(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#hire()));
  }

  async #hire(): Promise<void> {
    const child = spawn(process.execPath, [join(import.meta.dirname, '..', 'support', 'canvas-worker.ts')], {
      env: { ...process.env, TEST_BROKER: this.broker, TEST_FOLDER: this.folder, TEST_WORKER_RUNS: '1' },
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

  get runs(): string[] {
    try {
      return readFileSync(join(this.folder, 'runs'), 'utf8').trim().split('\n');
    } catch {
      return [];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await Promise.all(this.#workers.map((child) => kill(child)));
    await this.app.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const graphs = Number(process.env.TEST_GRAPHS ?? 10);
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
  expect(place.runs.filter((id) => !known.has(id))).toEqual([]);
  const metas = await Promise.all([...known].map((id) => results.fetch(id)));
  const succeeded = metas.flatMap((meta) => (meta?.state === 'SUCCESS' ? [meta.taskId] : []));
  expect(new Set(place.runs)).toEqual(new Set(succeeded));
}

describe('of random workflows', () => {
  test('every node ends, with the right results, and no join is left, on sqlite', { timeout: 180_000 }, async () => {
    await using place = new Place((folder) => `sqlite://${join(folder, 'graphs.db')}?visibilityTimeout=1`);
    await ordeal(place);
    const db = new DatabaseSync(join(place.folder, 'graphs.db'), { readOnly: true });
    await until(() => db.prepare('SELECT count(*) AS n FROM joins WHERE taken = 0').get()?.n === 0);
    expect(db.prepare('SELECT count(*) AS n FROM join_parts').get()?.n).toBe(0);
    db.close();
  });

  test('every node ends, with the right results, and no join is left, on redis', { timeout: 180_000 }, async () => {
    await using redis = await startRedis();
    await using place = new Place(() => redis.url);
    await ordeal(place);
    const store = new Redis(redis.url);
    const left = async () => (await store.keys('celery-taskset-meta-*')).filter((key) => /\.[jst]$/.test(key));
    await until(async () => (await left()).length === 0);
    store.disconnect();
  });
});
