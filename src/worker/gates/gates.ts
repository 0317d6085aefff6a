import type { LovageApp } from '../../app/app.ts';
import type { Results } from '../../app/results/results.ts';
import { keyOf, limitsOf, type TaskLimits } from '../../app/tasks/limits.ts';
import { uniqueMark } from '../../app/tasks/unique.ts';
import type { ResultRecord } from '../../contracts/backend.ts';
import type { Claim, ClaimAnswer, ClaimRequest, RateRequest } from '../../contracts/limits.ts';
import { ConfigError, isPassing } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import type { Held, Outcome, Sorted } from '../outcome.ts';
import { replay } from '../taking/replay.ts';
import type { Claims } from './claims.ts';
import { Holding } from './holding.ts';
import { claimsOf, onceKey, retriedKey } from './names.ts';
import { noStore } from './setup.ts';
import { Streaks } from './streaks.ts';
import { WorkerRate } from './worker-rate.ts';

export interface GatesOptions {
  readonly app: LovageApp;
  readonly results: Results;
  /** `undefined` where the result backend keeps none. */
  readonly claims: Claims | undefined;
  readonly hostname: string;
  /** Takes what was held for a moment, when it may begin. */
  readonly onDue: (sorted: Sorted) => void;
}

/** A message at the gates. */
interface Candidate {
  held: Held;
  /** Why it does not run; `undefined` as long as nothing speaks against it. */
  outcome?: Outcome | undefined;
  /** Until when it is held here. */
  holdMs: number;
  readonly limits: TaskLimits;
  readonly args: readonly unknown[];
}

/** A request of a candidate, and what it is for. */
interface Wish {
  readonly candidate: Candidate;
  readonly what: 'retried' | 'once' | 'serial';
  readonly request: ClaimRequest;
}

/** A store in trouble is asked again after this. */
const troubleMs = 1_000;
/** The claim that only asks whether an attempt was ended by a retry lasts for so long. */
const probeMs = 1_000;
/** A message that may begin so soon is held for that time; so many of each task. */
const holdMs = 1_000;
const holdCount = 8;

/**
 * Decides which messages begin now, by the limits of their tasks: run once, serial, rates. Who must wait is parked in the
 * broker until it is worth asking again. All questions of a batch go out together.
 */
export class Gates {
  readonly #options: GatesOptions;
  readonly #rates = new Map<string, WorkerRate>();
  readonly #streaks = new Streaks();
  readonly #holding: Holding;

  constructor(options: GatesOptions) {
    this.#options = options;
    this.#holding = new Holding((held) => options.onDue(this.#due(held)));
  }

  /** Takes out held messages that a test picks. */
  drop(picks: (held: Held) => boolean): Held[] {
    return this.#holding.drop(picks);
  }

  /** Never rejects. What no limit holds passes without a turn of the event loop. */
  pass(sorted: Sorted): Sorted | Promise<Sorted> {
    return sorted.runs.some(isLimited) ? this.#pass(sorted) : sorted;
  }

  async #pass({ runs, settled }: Sorted): Promise<Sorted> {
    const limited = await Promise.all(runs.map((held) => this.#candidate(held)));
    const candidates = limited.filter((one) => one !== undefined);
    if (candidates.length > 0) {
      await this.#step(candidates, (some) => this.#claim(some));
      await this.#step(candidates, (some) => this.#look(some));
      await this.#step(candidates, (some) => this.#reserve(some));
      for (const one of candidates) if (!one.outcome) this.#pace(one);
    }
    const begun: Held[] = [];
    const ended = [...settled];
    limited.forEach((one, i) => {
      const held = one?.held ?? runs[i];
      if (held === undefined) return;
      if (one?.outcome) ended.push({ held, outcome: one.outcome });
      else if (one && one.holdMs > 0) this.#holding.add(held, one.holdMs);
      else begun.push(held);
    });
    await this.#begin(begun);
    return { runs: begun, settled: ended };
  }

  /** What was held for a moment may begin, unless its time is over. */
  #due(held: Held): Sorted {
    const { expires } = held.message ?? {};
    if (expires !== undefined && expires <= Date.now())
      return { runs: [], settled: [{ held, outcome: { kind: 'revoked', reason: 'expired' } }] };
    void this.#begin([held]);
    return { runs: [held], settled: [] };
  }

