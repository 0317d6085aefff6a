import type { Autoscale } from '../../app/autoscale.ts';

/** What one look at a worker finds. */
export interface ScaleLook {
  /** When it was, in milliseconds of any clock that only goes forward. */
  readonly at: number;
  readonly slots: number;
  /** Tasks that have a slot. */
  readonly busy: number;
  /** Those, and the ones that wait for a slot whose thread or process is still starting. */
  readonly needed: number;
  /** Messages that would begin at once if there were more slots. */
  readonly waiting: number;
  /** Why more slots would do harm, for people. */
  readonly strain?: string | undefined;
}

/** What the looks so far have come to: a value, replaced at each look. */
export interface ScaleHistory {
  /** Looks since the last change of size, no older than the keep-alive time. */
  readonly looks: readonly { readonly at: number; readonly needed: number }[];
  /** Looks in a row that found a strain. */
  readonly strains: number;
  /** Until then it does not grow. */
  readonly calmUntil: number;
}

/** What it is to be from now on, and why, where that is a change. */
export interface ScaleStep {
  readonly history: ScaleHistory;
  readonly slots: number;
  readonly reason?: string;
}

export const noHistory: ScaleHistory = { looks: [], strains: 0, calmUntil: Number.NEGATIVE_INFINITY };

/** One look may catch a moment; a strain is one when it lasts. */
const strainsThatCount = 2;

/**
 * How many slots a worker has after a look. It grows when all are busy and messages wait, at most to twice as many, so that
 * what comes of it is seen before it grows on. Slots that nobody needed for the keep-alive time go. A strain that lasts
 * takes away a quarter at each look, and for the keep-alive time after it nothing grows.
 */
export function rescale(history: ScaleHistory, look: ScaleLook, [max, min]: Autoscale, keepAliveMs: number): ScaleStep {
  const { at, slots, busy, needed, waiting, strain } = look;
  const strains = strain === undefined ? 0 : history.strains + 1;
  // One older than the time is kept: only with it do the others cover all of the time.
  const first = history.looks.findLastIndex((one) => one.at <= at - keepAliveMs);
  const looks = [...history.looks.slice(Math.max(0, first)), { at, needed }];
  const same: ScaleStep = { history: { ...history, looks, strains }, slots };
  const change = (to: number, reason: string, calmUntil = history.calmUntil): ScaleStep =>
    to === slots ? same : { history: { looks: [{ at, needed }], strains, calmUntil }, slots: to, reason };

  if (slots > max) return change(max, 'more than it may have');
  if (slots < min) return change(min, 'fewer than it may have');
  if (strain !== undefined) {
    if (strains < strainsThatCount) return same;
    const calm: ScaleStep = { ...same, history: { ...same.history, calmUntil: at + keepAliveMs } };
    return slots === min ? calm : change(Math.max(min, Math.floor(slots * 0.75)), strain, at + keepAliveMs);
  }
  if (busy >= slots && waiting > 0) {
    if (at < history.calmUntil) return same;
    return change(Math.min(max, 2 * slots, slots + waiting), 'messages wait');
  }
  if (at - (looks[0]?.at ?? at) < keepAliveMs) return same;
  const most = Math.max(min, ...looks.map((one) => one.needed));
  return most < slots ? change(most, 'more were not needed') : same;
}

/** What is known of the machine at a look. */
export interface Machine {
  /** Part of the time since the last look in which the event loop was at work, 0 to 1. */
  readonly loopUse: number;
  /** How late a timer was, in milliseconds. */
  readonly lateMs: number;
  /** What can still be allocated on this machine, and all that it has. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** What the worker has with its children, and what it may have. */
  readonly residentBytes: number;
  readonly maxBytes: number;
}

const busyLoop = 0.9;
const lateTimerMs = 250;
/** So much of a machine's memory is left alone. */
const memoryReserve = 0.05;

/** Why more slots would do harm; `undefined` where they would not. `onLoop`: tasks run on the event loop of the worker. */
export function strainOf(machine: Machine, onLoop: boolean): string | undefined {
  const { loopUse, lateMs, freeBytes, totalBytes, residentBytes, maxBytes } = machine;
  if (residentBytes > maxBytes) {
    return `the worker has ${mebibytes(residentBytes)} of memory, and is to have ${mebibytes(maxBytes)} at most`;
  }
  if (freeBytes < totalBytes * memoryReserve) {
    return `memory is short: ${mebibytes(freeBytes)} of ${mebibytes(totalBytes)} are left`;
  }
  if (!onLoop) return undefined;
  if (loopUse > busyLoop) return `the event loop is busy ${Math.round(loopUse * 100)} % of the time`;
  return lateMs > lateTimerMs ? `the event loop is ${Math.round(lateMs)} ms late` : undefined;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
