import type { Lifecycle } from '../../app/lifecycle.ts';
import type { Logger } from '../../app/logger.ts';
import { maxTimerMs } from '../../util/sleep.ts';
import { within } from '../../util/within.ts';
import type { Claims } from '../gates/claims.ts';
import type { LeaseKeeper } from '../leases/lease-keeper.ts';
import type { LoopWatch } from '../loop/loop-watch.ts';
import type { Held } from '../outcome.ts';
import type { Autoscaler } from '../running/autoscaler.ts';
import type { Dispatcher } from '../running/dispatcher.ts';
import type { Lanes } from '../running/lanes.ts';
import type { Settler } from '../settling/settler.ts';
import type { Fetcher } from '../taking/fetcher.ts';
import type { RenewableConsumer } from '../taking/renewable-consumer.ts';
import type { Revocations } from '../taking/revocations.ts';
import type { Watchdog } from '../taking/watchdog.ts';
import type { Grace } from './grace.ts';
import type { StopMode } from './signals.ts';

/** The parts of a worker that are ended, in order. */
export interface Ending {
  readonly dispatcher: Dispatcher;
  readonly lanes: Lanes;
  readonly settler: Settler;
  readonly leases: LeaseKeeper;
  readonly claims: Claims | undefined;
  readonly revocations: Revocations;
  readonly consumer: RenewableConsumer;
  readonly fetcher: Fetcher;
  readonly watchdog: Watchdog | undefined;
  readonly loopWatch: LoopWatch | undefined;
  readonly autoscaler: Autoscaler | undefined;
  readonly stopControl: () => Promise<void>;
  readonly lifecycle: Lifecycle;
}

export interface ShutdownOptions {
  readonly hostname: string;
  readonly grace: Grace;
  /** What running tasks get in a soft end; 0: there is none, it is cold at once. */
  readonly softMs: number;
  readonly logger: () => Logger;
}

/** How long threads and processes that have nothing to do may take to end. */
const childrenMs = 5_000;
/** Tasks named in one line. */
const maxNamed = 10;
const urgency = { warm: 1, soft: 2, cold: 3 } as const;

/** Ends a worker: knows how much time is left for what, and says what it waits for. */
export class Shutdown {
  readonly #options: ShutdownOptions;
  readonly #tasksOver = new AbortController();
  readonly #allOver = Promise.withResolvers<undefined>();
  #mode: StopMode | undefined;
  #parts: Ending | undefined;
  #began = 0;
  /** When running tasks have had their time, and when the end must have come, whatever hangs. */
  #tasksUntil = Number.POSITIVE_INFINITY;
  #endsBy = Number.POSITIVE_INFINITY;
  #tasksTimer: NodeJS.Timeout | undefined;
  #endTimer: NodeJS.Timeout | undefined;
  #overdue = false;

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  /** How it ends; `undefined` while nobody asked it to. */
  get mode(): StopMode | undefined {
    return this.#mode;
  }

  /** The end took too long, and was not waited for. */
  get overdue(): boolean {
    return this.#overdue;
  }

  /** What there is to end; `undefined` before the start. */
  get parts(): Ending | undefined {
    return this.#parts;
  }

  /** Tells which parts there are to end. */
  attach(parts: Ending): void {
    this.#parts = parts;
  }

