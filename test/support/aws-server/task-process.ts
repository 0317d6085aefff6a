/** The one container of a task as a process of this machine: started, ended as ECS ends containers, its output kept. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A container of a task definition. */
export interface TestContainer {
  readonly name: string;
  /** Program and arguments; the override of RunTask wins. */
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** From SIGTERM to SIGKILL. Default: 30 s, as on Fargate. */
  readonly stopTimeoutMs?: number;
}

/** How a process ended. */
export interface ProcessEnd {
  /** As Docker says it: 128 + the number of a signal. */
  readonly exitCode: number;
  readonly killed: boolean;
}

export class TaskProcess {
  readonly ended: Promise<ProcessEnd>;
  output = '';
  readonly #child: ChildProcess;
  readonly #stopTimeoutMs: number;

  constructor({ command, stopTimeoutMs = 30_000 }: TestContainer, env: Readonly<Record<string, string>>) {
    const [program = '', ...args] = command;
    // Of this machine's environment only what every program needs: what the image of a container would have.
    const { PATH = '', HOME = '', TMPDIR } = process.env;
    this.#stopTimeoutMs = stopTimeoutMs;
    this.#child = spawn(program, args, {
      env: { PATH, HOME, ...(TMPDIR && { TMPDIR }), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    tether(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (data) => {
        this.output += String(data);
      });
    this.ended = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.output += String(error);
        resolve({ exitCode: 127, killed: false });
      });
      this.#child.once('close', (code, signal) =>
        resolve({ exitCode: code ?? (signal === 'SIGKILL' ? 137 : 143), killed: signal === 'SIGKILL' }),
      );
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** SIGTERM, and SIGKILL when its time is over; resolves when it is gone. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.kill(), this.#stopTimeoutMs);
    this.#child.kill('SIGTERM');
    await this.ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Has a shell end the process when this one is gone, however it ended: then its pipe closes. */
function tether(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const shell = spawn('/bin/sh', ['-c', 'read -r _; kill -9 "$1"', 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  void once(child, 'exit').then(() => shell.kill('SIGKILL'));
  shell.unref();
}
