import { createHash } from 'node:crypto';
import type { Results } from '../../app/results/results.ts';
import type { JoinStore, ResultBackend } from '../../contracts/backend.ts';
import type { ClaimAnswer, LimitStore } from '../../contracts/limits.ts';
import { ConfigError } from '../../errors.ts';
import type { Pointer } from '../../stores/sqs/payloads.ts';
import type { WireMessage } from '../../wire/message.ts';
import type { TaskMessage } from '../../wire/task-message.ts';

/**
 * Where a job is.
 * - `starting`: an ECS task is asked for, or on its way
 * - `running`: its container has shown itself
 * - `requeue`: its message is about to go back to its queue
 * - `queued`: its message is there again
 */
export type JobState = 'starting' | 'running' | 'requeue' | 'queued';

/** One message that runs as an ECS task of its own, as the result backend keeps it while it is under way. */
export interface EcsJob {
  readonly id: string;
  readonly taskId: string;
  readonly task: string;
  readonly queue: string;
  /** `undefined` where its body lies in the store for large payloads. */
  readonly message?: PackedMessage | undefined;
  readonly payload?: Pointer | undefined;
  readonly groupKey?: string | undefined;
  readonly state: JobState;
  /** Which ECS task has it, from 0: each one that is asked for has a number of its own. */
  readonly start: number;
  /** The id in SQS of the message from which this ECS task comes: a name for it that no later one has. */
  readonly origin: string;
  /** Runs that have begun, and were not given back. */
  readonly attempts: number;
  /** ECS tasks in a row that never showed themselves. */
  readonly failedStarts: number;
  /** What became of the ECS task before this one. */
  readonly reason?: string | undefined;
}

/** A message as JSON. */
export interface PackedMessage extends Omit<WireMessage, 'body'> {
  /** In base64. */
  readonly body: string;
}

/** Jobs are kept for so long after they were last written: longer than anything waits in SQS, and any job runs. */
const KEPT_MS = 90 * 24 * 3600 * 1000;
/** A finished job refuses late copies of its message for so long: as long as SQS may keep one. */
const FINISHED_MS = 15 * 24 * 3600 * 1000;
/** Open jobs are listed by when they began, in lists of this length. */
const LIST_MS = 10 * 60_000;
/** Who sweeps for the first time looks so far back. */
const LOOK_BACK_MS = 24 * 3600 * 1000;
const CURSOR = 'ecs-jobs:cursor';

/**
 * The jobs of an application: a record for each in its result backend, a claim that says which ECS task may run it, and
 * lists of those under way. Only who has the claim of a job writes its record.
 */
export class Jobs {
  readonly backend: ResultBackend;
  readonly #results: Results;
  readonly #limits: LimitStore;
  readonly #joins: JoinStore;

  /** @throws ConfigError where the application keeps no results, or in a store without claims or joins */
  constructor(results: Results) {
    const backend = results.required();
    if (!backend.limits || !backend.joins)
      throw new ConfigError(
        `jobs on ECS need a result backend that keeps claims and joins, and ${backend.name} does not: use dynamodb:// (or redis://, sqlite://)`,
      );
    this.backend = backend;
    this.#results = results;
    this.#limits = backend.limits;
    this.#joins = backend.joins;
  }

  async fetch(id: string): Promise<EcsJob | undefined> {
    return (await this.fetchMany([id]))[0];
  }

