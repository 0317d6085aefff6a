import { clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { isMainThread } from 'node:worker_threads';
import type { PoolRunner } from '../contracts/pool.ts';
import { TaskExitError } from '../errors.ts';
import type { ChildLink } from './child-link.ts';
import type { FromChild, ToChild } from './child-messages.ts';
import { ChildOutput } from './child-output.ts';
import { packError, unpackError } from './packed-error.ts';
import { packValue, unsendable } from './packed-value.ts';
import { toError } from './thrown.ts';

/** How long a job may go on after a rejection that nobody handled, before it is failed and the child replaced. */
const graceMs = 5_000;

interface Current {
  readonly id: string;
  readonly controller: AbortController;
  /** A rejection that nobody handled: the job has failed, whatever it returns. */
  spoiled: Error | undefined;
  grace: NodeJS.Timeout | undefined;
}

/** Thrown where code called `process.exit()`, which must not return. */
class Exiting extends Error {}

/** The jobs of a child: runs them one at a time, and sees to it that what goes wrong is the failure of one job only. */
export class ChildJobs {
  readonly #link: ChildLink;
  readonly #output: ChildOutput;
  #runner: PoolRunner<unknown, unknown> | undefined;
  #maxMemoryKiB = Number.POSITIVE_INFINITY;
  readonly #waiting: { readonly id: string; readonly request: unknown }[] = [];
  #current: Current | undefined;
  #closing = false;
  #leaving = false;

  constructor(link: ChildLink) {
    this.#link = link;
    this.#output = new ChildOutput((stream, line) => {
      const id = this.#current?.id;
      this.#send([id === undefined ? { kind: 'output', stream, line } : { kind: 'output', id, stream, line }]);
    });
    process.on('unhandledRejection', (reason) => this.#rejected(toError(reason)));
    process.on('uncaughtException', (error) => this.#crashed(error));
    process.exit = (code) => this.#exit(Number(code ?? process.exitCode ?? 0));
    link.listen((messages) => this.#take(messages));
  }

  #take(messages: readonly ToChild[]): void {
    for (const message of messages) {
      if (message.kind === 'run') this.#waiting.push(message);
      else if (message.kind === 'cancel') this.#cancel(message.id, unpackError(message.reason));
      else if (message.kind === 'close') this.#toClose();
      else void this.#open(message);
    }
    if (this.#runner) this.#next([]);
  }

  async #open({ recipe, maxMemoryKiB }: ToChild & { kind: 'open' }): Promise<void> {
    try {
      const module = await import(recipe.module);
      const factory: unknown = module[recipe.factory];
      if (typeof factory !== 'function') {
        throw new TypeError(
          `Expected ${recipe.module} to export the function '${recipe.factory}', got ${typeof factory}.`,
        );
      }
      const runner = await factory(...recipe.args);
      if (typeof runner?.run !== 'function') {
        throw new TypeError(
          `Expected ${recipe.factory}() of ${recipe.module} to return { run }, got ${typeof runner}.`,
        );
      }
      this.#runner = runner;
      this.#maxMemoryKiB = maxMemoryKiB;
      this.#next([{ kind: 'ready' }]);
    } catch (error) {
      this.#crashed(error);
    }
  }

  #toClose(): void {
    this.#closing = true;
    this.#send(this.#giveBack());
  }

  #giveBack(): FromChild[] {
    // The last one first: each is put before all that wait.
    const back = this.#waiting.splice(0).reverse();
    return back.map(({ id }) => ({ kind: 'skipped', id }));
  }

  /** Sends what is to be said, and begins the next job if there is one. */
  #next(news: FromChild[]): void {
    const job = this.#current || this.#leaving ? undefined : this.#waiting.shift();
    if (job) {
      const controller = new AbortController();
      const current: Current = { id: job.id, controller, spoiled: undefined, grace: undefined };
      this.#current = current;
      // Only when the pool will know for sure that it has begun, or it would run again elsewhere.
      this.#send([...news, { kind: 'begun', id: job.id }], () => this.#begin(current, job.request));
      return;
    }
    this.#send(news);
    if (this.#closing && !this.#current && !this.#leaving) void this.#close();
  }

  #begin(current: Current, request: unknown): void {
    if (!current.controller.signal.aborted) {
      void this.#run(current, request);
      return;
    }
    // Cancelled while that was on its way.
    this.#current = undefined;
    this.#next([{ kind: 'skipped', id: current.id }]);
  }

  async #run(current: Current, request: unknown): Promise<void> {
    let ended: () => FromChild;
    try {
      const value = await this.#runner?.run(request, current.controller.signal);
      ended = () => ({ kind: 'ended', id: current.id, outcome: packValue(value) });
    } catch (error) {
      ended = () => ({ kind: 'failed', id: current.id, error: packError(error) });
    }
    // Rejections of this turn that nobody handles are told only at its end, and they belong to this job.
    setImmediate(() => {
      if (this.#current !== current) return;
      clearTimeout(current.grace);
      this.#output.flush();
      this.#current = undefined;
      const { id, spoiled } = current;
      const outcome: FromChild = spoiled ? { kind: 'failed', id, error: packError(spoiled) } : ended();
      if (!this.#hasGrown()) return this.#next([outcome]);
      this.#closing = true;
      // First of all, or the pool would send another job when it hears of the outcome.
      this.#next([{ kind: 'grown' }, outcome, ...this.#giveBack()]);
    });
  }

  /** Measuring takes a moment, so it is done only where there is a limit. */
  #hasGrown(): boolean {
    if (this.#maxMemoryKiB === Number.POSITIVE_INFINITY) return false;
    return memoryBytes() > this.#maxMemoryKiB * 1024;
  }

  #cancel(id: string, reason: Error): void {
    if (this.#current?.id === id) this.#current.controller.abort(reason);
    const place = this.#waiting.findIndex((job) => job.id === id);
    if (place < 0) return;
    this.#waiting.splice(place, 1);
    this.#send([{ kind: 'skipped', id }]);
  }

  /** The body may still be about something, so the job ends when it ends. But it may also never end, because of this. */
  #rejected(error: Error): void {
    if (error instanceof Exiting) return;
    const current = this.#current;
    if (!this.#runner) this.#crashed(error);
    else if (!current) this.#output.note(`unhandled rejection between tasks: ${error.stack ?? error.message}`);
    else if (!current.spoiled) {
      current.spoiled = error;
      current.grace = setTimeout(() => {
        if (this.#current === current) this.#crashed(error);
      }, graceMs);
      current.controller.abort(error);
    }
  }

  /** Who knows in which state an exception that nobody caught left this child: the job fails, the child is replaced. */
  #crashed(thrown: unknown): void {
    if (this.#leaving || thrown instanceof Exiting) return;
    this.#failAndLeave(toError(thrown), 1);
  }

  #exit(code: number): never {
    if (this.#leaving) {
      this.#link.exit(code);
    } else {
      const doing = this.#runner ? 'the task' : 'the module';
      const error = new TaskExitError(
        `${doing} called process.exit(${code}). Return from the task, or throw, to end it; the worker goes on.`,
      );
      this.#failAndLeave(error, code);
    }
    throw new Exiting(`process.exit(${code}) was called`);
  }

  #failAndLeave(error: Error, code: number): void {
    this.#output.flush();
    const current = this.#current;
    if (current) this.#leave(code, [{ kind: 'failed', id: current.id, error: packError(error) }]);
    else if (!this.#runner) this.#leave(code, [{ kind: 'unfit', error: packError(error) }]);
    else {
      this.#output.note(`between tasks: ${error.stack ?? error.message}`);
      this.#leave(code, []);
    }
  }

  async #close(): Promise<void> {
    // From here on process.exit() is what its name says.
    this.#leaving = true;
    try {
      await this.#runner?.close?.();
    } catch (error) {
      this.#output.note(`at its end: ${toError(error).stack}`);
    }
    this.#output.flush();
    this.#leave(0, []);
  }

  #leave(code: number, news: readonly FromChild[]): void {
    this.#leaving = true;
    this.#current = undefined;
    this.#send([...news, { kind: 'leaving' }], () => this.#link.exit(code));
  }

  /** A value that cannot be sent is the failure of its job. */
  #send(messages: readonly FromChild[], then?: () => void): void {
    if (messages.length === 0) return;
    try {
      this.#link.send(messages, then);
    } catch (cause) {
      this.#link.send(
        messages.map((message) => this.#sendable(message, cause)),
        then,
      );
    }
  }

  #sendable(message: FromChild, cause: unknown): FromChild {
    if (message.kind !== 'ended') return message;
    try {
      this.#link.tryWrite(message);
      return message;
    } catch {
      const error = unsendable('the outcome of a job', message.outcome.value, this.#link.tryWrite, cause);
      return { kind: 'failed', id: message.id, error: packError(error) };
    }
  }
}

/** A process has its own resident set, a thread only its own heap and what hangs on it. */
function memoryBytes(): number {
  if (isMainThread) return process.memoryUsage.rss();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