  /** Asks for an end, or for a more urgent one; what is less urgent than before changes nothing. `cause` is told. */
  request(mode: StopMode, cause: string): void {
    const { grace, softMs } = this.#options;
    const wanted = mode === 'soft' && softMs === 0 ? 'cold' : mode;
    if (this.#mode && urgency[wanted] <= urgency[this.#mode]) return;
    const now = performance.now();
    if (!this.#mode) this.#began = now;
    this.#mode = wanted;
    this.#tasksUntil = Math.min(this.#tasksUntil, now + { warm: grace.tasksMs, soft: softMs, cold: 0 }[wanted]);
    this.#endsBy = Math.min(
      this.#endsBy,
      Math.max((wanted === 'cold' ? now : this.#began) + grace.endMs, this.#tasksUntil + grace.lastMs),
    );
    this.#tell(`${wanted} shutdown (${cause})`);
    this.#arm(now);
  }

  /** Says what it waits for, to somebody whose `cause` changes nothing. */
  remind(cause: string): void {
    if (this.#mode) this.#tell(`${cause} changes nothing`);
  }

  /** Waits for the end, but no longer than there is time. Resolves with the exit status. */
  async limit(ending: Promise<number>): Promise<number> {
    try {
      const status = await Promise.race([ending, this.#allOver.promise]);
      return status ?? this.#giveUp(ending);
    } finally {
      clearTimeout(this.#tasksTimer);
      clearTimeout(this.#endTimer);
    }
  }

  /**
   * Ends the parts: takes nothing more, gives back what has not begun, waits for running tasks as long as they have time,
   * aborts the others and gives them back. Resolves with whether all of it went well.
   */
  async carryOut(parts: Ending): Promise<boolean> {
    const { dispatcher, lanes, settler, leases, claims, revocations, loopWatch } = parts;
    const { consumer, fetcher, watchdog, autoscaler, stopControl, lifecycle } = parts;
    const { logger, grace } = this.#options;
    const { signal } = this.#tasksOver;
    // An aborted task needs a moment to notice, and perhaps to leave a last checkpoint.
    const abortMs = (grace.lastMs * 2) / 3;
    lifecycle.stopping();
    watchdog?.stop();
    autoscaler?.stop();
    const unwatched = revocations.stop();
    // A store in trouble must not hold up the end: what cannot be settled then comes back by itself.
    signal.addEventListener('abort', () => settler.hurry(), { once: true });
    if (signal.aborted) settler.hurry();
    // Once before the last messages have come, so that none of them begins, and once after, so that they go back.
    void dispatcher.close();
    const unbegun = fetcher.stop().then(() => dispatcher.close());
    await Promise.race([unbegun.then(() => lanes.drained()), aborted(signal)]);
    await within(unbegun, abortMs);
    const left = dispatcher.running;
    if (left.length > 0)
      logger().warn(
        {},
        `${this.#options.hostname}: the time is up, ${named(left)} ${are(left)} aborted and given back`,
      );
    const unfinished = await dispatcher.abandon(abortMs);
    await settler.drained();
    await within(lanes.stop(), childrenMs);
    await lifecycle.stop(signal);
    await unwatched;
    await stopControl();
    await loopWatch?.stop();
    await leases.stop();
    await claims?.stop();
    const closed = await consumer.close().catch((error: Error) => error);
    if (closed) logger().warn({ error: closed }, 'messages could not be given back; they return when their leases end');
    return unfinished === 0 && !closed && settler.failures === 0;
  }

  #arm(now: number): void {
    clearTimeout(this.#tasksTimer);
    clearTimeout(this.#endTimer);
    const after = (time: number) => Math.min(Math.max(0, time - now), maxTimerMs);
    if (this.#tasksUntil <= now) this.#tasksOver.abort();
    else this.#tasksTimer = setTimeout(() => this.#tasksOver.abort(), after(this.#tasksUntil));
    this.#endTimer = setTimeout(() => this.#allOver.resolve(undefined), after(this.#endsBy));
  }

  #tell(event: string): void {
    const { hostname, logger } = this.#options;
    const running = this.#parts?.dispatcher.running ?? [];
    const left = this.#tasksUntil - performance.now();
    const waiting = `waits up to ${seconds(left)} for ${named(running)}; SIGINT or SIGQUIT cuts it short`;
    const what = running.length === 0 ? 'no task runs' : left > 0 ? waiting : `does not wait for ${named(running)}`;
    logger().info({}, `${hostname} is stopping: ${event}, ${what}`);
  }

  /** Something hangs: a store, most likely. */
  #giveUp(ending: Promise<number>): number {
    this.#overdue = true;
    ending.catch(() => {});
    const held = this.#parts ? this.#parts.settler.pending + this.#parts.dispatcher.running.length : 0;
    const messages =
      held === 1 ? '1 held message returns when its lease ends' : `${held} held messages return when their leases end`;
    const what = held === 0 ? 'nothing is lost' : messages;
    const { hostname, logger } = this.#options;
    logger().error({}, `${hostname} did not come to its end in ${seconds(this.#endsBy - this.#began)}; ${what}`);
    return 1;
  }
}

function named(tasks: readonly Held[]): string {
  const names = tasks.slice(0, maxNamed).map(({ message, taskId }) => `${message?.task}[${taskId}]`);
  const more = tasks.length > maxNamed ? ` and ${tasks.length - maxNamed} more` : '';
  return `${tasks.length === 1 ? '1 task' : `${tasks.length} tasks`} (${names.join(', ')}${more})`;
}

function are(tasks: readonly Held[]): string {
  return tasks.length === 1 ? 'is' : 'are';
}

function seconds(ms: number): string {
  return `${Number((ms / 1000).toFixed(1))} s`;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
