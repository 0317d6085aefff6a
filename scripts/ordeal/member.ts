import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { SIDE, type Side } from './side.ts';

const folder = import.meta.dirname;
const celery = ['-m', 'celery', '-A', 'app', 'worker', '-P', 'prefork', '-c', '4', '-l', 'WARNING'];
const alone = ['--without-gossip', '--without-mingle', '--without-heartbeat'];

const commands = {
  'ts-worker': [process.execPath, '--disable-warning=ExperimentalWarning', join(folder, 'worker.ts')],
  'ts-sender': [process.execPath, '--disable-warning=ExperimentalWarning', join(folder, 'sender.ts')],
  'python-worker': ['/usr/bin/python3', ...celery, ...alone],
  'python-sender': ['/usr/bin/python3', 'sender.py'],
} as const;
export type Role = keyof typeof commands;

/** How a process ended: its status, or the signal that killed it. */
export type End = number | NodeJS.Signals;

/** A part in the ordeal, played by one process after the other. */
export class Member {
  readonly role: Role;
  readonly side: Side;
  /** Of the process that plays it now, or did last. */
  pid = 0;
  /** Epoch milliseconds. */
  startedAt = 0;
  #child: ChildProcess | undefined;
  readonly #onEnd: (member: Member, pid: number, end: End) => void;

  /** `onEnd` hears of every process that ends. */
  constructor(role: Role, side: Side, onEnd: (member: Member, pid: number, end: End) => void) {
    this.role = role;
    this.side = side;
    this.#onEnd = onEnd;
  }

  get name(): string {
    return this.side.name;
  }

  get alive(): boolean {
    return this.#child !== undefined;
  }

  start(): void {
    const log = openSync(join(this.side.folder, `${this.name}.log`), 'a');
    const [file, ...args] = commands[this.role];
    const child = spawn(file, args, {
      cwd: join(folder, 'python'),
      env: {
        PATH: process.env.PATH,
        [SIDE]: JSON.stringify(this.side),
        // In a container root runs it; and no compiled files in the source tree.
        C_FORCE_ROOT: '1',
        PYTHONDONTWRITEBYTECODE: '1',
      },
      stdio: ['pipe', log, log],
      // A process group of its own, with the processes of its pool.
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.startedAt = Date.now();
    const { pid } = this;
    child.stdin?.on('error', () => {});
    const ended = (end: End) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#onEnd(this, pid, end);
    };
    child.once('error', () => ended(127));
    child.once('exit', (status, signal) => ended(signal ?? status ?? 1));
  }

  /** Kills the process, and with `group` all that it has started; resolves when it is gone. */
  async kill(group: boolean): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const gone = once(child, 'exit');
    signal(group ? -this.pid : this.pid);
    await gone;
  }
}

/** SIGKILL for a process, or with a negative number for a group; it may be gone already. */
export function signal(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
