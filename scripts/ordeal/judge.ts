import type { KillKind } from './plan.ts';
import type { Run, Sending } from './records.ts';

/** A process that died. */
export interface Death {
  readonly kind: KillKind | 'by itself';
  /** Of the worker or sender. */
  readonly name: string;
  /** The only process that died, or the one that would acknowledge. */
  readonly pid: number;
  /** Epoch milliseconds: before the signal was sent, and when it had worked. In between the process may go on. */
  readonly from: number;
  readonly to: number;
}

/** A time in which Redis did not answer; epoch milliseconds. */
export interface Outage {
  readonly from: number;
  readonly to: number;
}

/** Why a task ran once more. */
export const reasons = {
  cutOff: 'its worker was killed while it ran',
  orphan: 'its Celery worker was killed; the process of the pool ended it as an orphan',
  unacknowledged: 'its worker was killed after the end, before the acknowledgement',
  outage: 'Redis was killed while it ran, or before the acknowledgement',
  timeout: 'Celery held it for longer than the visibility timeout',
  sentTwiceSender: 'sent twice: the sender was killed before it wrote down the confirmation',
  sentTwiceOutage: 'sent twice: Redis was killed before it confirmed',
  unexplained: 'unexplained',
} as const;
export type Reason = keyof typeof reasons;

/** What is known of the ordeal, for the explanations. */
export interface Evidence {
  readonly sends: ReadonlyMap<number, readonly Sending[]>;
  readonly deaths: readonly Death[];
  readonly outages: readonly Outage[];
  readonly visibilityMs: number;
}

/** A run of a task that had begun before, and the reason. */
export interface Duplicate {
  readonly run: Run;
  readonly reason: Reason;
  /** Whether an earlier run had come to its end: then its effect happened twice. */
  readonly ended: boolean;
}

/**
 * The result and the acknowledgement follow the end of a run at once, on a busy machine within this time (milliseconds). A
 * kill later than this does not explain a second run.
 */
export const ACK_MS = 1000;

/** How long the pool of a killed Celery worker is left alone; milliseconds. */
export const ORPHAN_MS = 1000;

/** Every run beyond the first of its task, explained. */
export function explain(runs: readonly Run[], evidence: Evidence): Duplicate[] {
  const byTask = Map.groupBy(runs, ({ index }) => index);
  const duplicates: Duplicate[] = [];
  for (const all of byTask.values()) {
    if (all.length === 1) continue;
    all.sort((a, b) => a.begin - b.begin);
    all.forEach((run, i) => {
      if (i === 0) return;
      const earlier = all.slice(0, i);
      const ended = earlier.some(({ end }) => end !== undefined);
      duplicates.push({ run, reason: reasonOf(run, earlier, evidence), ended });
    });
  }
  return duplicates;
}

function reasonOf(run: Run, earlier: readonly Run[], evidence: Evidence): Reason {
  const before = earlier.findLast(({ attempt }) => attempt === run.attempt);
  return before ? reasonOfDelivery(run, before, evidence) : reasonOfMessage(run, evidence);
}

/** Why one message was delivered again. */
function reasonOfDelivery(run: Run, before: Run, { deaths, outages, visibilityMs }: Evidence): Reason {
  const { end } = before;
  const death = deaths.find((one) => holds(one, before) && one.from <= run.begin);
  if (death) {
    if (end === undefined) return 'cutOff';
    if (end > death.to) return death.kind === 'python-parent' ? 'orphan' : 'unacknowledged';
    if (death.from - end <= ACK_MS) return 'unacknowledged';
  }
  const ended = end ?? run.begin;
  if (outages.some(({ from, to }) => before.begin <= to + ACK_MS && ended >= from - ACK_MS)) return 'outage';
  const ofCelery = before.pid !== before.workerPid;
  if (ofCelery && ended - before.begin > visibilityMs) return 'timeout';
  return 'unexplained';
}

/** Whether a death was that of the process that would end or acknowledge a run. */
function holds({ kind, name, pid, to }: Death, run: Run): boolean {
  if (name !== run.worker || (pid !== run.pid && pid !== run.workerPid)) return false;
  // What a pool has been given by its parent it still begins.
  return run.begin <= to + (kind === 'python-parent' ? ORPHAN_MS : 0);
}

/** Why there is another message of the task: an earlier one was not confirmed. */
function reasonOfMessage({ index }: Run, { sends }: Evidence): Reason {
  const unconfirmed = sends
    .get(index)
    ?.slice(0, -1)
    .find((outcome) => outcome !== 'sent');
  if (unconfirmed === 'failed') return 'sentTwiceOutage';
  return unconfirmed === 'open' ? 'sentTwiceSender' : 'unexplained';
}
