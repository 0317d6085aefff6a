import type { Usage } from '../contracts/diagnosis.ts';
import type { PriceTable } from './prices.ts';

/** A month as it is billed: 365 days are twelve of them. */
const HOURS = 730;

/** What is expected of a month. */
export interface Workload {
  readonly tasks: number;
  /** Of these, tasks that are parked: eta, countdown, retries. */
  readonly parked: number;
  /** Workers that wait for tasks all the time. */
  readonly workers: number;
}

/** What one kind of request comes to in a month. The first of two numbers is for full batches, the second for tasks one at a time. */
export interface Cost {
  readonly price: string;
  readonly what: string;
  readonly units: readonly [number, number];
  /** Of these, what workers use while they wait. */
  readonly idle: number;
  readonly dollars: readonly [number, number];
}

/** What a month will cost, kind by kind. Free units go to the first kinds that use their price. */
export function costsOf(usage: readonly Usage[], { tasks, parked, workers }: Workload, { items }: PriceTable): Cost[] {
  const left = new Map<string, [number, number]>();
  return usage.map((use): Cost => {
    const { price: key, what, perTask = 0, perTaskBusy = perTask, perParkedTask = 0 } = use;
    const idle = HOURS * (workers * (use.perIdleWorkerHour ?? 0) + (use.perHour ?? 0));
    const units = [perTaskBusy, perTask].map((one) => tasks * one + parked * perParkedTask + idle) as [number, number];
    const price = items[key];
    if (!price) return { price: key, what, units, idle, dollars: [Number.NaN, Number.NaN] };
    const free = left.get(key) ?? [price.free ?? 0, price.free ?? 0];
    const paid = units.map((one, i) => Math.max(0, one - (free[i] ?? 0))) as [number, number];
    left.set(key, free.map((one, i) => Math.max(0, one - (units[i] ?? 0))) as [number, number]);
    const dollars = paid.map((one) => (one / price.per) * price.dollars) as [number, number];
    return { price: key, what, units, idle, dollars };
  });
}
