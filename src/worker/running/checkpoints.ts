import { setImmediate as turn } from 'node:timers/promises';
import type { TaskHost } from '../../app/host.ts';
import type { ResultRecord } from '../../contracts/backend.ts';
import { ConfigError, isPassing, LeaseLostError, MessageTooLargeError } from '../../errors.ts';
import { encodeResult } from '../../wire/result.ts';
import type { Outcome } from '../outcome.ts';

/** A checkpoint is a note, not a place for data. */
const maxBytes = 64 * 1024;
/** The least time between two writes: a loop that leaves a checkpoint at every step costs no more than this. */
const everyMs = 1_000;
/** How long a loop of checkpoints may go on before timers, signals and sockets get their turn. */
const turnMs = 10;
/** How long one is kept where results are kept for ever. */
const longestMs = 30 * 24 * 3600 * 1000;

/** The name under which the result backend keeps the checkpoint of a task. */
export function checkpointKey(taskId: string): string {
  return `${taskId}:checkpoint`;
}

/**
 * The checkpoints of one run. The newest is written: at once when the last write was a second ago or more, or the task is
 * being stopped; else at the end of that second, and when the run ends without a result.
 */
export class Checkpoints {
  readonly #app: TaskHost;
  readonly #taskId: string;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => void this.#writeLater();
  #pending: ResultRecord | undefined;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wroteAt = Number.NEGATIVE_INFINITY;
  #turnedAt = performance.now();
  /** There may be one in the store. */
  #stored = false;

  constructor(app: TaskHost, taskId: string, signal: AbortSignal) {
    this.#app = app;
    this.#taskId = taskId;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** As {@link TaskContext.checkpoint}. */
  async save(state: unknown): Promise<void> {
    if (this.#signal.reason instanceof LeaseLostError) throw this.#signal.reason;
    this.#pending = this.#record(state);
    const now = performance.now();
    const wait = this.#wroteAt + everyMs - now;
    if (wait <= 0 || this.#signal.aborted) await this.#write();
    else this.#timer ??= setTimeout(() => void this.#writeLater(), wait).unref();
    if (now - this.#turnedAt < turnMs) return;
    await turn();
    this.#turnedAt = performance.now();
  }

  /** As {@link TaskContext.lastCheckpoint}. */
  async last(): Promise<unknown> {
    const results = await this.#app.results();
    required(results.backend);
    const meta = await results.fetch(checkpointKey(this.#taskId));
    if (meta) this.#stored = true;
    return meta?.result;
  }

  /** Brings the last one to safety where the task will run again; else has it forgotten when the result is stored. */
  async end(outcome: Outcome): Promise<Outcome> {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#onAbort);
    const isOver = outcome.kind === 'success' || outcome.kind === 'failure' || outcome.kind === 'ignore';
    if (isOver || this.#signal.reason instanceof LeaseLostError) this.#pending = undefined;
    await this.#writeLater();
    return isOver && this.#stored ? { ...outcome, forget: [checkpointKey(this.#taskId)] } : outcome;
  }

  /** Written now, so that the task may change its state afterwards. */
  #record(state: unknown): ResultRecord {
    const { resultSerializer, jsonTags } = this.#app.config;
    const taskId = checkpointKey(this.#taskId);
    const meta = { taskId, state: 'CHECKPOINT', result: state ?? null, children: [] };
    const document = encodeResult(meta, { serializer: resultSerializer, jsonTags });
    const bytes = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
    if (bytes <= maxBytes) return { taskId, state: meta.state, document };
    throw new MessageTooLargeError(
      `the checkpoint of task ${this.#taskId} has ${bytes} bytes, the most is ${maxBytes}: keep the data elsewhere and say in the checkpoint where`,
    );
  }

  /** Writes where nobody waits for it. */
  async #writeLater(): Promise<void> {
    try {
      await this.#write();
    } catch (error) {
      this.#warn(error as Error);
    }
  }

  /** Writes until the newest is written. One write at a time, so that an older one cannot overtake. */
  #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#pending) {
      const record = this.#pending;
      this.#pending = undefined;
      this.#wroteAt = performance.now();
      try {
        await this.#store(record);
      } catch (error) {
        // The work itself goes on without it: that a task can be taken up later is worth less than the task.
        if (!isPassing(error as Error)) throw error;
        this.#warn(error as Error);
        return;
      }
    }
  }

  async #store(record: ResultRecord): Promise<void> {
    const { backend, ttlMs } = await this.#app.results();
    // Also where no answer comes it may be there.
    this.#stored = true;
    const [failure] = await required(backend).storeMany([record], ttlMs ?? longestMs);
    if (failure) throw failure.error;
  }

  #warn(error: Error): void {
    this.#app.logger.warn({ id: this.#taskId, error }, 'a checkpoint could not be stored');
  }
}

function required<T>(backend: T | undefined): T {
  if (backend) return backend;
  throw new ConfigError(
    'checkpoints are kept in the result backend, and this application has none: set the option backend',
  );
}
