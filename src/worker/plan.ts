import type { LovageApp } from '../app/app.ts';
import type { Prepared } from '../app/prepare.ts';
import type { Results } from '../app/results.ts';
import { uniqueMark } from '../app/unique.ts';
import { isFinished, type ResultRecord } from '../contracts/backend.ts';
import type { Claim } from '../contracts/limits.ts';
import { LovageError, Reject, TaskRevokedError, WorkerShutdownError } from '../errors.ts';
import { encodeError } from '../wire/remote-error.ts';
import type { ResultMeta, TaskMessage } from '../wire/task-message.ts';
import type { Arrival } from './chords.ts';
import { abandonedSteps, afterFailure, afterSuccess, again, sameAgain } from './follow-ups.ts';
import { claimsOf, retriedKey } from './gates/names.ts';
import type { Held, Outcome, Settlement } from './outcome.ts';

/** What becomes of the message itself. */
export type Disposition =
  | { readonly kind: 'ack' }
  | { readonly kind: 'release' }
  /** Released, but not at once. */
  | { readonly kind: 'later'; readonly delayMs: number }
  /** Nothing: its lease ends by itself. */
  | { readonly kind: 'abandon' }
  | { readonly kind: 'reject'; readonly reason: string }
  | { readonly kind: 'defer'; readonly dueAt: number };

/** All that a settlement does, worked out before any of it is done. */
export interface Plan {
  readonly held: Held;
  /** Sent before anything is stored: the task itself, for a retry. */
  readonly before: readonly Prepared[];
  readonly records: readonly ResultRecord[];
  /** What it is to its chord, if it is a member of one. */
  readonly arrival?: Arrival;
  /** Sent after the result is stored. */
  readonly after: readonly Prepared[];
  readonly disposition: Disposition;
  readonly claims?: ClaimEnds;
}

/** What becomes of the claims that belong to a message. */
export interface ClaimEnds {
  /** Finished before anything is sent: the attempt is over, and another one follows. */
  readonly retried?: Claim;
  /** Finished when all else is done: nobody runs the task again. */
  readonly finished?: Claim;
  readonly released: readonly Claim[];
  /** Not renewed any more. */
  readonly forgotten: readonly Claim[];
}

const ack: Disposition = { kind: 'ack' };
/** A message that could not be settled comes back after this, so that a store in trouble is not made worse. */
const comeBackMs = 1_000;

/** Works out plans: which records, follow-ups and disposition each outcome means. */
export class Planner {
  readonly #app: LovageApp;
  readonly #results: Results;
  readonly #hostname: string;

  constructor(app: LovageApp, results: Results, hostname: string) {
    this.#app = app;
    this.#results = results;
    this.#hostname = hostname;
  }

  /** Never throws: a settlement that cannot be worked out is the failure of its task. */
  plan(settlement: Settlement): Plan {
    try {
      const plan = this.#plan(settlement);
      const arrival = this.#arrival(plan, settlement);
      const claims = claimEnds(settlement, plan.disposition);
      return arrival || claims ? { ...plan, ...(arrival && { arrival }), ...(claims && { claims }) } : plan;
    } catch (error) {
      return this.stuck(settlement.held, error as Error, false);
    }
  }

