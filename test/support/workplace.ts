import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Lovage, type LovageOptions } from '../../src/index.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** Calls `check` until it gives something other than undefined or false; fails after `ms`. */
export async function until<T>(check: () => T | Promise<T>, ms = 15_000): Promise<Exclude<T, undefined | false>> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A folder with a SQLite file, or the URL of another store, a client application on it, and worker processes that a test may kill. */
export class Workplace implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-'));
  readonly notesFile = join(this.folder, 'notes');
  readonly broker: string;
  readonly app: Lovage;
  /** What workers have written to stderr. */
  log = '';
  readonly #children = new Set<ChildProcess>();

  /** `where`: what the URL of the SQLite file ends in, such as `?visibilityTimeout=1`, or the URL of a store. */
  constructor(where = '', options: LovageOptions = {}) {
    this.broker = where.includes('://') ? where : `sqlite://${join(this.folder, 'test.db')}${where}`;
    this.app = new Lovage('client', { broker: this.broker, logger: quiet, ...options });
  }

  /** Starts a worker process; resolves when it takes messages. */
  async worker(env: Record<string, string> = {}): Promise<ChildProcess> {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'worker-process.ts')], {
      env: { ...process.env, TEST_BROKER: this.broker, TEST_NOTES: this.notesFile, ...env },
      stdio: ['ignore', 'pipe', process.env.TEST_DEBUG ? 'inherit' : 'pipe'],
    });
    this.#children.add(child);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
    const ready = new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on(
        'line',
        (line) => line === 'ready' && resolve(),
      );
      child.once('exit', (code) => reject(new Error(`the worker ended with ${code} before it was ready`)));
    });
    await ready;
    return child;
  }

  /** What tasks have written down. */
  notes(): string[] {
    return existsSync(this.notesFile) ? readFileSync(this.notesFile, 'utf8').split('\n').slice(0, -1) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children].map((child) => kill(child)));
    await this.app.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Ends a process with a signal and waits until it is gone; returns its exit code (null after a kill). */
export async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill(signal);
  return exited;
}