  async #candidate(held: Held): Promise<Candidate | undefined> {
    const { message, definition } = held;
    const limits = definition && limitsOf(definition.options);
    if (!message || !limits) return undefined;
    const needsArgs = limits.serial || limits.globalRate?.key;
    try {
      const args = needsArgs ? await definition.bind(message.args, message.kwargs, message.lang !== 'ts') : [];
      return { held, holdMs: 0, limits, args };
    } catch (error) {
      return { held, holdMs: 0, limits, args: [], outcome: { kind: 'failure', error, children: [] } };
    }
  }

  /** Where a step cannot be done its messages come back later, or fail where that is for good. */
  async #step(candidates: readonly Candidate[], act: (some: readonly Candidate[]) => Promise<void>): Promise<void> {
    const some = candidates.filter(({ outcome }) => !outcome);
    if (some.length === 0) return;
    try {
      await act(some);
    } catch (thrown) {
      const error = thrown as Error;
      const passing = isPassing(error);
      if (passing)
        this.#options.app.logger.warn({ error, messages: some.length }, 'limits cannot be asked for; messages wait');
      for (const one of some)
        one.outcome ??= passing ? park(one.held, Date.now() + troubleMs) : { kind: 'failure', error, children: [] };
    }
  }

  async #claim(candidates: readonly Candidate[]): Promise<void> {
    const wishes = candidates.flatMap((candidate) => this.#wishes(candidate));
    if (wishes.length === 0) return;
    const claims = this.#claims();
    const answers = await claims.claimMany(wishes.map(({ request }) => request));
    const granted = new Map<Candidate, { once?: Claim; serial?: Claim }>();
    wishes.forEach((wish, i) => {
      const answer = answers[i];
      if (!answer) return;
      const { candidate, what, request } = wish;
      if (answer.granted && what !== 'retried') {
        const own = granted.get(candidate) ?? {};
        own[what] = { key: request.key, holder: request.holder };
        granted.set(candidate, own);
        if (what === 'serial') this.#streaks.granted(request.key);
      }
      candidate.outcome ??= this.#answered(wish, answer);
    });
    for (const [candidate, own] of granted) {
      candidate.held = { ...candidate.held, claims: own };
      claims.keep(claimsOf(own), candidate.held.delivery);
    }
  }

  #wishes(candidate: Candidate): Wish[] {
    const { limits, args, held } = candidate;
    const { taskId, message } = held;
    const { leaseMs } = this.#options.claims ?? { leaseMs: 1 };
    const holder = `${this.#options.hostname}/${newId()}`;
    const wishes: Wish[] = [];
    const wish = (what: Wish['what'], request: Omit<ClaimRequest, 'holder'>) =>
      wishes.push({ candidate, what, request: { ...request, holder } });
    try {
      if (limits.once) {
        wish('retried', { key: retriedKey(taskId ?? '', message?.retries ?? 0), leaseMs: Math.min(leaseMs, probeMs) });
        wish('once', { key: onceKey(taskId ?? ''), leaseMs });
      }
      if (limits.serial) {
        const { key, limit: slots } = limits.serial;
        wish('serial', { key: `serial:${keyOf(key, args, `option 'serial' of ${message?.task}`)}`, leaseMs, slots });
      }
    } catch (error) {
      candidate.outcome = { kind: 'failure', error, children: [] };
      return [];
    }
    return wishes;
  }

  #answered({ candidate, what, request }: Wish, answer: ClaimAnswer): Outcome | undefined {
    if (answer.granted) return undefined;
    const { held } = candidate;
    if (what === 'retried') {
      if (!answer.done) return undefined;
      // It ended in a retry, which may not have been sent; a second copy of that one finds the same gate.
      return { kind: 'retry', error: undefined, dueAt: Date.now(), children: [], replayed: true };
    }
    if (answer.done) {
      this.#options.app.logger.debug({ id: held.taskId }, 'this task has ended before; its message is acknowledged');
      return { kind: 'ignore' };
    }
    const waitMs =
      what === 'serial' ? this.#streaks.refused(request.key, answer.waitMs) : answer.waitMs * (1 + Math.random() / 10);
    return park(held, Date.now() + waitMs);
  }

  /** What was stored before its worker died counts. Asked after the claim: from now on nobody else stores anything. */
  async #look(candidates: readonly Candidate[]): Promise<void> {
    const { backend } = this.#options.results;
    const once = candidates.filter(({ held }) => held.claims?.once);
    if (!backend || once.length === 0) return;
    const stored = await backend.fetchMany(once.map(({ held }) => held.taskId ?? ''));
    once.forEach((one, i) => {
      const outcome = this.#ended(one.held, stored[i]);
      if (outcome) one.outcome = outcome;
    });
  }

  #ended({ delivery }: Held, stored: ResultRecord | undefined): Outcome | undefined {
    if (!stored) return undefined;
    if (stored.state === 'REVOKED') return { kind: 'revoked', reason: 'revoked' };
    // A first delivery of a task that had failed is somebody's wish, such as `dlq retry`.
    if (stored.state === 'SUCCESS' || (stored.state === 'FAILURE' && delivery.attempt > 1))
      return replay(this.#options.app, this.#options.results, stored);
    return undefined;
  }

  async #reserve(candidates: readonly Candidate[]): Promise<void> {
    const wishes = candidates.flatMap((candidate) => {
      const request = rateRequest(candidate);
      return request ? [{ candidate, request }] : [];
    });
    if (wishes.length === 0) return;
    const waits = await this.#claims().limits.reserveMany(wishes.map(({ request }) => request));
    wishes.forEach(({ candidate }, i) => {
      const waitMs = waits[i] ?? 0;
      if (waitMs > 0) candidate.outcome = park(candidate.held, Date.now() + waitMs);
    });
  }

  #pace(candidate: Candidate): void {
    const { held, limits } = candidate;
    const { message } = held;
    if (!message || !limits.workerRate) return;
    const rate = this.#rates.get(message.task) ?? new WorkerRate(limits.workerRate.intervalMs);
    this.#rates.set(message.task, rate);
    const now = Date.now();
    const waitMs = rate.take(now, this.#holding.count(message.task) < holdCount ? holdMs : 0);
    if (waitMs === undefined) candidate.outcome = park(held, rate.later(now));
    else candidate.holdMs = waitMs;
  }

  /** Lets go of unique tasks that others may be sent beside from now on. */
  async #begin(runs: readonly Held[]): Promise<void> {
    const marks = runs.flatMap(({ message }) => (message && uniqueMark(message)) ?? []);
    const over = marks.filter(({ until }) => until === 'start').map(({ claim }) => claim);
    if (over.length > 0) await this.#options.claims?.releaseMany(over);
  }

  #claims(): Claims {
    if (this.#options.claims) return this.#options.claims;
    throw new ConfigError(noStore(this.#options.results));
  }
}

function isLimited({ definition, message }: Held): boolean {
  if (!definition || !message) return false;
  return limitsOf(definition.options) !== undefined || uniqueMark(message)?.until === 'start';
}

/** Not after it expires: then its caller is to be told. */
function park({ message }: Held, dueAt: number): Outcome {
  return { kind: 'defer', dueAt: Math.min(dueAt, message?.expires ?? dueAt) };
}

/** Asked for last, so that what is not to run now uses no moment up. A retry is a run of its own. */
function rateRequest(candidate: Candidate): RateRequest | undefined {
  const { limits, args, held } = candidate;
  const { message } = held;
  const { globalRate } = limits;
  if (!message || !globalRate) return undefined;
  const { intervalMs, burst, key } = globalRate;
  try {
    const name = key ? keyOf(key, args, `option 'rateLimit' of ${message.task}`) : message.task;
    return { key: `rate:${name}`, id: `${message.id}:${message.retries}`, intervalMs, burst };
  } catch (error) {
    candidate.outcome = { kind: 'failure', error, children: [] };
    return undefined;
  }
}
