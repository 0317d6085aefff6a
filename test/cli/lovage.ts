import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** The example application. */
export const appFile = fileURLToPath(new URL('fixtures/app.ts', import.meta.url));

/** The front door, for applications that tests write into files. */
export const lovageModule = new URL('../../src/index.ts', import.meta.url).href;

/** A folder with a store of its own, and the command line to be run in it; gone when the test is. */
export class Place {
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-cli-'));
  readonly broker = `sqlite://${join(this.folder, 'tasks.db')}`;

  constructor() {
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 }));
  }

  /** Writes a file; `lovage` in it stands for the front door. */
  write(name: string, text: string): string {
    const file = join(this.folder, name);
    writeFileSync(file, text.replace("'lovage'", `'${lovageModule}'`));
    return file;
  }

  /** Starts the command line. */
  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    return new Running(
      spawn(process.execPath, [main, ...args], {
        cwd: this.folder,
        env: { PATH: process.env.PATH, HOME: this.folder, LOVAGE_BROKER: this.broker, ...env },
      }),
      args,
    );
  }

  /** Runs it to its end. */
  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    const running = this.start(args, env);
    running.process.stdin.end();
    return running.end();
  }

  /** Runs a program of the folder, without the command line. */
  runNode(file: string): Promise<Ended> {
    const child = spawn(process.execPath, [file], {
      cwd: this.folder,
      env: { PATH: process.env.PATH, LOVAGE_BROKER: this.broker },
    });
    child.stdin.end();
    return new Running(child, [file]).end();
  }

  /** Starts a worker of the example application and waits until it takes messages. */
  async worker(...args: string[]): Promise<Running> {
    const worker = this.start(['-A', appFile, 'worker', ...args]);
    await worker.says('ready.');
    return worker;
  }
}

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process with what it has said so far. */
export class Running {
  readonly process: ChildProcessWithoutNullStreams;
  readonly #command: string;
  readonly #ended: Promise<number | null>;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcessWithoutNullStreams, args: readonly string[]) {
    this.process = child;
    this.#command = `lovage ${args.join(' ')}`;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#ended = new Promise((resolve) => child.once('close', resolve));
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
  }

  /** Waits until it has said something, on stdout or stderr. */
  async says(text: string | RegExp, withinMs = 15_000): Promise<void> {
    const seen = () => (typeof text === 'string' ? this.#said.includes(text) : text.test(this.#said));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      if (seen()) resolve();
    };
    const over = () => reject(new Error(`${this.#command} never said ${text}, but: ${this.#said}`));
    const timer = setTimeout(over, withinMs);
    this.process.stdout.on('data', look);
    this.process.stderr.on('data', look);
    this.process.once('close', () => (seen() ? resolve() : over()));
    look();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.process.stdout.off('data', look);
      this.process.stderr.off('data', look);
    }
  }

  /** Waits until it has ended by itself. */
  async end(withinMs = 20_000): Promise<Ended> {
    const timer = setTimeout(() => this.process.kill('SIGKILL'), withinMs);
    const status = await this.#ended;
    clearTimeout(timer);
    if (this.process.signalCode === 'SIGKILL') throw new Error(`${this.#command} did not end by itself: ${this.#said}`);
    return { status, stdout: this.stdout, stderr: this.stderr };
  }

  get #said(): string {
    return this.stdout + this.stderr;
  }
}