  /** What becomes of a message whose settlement could not be carried out: it comes back, or it is given up. */
  stuck(held: Held, error: Error, passing: boolean): Plan {
    const claims = claimEnds({ held, outcome: passing ? { kind: 'release' } : { kind: 'dead', error } });
    const nothing = { held, before: [], records: [], after: [], ...(claims && { claims }) };
    if (passing) return { ...nothing, disposition: { kind: 'later', delayMs: comeBackMs } };
    const disposition = { kind: 'reject', reason: error.message } as const;
    if (held.taskId === undefined || !this.#results.backend || held.message?.ignoreResult)
      return { ...nothing, disposition };
    // As little as possible: something in the full record may be what cannot be written.
    const meta = {
      taskId: held.taskId,
      state: 'FAILURE',
      result: encodeError(error),
      children: [],
      dateDone: Date.now(),
    };
    return { ...nothing, records: [this.#results.encode(meta)], disposition };
  }

  /** A member of a chord has arrived when it has finished, in whichever way. */
  #arrival({ held, records }: Plan, { outcome }: Settlement): Arrival | undefined {
    const { message } = held;
    if (!message?.chord || message.groupId === undefined) return undefined;
    const record =
      outcome.kind === 'success' && outcome.replayed
        ? this.#record(held, message, 'SUCCESS', outcome.value, [])
        : outcome.kind === 'failure' && outcome.replayed
          ? outcome.replayed
          : records.find(({ taskId }) => taskId === message.id);
    if (!record || !isFinished(record.state)) return undefined;
    const part = { key: message.id, index: message.groupIndex ?? 0, document: record.document };
    return { joinId: message.groupId, part, message, body: message.chord };
  }

  #plan({ held, outcome }: Settlement): Plan {
    const nothing = { held, before: [], records: [], after: [] };
    switch (outcome.kind) {
      case 'success':
        return this.#success(held, outcome);
      case 'failure':
        return { ...this.#failure(held, outcome.error, outcome.children), ...(outcome.replayed && { records: [] }) };
      case 'retry':
        return this.#retry(held, outcome);
      case 'dead':
        return {
          ...this.#failure(held, outcome.error, []),
          disposition: { kind: 'reject', reason: outcome.error.message },
        };
      case 'revoked':
        return { ...nothing, records: this.#revoked(held, outcome.reason), disposition: ack };
      case 'ignore':
        return { ...nothing, disposition: ack };
      case 'reject':
        if (outcome.requeue) return this.#requeue(held);
        return {
          ...this.#failure(held, new Reject(outcome.reason), []),
          disposition: { kind: 'reject', reason: outcome.reason },
        };
      case 'defer':
        return { ...nothing, disposition: parked(held, outcome.dueAt) };
      case 'release':
        // Acked early, it cannot go back: then it is over, and its caller is told.
        if (held.acked) return this.#failure(held, givenUp(), []);
        return {
          ...nothing,
          disposition: outcome.later === undefined ? { kind: 'release' } : { kind: 'later', delayMs: outcome.later },
        };
      case 'abandon':
        // Acked early, nobody would bring it back.
        return held.acked ? this.#failure(held, outcome.error, []) : { ...nothing, disposition: { kind: 'abandon' } };
    }
  }

  /** Back to the queue, after a moment: at once would be a loop. What was acked early is sent anew. */
  #requeue(held: Held): Plan {
    const { queue, groupKey } = held.delivery;
    const same = held.acked && held.message ? sameAgain(this.#app, held.message, queue) : undefined;
    const copy = same ? [{ ...same, groupKey: same.groupKey ?? groupKey }] : [];
    return { held, before: copy, records: [], after: [], disposition: { kind: 'later', delayMs: comeBackMs } };
  }

  #success(held: Held, { value, children, replayed }: Outcome & { kind: 'success' }): Plan {
    const { message } = held;
    if (!message) return { held, before: [], records: [], after: [], disposition: ack };
    try {
      const after = message.link || message.chain?.length ? afterSuccess(this.#app, message, value) : [];
      const sent = after.length > 0 ? [...after.map((one) => one.message.id), ...children] : children;
      const stores = !message.ignoreResult && !replayed && this.#results.backend;
      const records = stores ? [this.#record(held, message, 'SUCCESS', value, sent)] : [];
      return { held, before: [], records, after, disposition: ack };
    } catch (error) {
      // The value cannot be written. That is the task's failure, and its caller hears of it.
      return this.#failure(held, error, children);
    }
  }

  #failure(held: Held, error: unknown, children: readonly string[]): Plan {
    const { message, taskId, definition } = held;
    const { config } = this.#app;
    const late = definition?.options.acksOnFailureOrTimeout ?? config.taskAcksOnFailureOrTimeout;
    const disposition: Disposition = late ? ack : { kind: 'reject', reason: messageOf(error) };
    if (taskId === undefined || !this.#results.backend) {
      return { held, before: [], records: [], after: message ? afterFailure(this.#app, message) : [], disposition };
    }
    const after = message ? afterFailure(this.#app, message) : [];
    const sent = [...after.map((one) => one.message.id), ...children];
    const wanted = definition?.options.storeErrorsEvenIfIgnored ?? config.taskStoreErrorsEvenIfIgnored;
    const records: ResultRecord[] = [];
    if (!message?.ignoreResult || wanted) records.push(this.#failureRecord(held, taskId, error, sent));
    // Those who wait for a later step of the chain must not wait for ever (wire SPEC 7.3).
    for (const step of message ? abandonedSteps(message) : []) records.push(this.#failureRecord(held, step, error, []));
    return { held, before: [], records, after, disposition };
  }

  #retry(held: Held, outcome: Outcome & { kind: 'retry' }): Plan {
    const { message } = held;
    const { error, children, dueAt, changes } = outcome;
    if (!message) return { held, before: [], records: [], after: [], disposition: ack };
    const { queue, groupKey, ordered } = held.delivery;
    // A new message would stand behind those that came after this one.
    const inPlace = ordered && !held.acked && changes === undefined;
    const next = again(this.#app, message, queue, outcome);
    const before = inPlace ? [] : [{ ...next, groupKey: next.groupKey ?? groupKey }];
    const stores = !message.ignoreResult && !outcome.replayed && this.#results.backend;
    const records = stores ? [this.#errorRecord(held, message.id, 'RETRY', error, [message.id, ...children])] : [];
    const later = { kind: 'later', delayMs: Math.max(0, dueAt - Date.now()) } as const;
    return { held, before, records, after: [], disposition: inPlace ? later : ack };
  }

  #revoked(held: Held, reason: string): ResultRecord[] {
    const { taskId, message } = held;
    if (taskId === undefined || !this.#results.backend) return [];
    // Those who wait for a later step of the chain must not wait for ever.
    const steps = message ? abandonedSteps(message) : [];
    return [...(message?.ignoreResult ? [] : [taskId]), ...steps].map((id) =>
      this.#results.encode({
        ...this.#ended(held, id, []),
        state: 'REVOKED',
        result: encodeError(new TaskRevokedError(reason)),
      }),
    );
  }

  #record(held: Held, message: TaskMessage, state: string, result: unknown, children: readonly string[]): ResultRecord {
    return this.#results.encode({ ...this.#ended(held, message.id, children), state, result });
  }

  #failureRecord(held: Held, taskId: string, error: unknown, children: readonly string[]): ResultRecord {
    return this.#errorRecord(held, taskId, 'FAILURE', error, children);
  }

  #errorRecord(
    held: Held,
    taskId: string,
    state: 'FAILURE' | 'RETRY',
    error: unknown,
    children: readonly string[],
  ): ResultRecord {
    const meta: ResultMeta = { ...this.#ended(held, taskId, children), state, result: encodeError(error) };
    const traceback = tracebackOf(error);
    const { dateDone, ...unfinished } = meta;
    const full = {
      ...(state === 'RETRY' ? unfinished : { ...unfinished, ...(dateDone !== undefined && { dateDone }) }),
      ...(traceback !== undefined && { traceback }),
    };
    return this.#results.encode(full);
  }

  #ended(
    { message, delivery }: Held,
    taskId: string,
    children: readonly string[],
  ): Omit<ResultMeta, 'state' | 'result'> {
    const meta: Mutable<Omit<ResultMeta, 'state' | 'result'>> = {
      taskId,
      children: children.map((id) => [[id, null], null]),
      dateDone: Date.now(),
    };
    if (!message) return meta;
    if (message.groupId !== undefined) meta.groupId = message.groupId;
    if (message.parentId !== undefined) meta.parentId = message.parentId;
    if (!this.#app.config.resultExtended) return meta;
    const { task: name, args, kwargs, retries } = message;
    return { ...meta, name, args, kwargs, worker: this.#hostname, retries, queue: delivery.queue };
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Parked as new, unless it was delivered before: then its count is kept, so that a crash loop ends all the same. */
function parked({ delivery }: Held, dueAt: number): Disposition {
  if (delivery.attempt <= 1) return { kind: 'defer', dueAt };
  return { kind: 'later', delayMs: Math.max(0, dueAt - Date.now()) };
}

/** What an outcome does to the claims of the message. Given up is not done: `dlq retry` may have it run once more. */
function claimEnds({ held, outcome }: Settlement, disposition?: Disposition): ClaimEnds | undefined {
  const { message, claims } = held;
  const unique = message && hasEnded(outcome) ? uniqueMark(message) : undefined;
  const keptByFailure = unique?.until === 'success' && outcome.kind === 'failure';
  const released = unique && !keptByFailure ? [unique.claim] : [];
  if (!claims) return released.length > 0 ? { released, forgotten: [] } : undefined;
  // It may be running still: others have to wait until the claims end by themselves.
  if (outcome.kind === 'release' && outcome.stillRuns) return { released, forgotten: [] };
  const forgotten = claimsOf(claims);
  const { once } = claims;
  if (!once || !message) return { released: [...released, ...forgotten], forgotten };
  const isDone = disposition?.kind === 'ack' && outcome.kind !== 'retry';
  if (isDone) return { finished: once, released: [...released, ...forgotten.filter((one) => one !== once)], forgotten };
  const retried = { key: retriedKey(message.id, message.retries), holder: once.holder };
  return { ...(outcome.kind === 'retry' && { retried }), released: [...released, ...forgotten], forgotten };
}

/** The task will not run any more. */
function hasEnded(outcome: Outcome): boolean {
  if (outcome.kind === 'reject') return !outcome.requeue;
  return !['retry', 'defer', 'release', 'abandon'].includes(outcome.kind);
}

function givenUp(): WorkerShutdownError {
  return new WorkerShutdownError(
    'the worker stopped in the middle of this task; with acksLate: false it is not run again',
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The stack that is stored with a failure. Errors of Lovage itself carry their explanation in the message. */
function tracebackOf(error: unknown): string | undefined {
  return error instanceof Error && !(error instanceof LovageError) ? error.stack : undefined;
}
