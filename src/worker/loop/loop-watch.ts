import { Worker } from 'node:worker_threads';
import type { Logger } from '../../app/logger.ts';
import { sibling } from '../../util/sibling.ts';
import {
  cell,
  type LoopNote,
  type LoopTasks,
  labelBytes,
  looksPerLimit,
  noteIn,
  noteMemory,
  rows,
  stillness,
} from './loop-note.ts';
import type { LoopThreadData } from './loop-thread.ts';

export interface LoopWatchOptions {
  readonly hostname: string;
  /** So long the event loop may stand still, in milliseconds. */
  readonly limitMs: number;
  readonly logger: Logger;
}

/**
 * Tells which task blocks the event loop of a worker. A thread looks whether the loop turns while tasks run: it sees what
 * ran at the moment when the loop had stood still for too long, and can speak where the loop never turns again. A task
 * costs the writing of its label into memory that both share; nothing else happens until the loop stands still.
 */
export class LoopWatch {
  readonly #options: LoopWatchOptions;
  readonly #memory = noteMemory();
  readonly #note: LoopNote = noteIn(this.#memory);
  readonly #free: number[] = Array.from({ length: rows }, (_, i) => rows - 1 - i);
  readonly #everyMs: number;
  #thread: Worker | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Something began since the last beat. */
  #stirred = false;
  #lastBeat = 0;
  /** How long the beat before was late. */
  #lastGap = 0;

  constructor(options: LoopWatchOptions) {
    this.#options = options;
    this.#everyMs = options.limitMs / looksPerLimit;
  }

  start(): void {
    const { hostname, limitMs, logger } = this.#options;
    const enabled = logger.isLevelEnabled?.('warn') ?? true;
    const workerData: LoopThreadData = { memory: this.#memory, hostname, limitMs, out: enabled && logger.out };
    const thread = new Worker(sibling(import.meta.url, 'loop-thread'), { workerData, name: 'lovage-loop' });
    thread.on('message', (tasks: LoopTasks) => this.#tell(tasks));
    thread.on('error', (error) => logger.warn({ error }, 'the thread that watches the event loop has died'));
    thread.unref();
    this.#thread = thread;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const thread = this.#thread;
    this.#thread = undefined;
    if (!thread) return;
    // Whoever waits for this may have nothing else that keeps the process.
    thread.ref();
    const exited = new Promise((resolve) => thread.once('exit', resolve));
    const { numbers } = this.#note;
    Atomics.store(numbers, cell.stop, 1);
    Atomics.store(numbers, cell.active, 1);
    Atomics.notify(numbers, cell.active);
    Atomics.notify(numbers, cell.stop);
    await exited;
  }

  /** Runs a body, with its label in the note until it has ended. */
  run<T>(label: string, body: () => T | Promise<T>): T | Promise<T> {
    const { numbers } = this.#note;
    const row = this.#free.pop() ?? rows;
    this.#write(row, label);
    numbers[cell.running] = (numbers[cell.running] ?? 0) + 1;
    numbers[cell.current] = row + 1;
    this.#stirred = true;
    if (!this.#timer) this.#wake();
    let value: T | Promise<T>;
    try {
      value = body();
    } catch (error) {
      this.#end(row);
      throw error;
    } finally {
      numbers[cell.current] = 0;
    }
    if (!(value instanceof Promise)) {
      this.#end(row);
      return value;
    }
    const end = () => this.#end(row);
    value.then(end, end);
    return value;
  }

  #write(row: number, label: string): void {
    const { numbers, labels } = this.#note;
    numbers[cell.lengths + row] = labels.write(label, row * labelBytes, labelBytes, 'utf8');
  }

  #end(row: number): void {
    const { numbers } = this.#note;
    numbers[cell.running] = (numbers[cell.running] ?? 0) - 1;
    numbers[cell.lengths + row] = 0;
    if (row < rows) this.#free.push(row);
  }

  /** The thread sleeps while nothing runs. */
  #wake(): void {
    this.#lastBeat = performance.now();
    this.#lastGap = 0;
    this.#timer = setInterval(() => this.#beat(), this.#everyMs).unref();
    Atomics.store(this.#note.numbers, cell.active, 1);
    Atomics.notify(this.#note.numbers, cell.active);
  }

  #beat(): void {
    const now = performance.now();
    this.#lastGap = now - this.#lastBeat;
    this.#lastBeat = now;
    Atomics.add(this.#note.numbers, cell.beat, 1);
    const idle = this.#note.numbers[cell.running] === 0 && !this.#stirred;
    this.#stirred = false;
    if (!idle) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    Atomics.store(this.#note.numbers, cell.active, 0);
  }

  /** Word from the thread: it comes when the loop turns again, before the first beat or after it. */
  #tell(tasks: LoopTasks): void {
    const { hostname, logger } = this.#options;
    const ms = Math.max(this.#lastGap, performance.now() - this.#lastBeat);
    const what = stillness(`${(ms / 1000).toFixed(1)} s`, tasks);
    const advice = tasks.labels.length > 0 ? ". Give it pool: 'threads' or 'processes'" : '';
    logger.warn({}, `${hostname}: the event loop stood still for ${what}${advice}`);
  }
}
