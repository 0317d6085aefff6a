/** Real Celery for tests: workers that may be killed, and a client that runs Python code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const folder = join(import.meta.dirname, 'python');
const python = '/usr/bin/python3';

export interface PythonOptions {
  /** Of the broker, and of results where `backend` is not given. */
  readonly url: string;
  readonly backend?: string | undefined;
  /** Celery settings besides those of app.py. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

export interface PythonWorkerOptions extends PythonOptions {
  readonly queues: readonly string[];
  readonly concurrency?: number;
}

function start(
  args: readonly string[],
  { url, backend, settings = {} }: PythonOptions,
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const child = spawn(python, args, {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      TEST_URL: url,
      ...(backend !== undefined && { TEST_BACKEND: backend }),
      TEST_SETTINGS: JSON.stringify(settings),
      // In a container tests are root; and no compiled files in the source tree.
      C_FORCE_ROOT: '1',
      PYTHONDONTWRITEBYTECODE: '1',
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
    // A process group of its own, with the processes of its pool: they are killed together.
    detached: true,
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

/** None outlives the tests. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) killGroup(child);
});

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

/** Kills a process with all that it has started, as `kill -9` does; resolves when all are gone. */
async function end(child: ChildProcess): Promise<void> {
  if (!running.has(child)) return;
  const closed = once(child, 'close');
  killGroup(child);
  await closed;
}

/** A Celery worker with a prefork pool, as most run it. */
export class PythonWorker implements AsyncDisposable {
  readonly #child: ChildProcess;
  #output = '';

  private constructor(options: PythonWorkerOptions) {
    const { queues, concurrency = 2 } = options;
    const pool = ['-P', 'prefork', '-c', String(concurrency)];
    const quiet = ['--without-gossip', '--without-mingle', '--without-heartbeat', '-l', 'INFO'];
    const args = ['-m', 'celery', '-A', 'app', 'worker', ...pool, '-Q', queues.join(','), ...quiet];
    this.#child = start(args, options, { TEST_WORKER: '1' });
  }

  /** Starts a worker; resolves when it says that it is ready. */
  static async start(options: PythonWorkerOptions): Promise<PythonWorker> {
    const worker = new PythonWorker(options);
    await worker.#ready();
    return worker;
  }

  /** Its log so far. */
  get output(): string {
    return this.#output;
  }

  /** Kills it and its pool with SIGKILL. */
  kill(): Promise<void> {
    return end(this.#child);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the Python worker is not ready:\n${this.#output}`)), 20_000);
      const read = (data: Buffer) => {
        this.#output += data;
        if (!this.#output.includes(' ready.')) return;
        clearTimeout(late);
        resolve();
      };
      this.#child.stdout?.on('data', read);
      this.#child.stderr?.on('data', read);
      this.#child.once('close', () => reject(new Error(`the Python worker ended:\n${this.#output}`)));
    });
  }
}

/** What a Python program sees of a task that has ended. */
export interface PythonOutcome {
  readonly state: string;
  readonly value?: unknown;
  /** Of the exception that `get()` would raise. */
  readonly type?: string;
  readonly module?: string;
  readonly message?: string;
  readonly args?: readonly string[];
  readonly traceback: string | null;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** A Python process that sends tasks and reads results with Celery's own client. */
export class PythonClient implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #errors = '';
  #lastId = 0;

  private constructor(options: PythonOptions) {
    this.#child = start(['client.py'], options);
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => this.#answer(line));
    this.#child.stderr?.on('data', (data) => {
      this.#errors += data;
    });
    this.#child.once('close', () => {
      const error = new Error(`the Python client ended:\n${this.#errors}`);
      for (const { reject } of this.#waiting.values()) reject(error);
    });
  }

  static async start(options: PythonOptions): Promise<PythonClient> {
    const client = new PythonClient(options);
    await client.#wait(0, 'the start');
    return client;
  }

  /**
   * Runs Python code; resolves with the value of its last line, as JSON has it. `names` become variables.
   * @throws Error with the Python traceback
   */
  async run<T>(code: string, names: Readonly<Record<string, unknown>> = {}): Promise<T> {
    const id = ++this.#lastId;
    this.#child.stdin?.write(`${JSON.stringify({ id, code, names })}\n`);
    return (await this.#wait(id, code)) as T;
  }

  /** Sends a task; resolves with its id. */
  send(task: string, args: readonly unknown[] = [], options: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return this.run('app.send_task(task, args, **options).id', { task, args, options });
  }

  /** Waits for a task to end; resolves with what a Python program sees of it. */
  outcome(id: string): Promise<PythonOutcome> {
    return this.run('outcome(task_id)', { task_id: id });
  }

  /** The state of a task now. */
  state(id: string): Promise<string> {
    return this.run('result(task_id).state', { task_id: id });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return end(this.#child);
  }

  async #wait(id: number, what: string): Promise<unknown> {
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    const late = setTimeout(() => waiting.reject(new Error(`no answer from Python within 25 s to: ${what}`)), 25_000);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(late);
      this.#waiting.delete(id);
    }
  }

  #answer(line: string): void {
    const { id, value, error }: Answer = JSON.parse(line);
    const waiting = this.#waiting.get(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  }
}
