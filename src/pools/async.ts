import type { Pool, PoolJob, PoolOutcome } from '../contracts/pool.ts';

export interface AsyncPoolOptions<Request, Outcome> {
  readonly slots: number;
  /** Runs one request. Never throws: whatever goes wrong is an outcome. A plain value says that it was done at once. */
  run(request: Request, signal: AbortSignal): Outcome | Promise<Outcome>;
  onOutcomes(outcomes: readonly PoolOutcome<Request, Outcome>[]): void;
}

/**
 * Runs tasks in this process, on its event loop: as many at once as there are slots, which suits work that waits for
 * others. A body that computes without pause holds up the rest, and a running body cannot be killed, only asked to stop.
 */
export class AsyncPool<Request, Outcome> implements Pool<Request> {
  readonly name = 'async';
  readonly #options: AsyncPoolOptions<Request, Outcome>;
  readonly #running = new Map<string, AbortController>();
  #slots: number;
  #onDrained: (() => void)[] = [];

  constructor(options: AsyncPoolOptions<Request, Outcome>) {
    this.#options = options;
    this.#slots = options.slots;
  }

  get slots(): number {
    return this.#slots;
  }

  get running(): number {
    return this.#running.size;
  }

  get free(): number {
    return Math.max(0, this.#slots - this.#running.size);
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    await this.drained();
  }

  submit(jobs: readonly PoolJob<Request>[]): void {
    const done: PoolOutcome<Request, Outcome>[] = [];
    for (const job of jobs) {
      const controller = new AbortController();
      this.#running.set(job.id, controller);
      const outcome = this.#options.run(job.request, controller.signal);
      if (outcome instanceof Promise) void this.#later(job, outcome);
      else done.push(this.#ended(job, outcome));
    }
    if (done.length > 0) this.#options.onOutcomes(done);
  }

  cancel(jobId: string, reason: Error): boolean {
    const controller = this.#running.get(jobId);
    controller?.abort(reason);
    return controller !== undefined;
  }

  resize(slots: number): void {
    this.#slots = slots;
  }

  drained(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  async #later(job: PoolJob<Request>, outcome: Promise<Outcome>): Promise<void> {
    const ended = this.#ended(job, await outcome);
    this.#options.onOutcomes([ended]);
  }

  #ended(job: PoolJob<Request>, outcome: Outcome): PoolOutcome<Request, Outcome> {
    this.#running.delete(job.id);
    if (this.#running.size === 0) for (const resolve of this.#onDrained.splice(0)) resolve();
    return { job, outcome };
  }
}
