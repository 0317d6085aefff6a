import { freemem, totalmem } from 'node:os';
import type { Autoscale } from '../../app/autoscale.ts';
import type { Logger } from '../../app/logger.ts';
import type { Pool } from '../../contracts/pool.ts';
import { containerBytes, residentBytes } from '../../util/memory.ts';
import { within } from '../../util/within.ts';
import { type Machine, noHistory, rescale, strainOf } from './autoscale-policy.ts';

export interface AutoscalerOptions {
  readonly hostname: string;
  readonly range: Autoscale;
  readonly keepAliveMs: number;
  /** What the worker may have with its children, in bytes, before it grows no more. */
  readonly maxBytes: number | undefined;
  readonly pool: Pick<Pool<never>, 'slots' | 'running' | 'waiting' | 'features'>;
  /** Messages that the worker holds and that have not begun. */
  held(): number;
  /** Messages that wait in the broker. */
  ask(): Promise<number>;
  resize(slots: number): void;
  readonly logger: Logger;
}

/** Longest time between two looks. */
const lookMs = 1_000;
/** Where nobody says what the worker may have: so much of what its container has. */
const partOfContainer = 0.85;
/** A broker is not waited for longer than this. */
const patienceMs = 15_000;

/**
 * Sets how many tasks a worker runs at once, between two numbers. The rules are in autoscale-policy.ts; this looks once a
 * second and does what they say. The broker is asked only while all slots are busy and there may be more.
 */
export class Autoscaler {
  readonly #options: AutoscalerOptions;
  readonly #everyMs: number;
  #history = noHistory;
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #lastTick = 0;
  readonly #maxBytes: number;
  #loop = performance.eventLoopUtilization();

  constructor(options: AutoscalerOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? (containerBytes() ?? Number.POSITIVE_INFINITY) * partOfContainer;
    this.#everyMs = Math.min(lookMs, Math.max(50, options.keepAliveMs / 4));
  }

  start(): void {
    this.#lastTick = performance.now();
    const onTick = () => {
      const now = performance.now();
      const lateMs = now - this.#lastTick - this.#everyMs;
      this.#lastTick = now;
      if (!this.#looking) void this.#look(lateMs);
    };
    this.#timer = setInterval(onTick, this.#everyMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #look(lateMs: number): Promise<void> {
    const { pool, range, keepAliveMs } = this.#options;
    const strain = strainOf(this.#machine(lateMs), !pool.features.parallel);
    this.#looking = true;
    const mayGrow = pool.running >= pool.slots && pool.slots < range[0] && strain === undefined;
    const waiting = mayGrow ? await this.#waiting() : 0;
    this.#looking = false;
    if (!this.#timer) return;
    const { slots, running: busy } = pool;
    const look = { at: performance.now(), slots, busy, needed: busy + pool.waiting, waiting, strain };
    const step = rescale(this.#history, look, range, keepAliveMs);
    this.#history = step.history;
    if (step.slots !== slots) this.#resize(slots, step.slots, step.reason ?? '');
  }

  #resize(from: number, to: number, reason: string): void {
    const { hostname, resize, logger } = this.#options;
    logger.info({}, `${hostname}: concurrency ${to} from now on, not ${from}: ${reason}`);
    resize(to);
  }

  /** What would begin if there were more slots. A broker in trouble is no reason to grow. */
  async #waiting(): Promise<number> {
    const { held, ask, pool } = this.#options;
    const waiting = held() + pool.waiting;
    if (waiting > 0) return waiting;
    return (await within(ask(), patienceMs).catch(() => 0)) ?? 0;
  }

  #machine(lateMs: number): Machine {
    const loop = performance.eventLoopUtilization();
    const { utilization: loopUse } = performance.eventLoopUtilization(loop, this.#loop);
    this.#loop = loop;
    const memory = { freeBytes: freemem(), totalBytes: totalmem(), residentBytes: residentBytes() };
    return { loopUse, lateMs, ...memory, maxBytes: this.#maxBytes };
  }
}
