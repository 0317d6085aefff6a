import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** How a process ended: its exit status, or the signal that killed it. */
export type End = number | NodeJS.Signals;

/** A worker process, started as anybody would start one: `lovage -A <app file> worker`. */
export class WorkerProcess {
  readonly name: string;
  readonly pid: number;
  state: 'starting' | 'working' | 'killed' = 'starting';
  /** Resolves when it takes messages; rejects when it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<End>;
  readonly #child: ChildProcess;
  readonly #logFile: string;

  constructor(name: string, folder: string, environment: Readonly<Record<string, string>>) {
    this.name = name;
    this.#logFile = join(folder, `${name}.log`);
    const command = ['src/cli/main.ts', '-A', 'examples/csv-import/tasks.ts', 'worker', '-n', `${name}@%h`, '-c', '4'];
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...command], {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => resolve(signal ?? status ?? 1));
    });
    this.ready = new Promise((resolve, reject) => {
      const keep = (data: Buffer) => {
        appendFileSync(this.#logFile, data);
        if (!data.includes(' ready.')) return;
        this.state = 'working';
        resolve();
      };
      child.stdout.on('data', keep);
      child.stderr.on('data', keep);
      this.ended.then((end) => reject(new Error(`${name} ended with ${end} before it was ready`)), reject);
    });
    // Whoever waits for it hears of it; a worker that nobody waits for any more may end.
    this.ready.catch(() => {});
    this.ended.catch(() => {});
  }

  /** Kills it, as power cuts and out-of-memory killers do: it can do nothing about it. */
  async kill(): Promise<void> {
    this.state = 'killed';
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** Asks it to stop, and kills it after 15 seconds. */
  async stop(): Promise<End> {
    await this.ready.catch(() => {});
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 15_000);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The end of its log, without the tasks that went well. */
  get logTail(): string {
    const text = existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
    const lines = text.trimEnd().split('\n');
    return lines
      .filter((line) => !line.includes(': INFO]'))
      .slice(-12)
      .join('\n');
  }
}
