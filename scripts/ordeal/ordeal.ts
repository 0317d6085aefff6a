import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type RedisServer, startRedis } from '../../test/support/redis-server.ts';
import { MARK } from './aof.ts';
import { type Death, ORPHAN_MS, type Outage } from './judge.ts';
import { type End, Member, type Role, signal } from './member.ts';
import type { OrdealOptions } from './options.ts';
import { type KillKind, type PlannedKill, planKills, randomOf } from './plan.ts';
import { RunRecords } from './records.ts';
import { RUNS, SENDS } from './side.ts';

const QUEUE = 'ordeal';
/** How long a process may take to begin its work before it is killed anyway. */
const START_MS = 15_000;
const LOOK_MS = 100;
/** Until a process of a pool, whose end is seen by its parent only, has certainly had its signal. */
const DYING_MS = 20;
/** For so many looks nothing waits and nothing is held: Celery has a message in neither place for a moment. */
const IDLE_LOOKS = 10;
/** More processes than this that end though nobody kills them are no ordeal, but a mistake. */
const MOST_FAILURES = 20;

/** What is seen while it goes on. */
export interface Sight {
  readonly done: number;
  readonly kills: number;
  readonly redisKills: number;
  /** Runs so far beyond the first of their task. */
  readonly again: number;
}

/** The queue, the processes on it, and their deaths. */
export class Ordeal implements AsyncDisposable {
  readonly options: OrdealOptions;
  /** Holds records and logs. */
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-ordeal-'));
  readonly records: RunRecords;
  readonly deaths: Death[] = [];
  readonly outages: Outage[] = [];
  readonly redis: RedisServer;
  readonly #client: Redis;
  readonly #random: () => number;
  readonly #members: Member[];
  readonly #orphans = new Set<number>();
  /** Processes that are being killed here. */
  readonly #condemned = new Set<number>();
  #over = false;

  private constructor(options: OrdealOptions, redis: RedisServer) {
    this.options = options;
    this.redis = redis;
    this.#random = randomOf(options.seed);
    for (const name of [RUNS, SENDS]) mkdirSync(join(this.folder, name));
    this.records = new RunRecords(this.folder);
    this.#client = new Redis(redis.url, { maxRetriesPerRequest: null });
    this.#client.on('error', () => {});
    this.#members = this.#cast();
  }

  static async start(options: OrdealOptions): Promise<Ordeal> {
    // All that was ever written stays in the file, as evidence.
    const redis = await startRedis({ aof: true, args: ['--auto-aof-rewrite-percentage', '0'] });
    return new Ordeal(options, redis);
  }

  /** Kills that were done. */
  get kills(): number {
    return this.deaths.filter(({ kind }) => kind !== 'by itself').length;
  }

  /** Processes that ended though nobody killed them. */
  get failures(): number {
    return this.deaths.length - this.kills;
  }

  get sight(): Sight {
    const { records, kills, outages } = this;
    return { done: records.done, kills, redisKills: outages.length, again: records.again };
  }

