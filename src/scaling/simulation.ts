import type { Formula } from './backlog.ts';
import type { TrackingPolicy } from './tracking.ts';

/** What is played through. Times are in seconds. */
export interface Simulation {
  /** When messages come, in order. */
  readonly arrivals: readonly number[];
  /** What a run takes on average. */
  readonly serviceTime: number;
  /** Runs take all the same time, or differ as an exponential distribution does. */
  readonly spread: 'fixed' | 'exponential';
  /** Runs at once in one task. */
  readonly concurrency: number;
  readonly policy: TrackingPolicy;
  /** Which number the policy holds to its target. */
  readonly metric: 'perTask' | 'seconds';
  readonly formula: Formula;
  /** Something starts the first task of a service at zero. */
  readonly fromZero: boolean;
  readonly initialTasks: number;
  /** From one look of the monitor to the next. */
  readonly interval: number;
  /** From the decision to the first message of a new task. */
  readonly boot: number;
  /** Busy tasks are spared by scale-in. Without it they get `stopTimeout`, and what is not done then begins anew elsewhere. */
  readonly protection: boolean;
  readonly stopTimeout: number;
  readonly seed: number;
}

/** One moment of the course. */
export interface Sample {
  readonly at: number;
  readonly ready: number;
  readonly inFlight: number;
  readonly running: number;
  readonly pending: number;
  readonly desired: number;
  /** As last published. */
  readonly metric: number | undefined;
}

export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What came of it. Times are in seconds. */
export interface SimulationResult {
  readonly samples: readonly Sample[];
  readonly messages: number;
  readonly done: number;
  /** Runs that a scale-in cut off; their messages ran again. */
  readonly interrupted: number;
  /** From arrival to the start of the run that ended well. */
  readonly wait: Percentiles;
  /** From arrival to the end. */
  readonly latency: Percentiles;
  /** From the start of each task to its end, boot included: what is paid for. */
  readonly taskHours: number;
  readonly peakTasks: number;
  readonly seconds: number;
}

/** Percentiles by nearest rank; zeros where there is nothing. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (part: number) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}