  async fetchMany(ids: readonly string[]): Promise<(EcsJob | undefined)[]> {
    const records = await this.backend.fetchMany(ids.map(recordKey));
    return records.map((record) => (record ? (this.#results.decode(record).result as EcsJob) : undefined));
  }

  async save(job: EcsJob): Promise<void> {
    await this.#results.store({ taskId: recordKey(job.id), state: 'ECS_JOB', result: job, children: [] }, KEPT_MS);
  }

  /** Asks for a job, or renews what the same holder has. */
  async claim(id: string, holder: string, leaseMs: number): Promise<ClaimAnswer> {
    const [answer] = await this.#limits.claimMany([{ key: claimKey(id), holder, leaseMs }]);
    return answer ?? { granted: false, holder: '', done: false, waitMs: leaseMs };
  }

  async release(id: string, holder: string): Promise<void> {
    await this.#limits.releaseMany([{ key: claimKey(id), holder }]);
  }

  /** The job is over: copies of its message do nothing any more. */
  async finish(id: string, holder: string): Promise<void> {
    const [failure] = await this.#limits.finishMany([{ key: claimKey(id), holder }], FINISHED_MS);
    if (failure) throw failure.error;
    await this.forget(id);
  }

  async forget(id: string): Promise<void> {
    await this.backend.forgetMany([recordKey(id)]);
  }

  /** Has sweeps look after a job: before its claim is asked for, so that no crash leaves one that nobody knows of. */
  async list(ids: readonly string[], now = Date.now()): Promise<void> {
    if (ids.length === 0) return;
    const parts = ids.map((id) => ({ key: id, index: 0, document: this.#mark(id) }));
    await this.#joins.addMany(listName(listOf(now)), parts, KEPT_MS);
  }

  /**
   * Shows every job that was listed to `visit`, which says whether it is to be kept in view. Jobs of old lists move to the
   * present one, so that the next sweep has few to read.
   */
  async sweep(visit: (id: string, job: EcsJob | undefined) => Promise<boolean>, now = Date.now()): Promise<void> {
    const present = listOf(now);
    const cursor = await this.#results.fetch(CURSOR);
    const from = Number((cursor?.result as { from?: number } | null)?.from ?? listOf(now - LOOK_BACK_MS));
    // A job may be in several lists, and moves while this goes on.
    const seen = new Set<string>();
    for (let list = from; list <= present; list++) {
      const parts = (await this.#joins.read(listName(list))) ?? [];
      const ids = parts.map(({ key }) => key).filter((id) => !seen.has(id));
      for (const id of ids) seen.add(id);
      const jobs = await this.fetchMany(ids);
      const kept: string[] = [];
      for (const [i, id] of ids.entries()) if (await visit(id, jobs[i])) kept.push(id);
      // Who is about to write into a list may be late by as much as a list is long.
      if (list > present - 2) continue;
      await this.list(kept, now);
      await this.#joins.take(listName(list));
    }
    const next = { taskId: CURSOR, state: 'ECS_SWEPT', result: { from: Math.max(from, present - 1) }, children: [] };
    await this.#results.store(next, undefined);
  }

  /** Only its key counts; a store may want the form of a result. */
  #mark(id: string): string | Uint8Array {
    return this.#results.encode({ taskId: id, state: 'ECS_JOB', result: null, children: [] }).document;
  }
}

/**
 * The id of the job of a message. A retry and a snooze are messages of their own: they begin before the run that sent them
 * has ended, and must not be taken for copies. Letters, digits, `-` and `_`.
 */
export function jobId({ id, retries, eta }: Pick<TaskMessage, 'id' | 'retries' | 'eta'>): string {
  const name = /^[A-Za-z0-9-]{1,64}$/.test(id) ? id : createHash('sha256').update(id).digest('hex').slice(0, 40);
  return `${name}${retries > 0 ? `_r${retries}` : ''}${eta === undefined ? '' : `_e${Math.round(eta).toString(36)}`}`;
}

/** Who claims a job: its present ECS task. */
export function holderOf({ id, start, origin }: Pick<EcsJob, 'id' | 'start' | 'origin'>): string {
  return `ecs/${id}/${start}/${origin}`;
}

export function packMessage({ body, ...rest }: WireMessage): PackedMessage {
  return { ...rest, body: Buffer.from(body).toString('base64') };
}

export function unpackMessage({ body, ...rest }: PackedMessage): WireMessage {
  return { ...rest, body: Buffer.from(body, 'base64') };
}

/** The key under which claims of a job are kept. */
export function claimKey(id: string): string {
  return `ecs:${id}`;
}

function recordKey(id: string): string {
  return `ecs-job:${id}`;
}

function listOf(now: number): number {
  return Math.floor(now / LIST_MS);
}

function listName(list: number): string {
  return `ecs-jobs:${list}`;
}