  /** Lets it run until nothing is left to do, or nothing goes on. `tell` hears of it a few times a second. */
  async run(tell: (sight: Sight) => void): Promise<void> {
    const plan = planKills(this.options, this.#random);
    const { tasks, redisKills } = this.options;
    for (const member of this.#members) member.start();
    let last = { done: -1, runs: -1, at: Date.now() };
    const patience = Math.max(60_000, 6000 * this.options.visibilityTimeout);
    for (let idle = 0; idle < IDLE_LOOKS && Date.now() - last.at < patience; ) {
      this.records.read();
      const { done, runs } = this.records;
      if (done > last.done || runs.length > last.runs) last = { done, runs: runs.length, at: Date.now() };
      tell(this.sight);
      if (this.outages.length < redisKills && done >= (tasks * (this.outages.length + 1)) / (redisKills + 1)) {
        await this.#killRedis();
      }
      const next = plan[0];
      if (next && done >= next.afterDone && (await this.#kill(next))) plan.shift();
      idle = (await this.#isIdle()) ? idle + 1 : 0;
      if (this.failures > MOST_FAILURES)
        throw new Error(`processes end by themselves; see their logs in ${this.folder}`);
      await sleep(LOOK_MS);
    }
    this.records.read();
    tell(this.sight);
  }

  /** The documents of the results of all tasks; nothing where there is none. */
  async results(keys: readonly string[]): Promise<(string | null)[]> {
    return keys.length === 0 ? [] : this.#client.mget(...keys);
  }

  /** Messages given up by Lovage workers. */
  async deadLetters(): Promise<number> {
    return this.#client.zcard('lovage:dead');
  }

  /** Ends all processes but Redis. */
  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#members.map((member) => member.kill(true)));
    for (const pid of this.#orphans) signal(-pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#client.disconnect();
    await this.redis[Symbol.asyncDispose]();
  }

  /** Removes the records and the logs. */
  forget(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #cast(): Member[] {
    const { tasks, workersTs, workersPython, visibilityTimeout, taskMs } = this.options;
    const half = Math.floor(tasks / 2);
    const backlog = Math.min(4000, Math.ceil(tasks / 20));
    const member = (role: Role, name: string, first = 0, end = 0) => {
      const side = { url: this.redis.url, queue: QUEUE, folder: this.folder, name, visibilityTimeout, taskMs };
      return new Member(role, { ...side, first, end, backlog }, (...args) => this.#onEnd(...args));
    };
    return [
      member('ts-sender', 'ts-sender', 0, half),
      member('python-sender', 'python-sender', half, tasks),
      ...Array.from({ length: workersTs }, (_, i) => member('ts-worker', `ts-${i + 1}`)),
      ...Array.from({ length: workersPython }, (_, i) => member('python-worker', `python-${i + 1}`)),
    ];
  }

  /** Whoever dies has a successor at once; a sender that has done its work has none. */
  #onEnd(member: Member, pid: number, end: End): void {
    if (this.#over || (member.role.endsWith('sender') && end === 0)) return;
    if (!this.#condemned.delete(pid)) {
      signal(-pid);
      this.deaths.push({ kind: 'by itself', name: member.name, pid, from: Date.now(), to: Date.now() });
    }
    member.start();
  }

  /** Kills one that is at work; returns false while there is none. */
  async #kill({ kind }: PlannedKill): Promise<boolean> {
    const role = kind === 'ts-worker' || kind.endsWith('sender') ? kind : 'python-worker';
    const candidates = this.#members.filter((member) => member.role === role && member.alive);
    // A sender that is done cannot be killed any more.
    if (candidates.length === 0) return this.#kill({ kind: this.#otherKind(kind), afterDone: 0 });
    const ready = candidates.filter((member) => this.#isAtWork(member));
    const victim = ready[Math.floor(this.#random() * ready.length)];
    if (!victim) return false;
    if (kind === 'python-child') return this.#killChild(victim);
    await this.#killMember(victim, kind);
    return true;
  }

  #otherKind(kind: KillKind): KillKind {
    if (kind.endsWith('sender')) return this.options.workersTs > 0 ? 'ts-worker' : 'python-group';
    return kind;
  }

  #isAtWork({ role, name, pid, startedAt }: Member): boolean {
    if (Date.now() - startedAt > START_MS) return true;
    if (role.endsWith('sender')) return Date.now() - startedAt > 1000;
    return this.records.pidsOf(name, pid).length > 0;
  }

  async #killMember(victim: Member, kind: KillKind): Promise<void> {
    const { name, pid } = victim;
    this.#condemned.add(pid);
    const from = Date.now();
    await victim.kill(kind !== 'python-parent');
    this.deaths.push({ kind, name, pid, from, to: Date.now() });
    await this.#mark(`${kind} ${name}`);
    if (kind !== 'python-parent') return;
    this.#orphans.add(pid);
    setTimeout(() => {
      signal(-pid);
      this.#orphans.delete(pid);
    }, ORPHAN_MS);
  }

  async #killChild({ name, pid: workerPid }: Member): Promise<boolean> {
    const dead = new Set(this.deaths.map(({ pid }) => pid));
    const pids = this.records.pidsOf(name, workerPid).filter((pid) => !dead.has(pid));
    const pid = pids[Math.floor(this.#random() * pids.length)];
    if (pid === undefined) return false;
    const from = Date.now();
    signal(pid);
    await sleep(DYING_MS);
    this.deaths.push({ kind: 'python-child', name, pid, from, to: Date.now() });
    await this.#mark(`python-child ${name}`);
    return true;
  }

  async #killRedis(): Promise<void> {
    const from = Date.now();
    await this.redis.kill();
    await this.redis.start();
    this.outages.push({ from, to: Date.now() });
    await this.#mark('redis');
  }

  async #mark(what: string): Promise<void> {
    await this.#client.set(MARK, `${this.deaths.length} ${what}`);
  }

  /** Whether everything was sent, nothing waits, and nothing is held. */
  async #isIdle(): Promise<boolean> {
    if (this.#members.some(({ role, alive }) => role.endsWith('sender') && alive)) return false;
    const [waiting, held, delayed] = await Promise.all([
      this.#client.llen(QUEUE),
      this.#client.hlen('unacked'),
      this.#client.zcard(`lovage:delayed:${QUEUE}`),
    ]);
    return waiting + held + delayed === 0;
  }
}
