import type { TaskHost } from '../../app/host.ts';
import type { Results } from '../../app/results/results.ts';
import type { Launch } from '../../app/sending/launch.ts';
import type { Prepared } from '../../app/sending/prepare.ts';
import { uniqueMark } from '../../app/tasks/unique.ts';
import { isFinished, type ResultRecord } from '../../contracts/backend.ts';
import type { Claim } from '../../contracts/limits.ts';
import { LovageError, Reject, TaskRevokedError, WorkerShutdownError } from '../../errors.ts';
import { encodeError } from '../../wire/remote-error.ts';
import { type ResultTuple, toTuple } from '../../wire/result-tuple.ts';
import type { ResultMeta, TaskMessage } from '../../wire/task-message.ts';
import { claimsOf, retriedKey } from '../gates/names.ts';
import type { Held, Outcome, Settlement } from '../outcome.ts';
import type { Arrival } from './chords.ts';
import { type ErrbackCall, tellErrbacks } from './errbacks.ts';
import { abandonedSteps, afterSuccess, again, replacement, sameAgain } from './follow-ups.ts';

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
  /** What it is to the chords that wait for it, or for what it keeps from running. */
  readonly arrivals?: readonly Arrival[];
  /** Sent after the result is stored. */
  readonly after?: Launch;
  /** Called after the result is stored. */
  readonly errbacks?: readonly ErrbackCall[];
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
  readonly #app: TaskHost;
  readonly #results: Results;
  readonly #hostname: string;

  constructor(app: TaskHost, results: Results, hostname: string) {
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
      if (!arrival && !claims) return plan;
      const arrivals = arrival && { arrivals: [arrival, ...(plan.arrivals ?? [])] };
      return { ...plan, ...arrivals, ...(claims && { claims }) };
    } catch (error) {
      return this.stuck(settlement.held, error as Error, false);
    }
  }

  /** What becomes of a message whose settlement could not be carried out: it comes back, or it is given up. */
  stuck(held: Held, error: Error, passing: boolean): Plan {
    const claims = claimEnds({ held, outcome: passing ? { kind: 'release' } : { kind: 'dead', error } });
    const nothing = { held, before: [], records: [], ...(claims && { claims }) };
    if (passing) return { ...nothing, disposition: { kind: 'later', delayMs: comeBackMs } };
    const disposition = { kind: 'reject', reason: error.message } as const;
    if (held.taskId === undefined || !this.#results.backend) return { ...nothing, disposition };
    // Those who wait for what follows must not wait for ever.
    const { records, arrivals } = this.#abandon(held, error, 'FAILURE');
    if (held.message?.ignoreResult) return { ...nothing, records, arrivals, disposition };
    // As little as possible: something in the full record may be what cannot be written.
    const meta = {
      taskId: held.taskId,
      state: 'FAILURE',
      result: encodeError(error),
      children: [],
      dateDone: Date.now(),
    };
    return { ...nothing, records: [this.#results.encode(meta), ...records], arrivals, disposition };
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
          : (records.find(({ taskId }) => taskId === message.id) ?? this.#unstored(held, message, outcome));
    if (!record || !isFinished(record.state)) return undefined;
    const part = { key: message.id, index: message.groupIndex ?? 0, document: record.document };
    return { joinId: message.groupId, part, message, body: message.chord };
  }

  #plan({ held, outcome }: Settlement): Plan {
    const nothing = { held, before: [], records: [] };
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
        return { ...nothing, ...this.#revoked(held, outcome.reason), disposition: ack };
      case 'replace':
        return held.message
          ? { ...nothing, after: replacement(this.#app, held.message, outcome), disposition: ack }
          : { ...nothing, disposition: ack };
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
    return { held, before: copy, records: [], disposition: { kind: 'later', delayMs: comeBackMs } };
  }

  #success(held: Held, { value, children, replayed }: Outcome & { kind: 'success' }): Plan {
    const { message } = held;
    if (!message) return { held, before: [], records: [], disposition: ack };
    try {
      const after = message.link || message.chain?.length ? afterSuccess(this.#app, message, value) : undefined;
      const sent = after ? [...after.launched.map(toTuple), ...children] : children;
      const stores = !message.ignoreResult && !replayed && this.#results.backend;
      const records = stores ? [this.#record(held, message, 'SUCCESS', value, sent)] : [];
      return { held, before: [], records, disposition: ack, ...(after && { after }) };
    } catch (error) {
      // The value cannot be written, or what is to follow cannot be read. That is the task's failure, and its caller hears of it.
      return this.#failure(held, error, children);
    }
  }

  #failure(held: Held, error: unknown, children: readonly ResultTuple[]): Plan {
    const { message, taskId, definition } = held;
    const { config } = this.#app;
    const late = definition?.options.acksOnFailureOrTimeout ?? config.taskAcksOnFailureOrTimeout;
    const disposition: Disposition = late ? ack : { kind: 'reject', reason: messageOf(error) };
    const told = message?.linkError ? tellErrbacks(this.#app, message.linkError, message, error) : undefined;
    const tells = told && { after: told.launch, errbacks: told.calls };
    if (taskId === undefined || !this.#results.backend) {
      return { held, before: [], records: [], disposition, ...tells };
    }
    const wanted = definition?.options.storeErrorsEvenIfIgnored ?? config.taskStoreErrorsEvenIfIgnored;
    const own =
      !message?.ignoreResult || wanted ? [this.#errorRecord(held, taskId, 'FAILURE', { error, children })] : [];
    const { records, arrivals } = this.#abandon(held, error, 'FAILURE');
    return { held, before: [], records: [...own, ...records], arrivals, disposition, ...tells };
  }

  /** Ends what will not run any more: those who wait for a later step of the chain must not wait for ever (wire SPEC 7.3). */
  #abandon(held: Held, error: unknown, state: 'FAILURE' | 'REVOKED'): Required<Pick<Plan, 'records' | 'arrivals'>> {
    const { message } = held;
    if (!message?.chain?.length || !this.#results.backend) return { records: [], arrivals: [] };
    const { taskIds, members } = abandonedSteps(message);
    const records = taskIds.map((id) => this.#errorRecord(held, id, state, { error, children: [] }));
    const documents = new Map(records.map((record) => [record.taskId, record.document]));
    const arrivals = members.flatMap(({ taskId, joinId, index = 0, body }) => {
      const document = documents.get(taskId);
      return document === undefined ? [] : [{ joinId, part: { key: taskId, index, document }, message, body }];
    });
    return { records, arrivals };
  }

  /** What would be stored of a member of a chord whose results are ignored: the chord needs it all the same. */
  #unstored(held: Held, message: TaskMessage, outcome: Outcome): ResultRecord | undefined {
    if (!message.ignoreResult) return undefined;
    if (outcome.kind === 'success') return this.#record(held, message, 'SUCCESS', outcome.value, []);
    const error =
      outcome.kind === 'revoked' ? new TaskRevokedError(outcome.reason) : 'error' in outcome && outcome.error;
    const isOver = outcome.kind === 'revoked' || outcome.kind === 'failure' || outcome.kind === 'dead';
    return isOver ? this.#errorRecord(held, message.id, 'FAILURE', { error, children: [] }) : undefined;
  }

  #retry(held: Held, outcome: Outcome & { kind: 'retry' }): Plan {
    const { message } = held;
    const { error, children, dueAt, changes } = outcome;
    if (!message) return { held, before: [], records: [], disposition: ack };
    const { queue, groupKey, ordered } = held.delivery;
    // A new message would stand behind those that came after this one.
    const inPlace = ordered && !held.acked && changes === undefined;
    const next = again(this.#app, message, queue, outcome);
    const before = inPlace ? [] : [{ ...next, groupKey: next.groupKey ?? groupKey }];
    const stores = !message.ignoreResult && !outcome.replayed && this.#results.backend;
    const sent = [toTuple({ id: message.id }), ...children];
    const records = stores ? [this.#errorRecord(held, message.id, 'RETRY', { error, children: sent })] : [];
    const later = { kind: 'later', delayMs: Math.max(0, dueAt - Date.now()) } as const;
    return { held, before, records, disposition: inPlace ? later : ack };
  }

  #revoked(held: Held, reason: string): Pick<Plan, 'records' | 'arrivals'> {
    const { taskId, message } = held;
    if (taskId === undefined || !this.#results.backend) return { records: [] };
    const error = new TaskRevokedError(reason);
    const own = message?.ignoreResult ? [] : [this.#errorRecord(held, taskId, 'REVOKED', { error, children: [] })];
    const { records, arrivals } = this.#abandon(held, error, 'REVOKED');
    return { records: [...own, ...records], arrivals };
  }

  #record(
    held: Held,
    message: TaskMessage,
    state: string,
    result: unknown,
    children: readonly ResultTuple[],
  ): ResultRecord {
    return this.#results.encode({ ...this.#ended(held, message.id, children), state, result });
  }

  #errorRecord(
    held: Held,
    taskId: string,
    state: 'FAILURE' | 'RETRY' | 'REVOKED',
    { error, children }: { readonly error: unknown; readonly children: readonly ResultTuple[] },
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
    children: readonly ResultTuple[],
  ): Omit<ResultMeta, 'state' | 'result'> {
    const meta: Mutable<Omit<ResultMeta, 'state' | 'result'>> = {
      taskId,
      children,
      dateDone: Date.now(),
    };
    if (!message) return meta;
    if (message.groupId !== undefined) meta.groupId = message.groupId;
    if (message.parentId !== undefined) meta.parentId = message.parentId;
    if (!this.#app.config.resultExtended) return meta;
    const { task: name, args, kwargs, retries, stamps } = message;
    const extended = { name, args, kwargs, worker: this.#hostname, retries, queue: delivery.queue };
    return { ...meta, ...extended, ...(stamps && Object.keys(stamps).length > 0 && { stamps }) };
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
  // What a task has in its place has its id, and may be such a task itself.
  const isDone = disposition?.kind === 'ack' && outcome.kind !== 'retry' && outcome.kind !== 'replace';
  if (isDone) return { finished: once, released: [...released, ...forgotten.filter((one) => one !== once)], forgotten };
  const retried = { key: retriedKey(message.id, message.retries), holder: once.holder };
  return { ...(outcome.kind === 'retry' && { retried }), released: [...released, ...forgotten], forgotten };
}

/** The task will not run any more. */
function hasEnded(outcome: Outcome): boolean {
  if (outcome.kind === 'reject') return !outcome.requeue;
  return !['retry', 'replace', 'defer', 'release', 'abandon'].includes(outcome.kind);
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
