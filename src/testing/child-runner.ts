import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Recipe } from '../contracts/common.ts';
import { sibling } from '../util/sibling.ts';

/** What a child process is told to do; see child.ts. */
export interface ChildJob {
  readonly role: 'drain' | 'hold' | 'publish' | 'store' | 'claim' | 'reserve';
  readonly recipe: Recipe;
  readonly queue?: string;
  /** How many to hold, publish or reserve. */
  readonly count?: number;
  readonly leaseMs?: number;
  /** Of the results to store. */
  readonly taskIds?: readonly string[];
  /** To claim, or to reserve of, once it is told to go on. */
  readonly keys?: readonly string[];
  readonly intervalMs?: number;
}

/** A child process of a suite. */
export interface Child {
  /** Everything it has reported so far, in order. */
  readonly reports: string[];
  /** Lets one go on that has reported `ready`. */
  goOn(): void;
  /** Kills it as `kill -9` does, and waits until it is gone. */
  kill(): Promise<void>;
  /** Asks it to finish, and waits until it has exited by itself. Rejects where that was with an error. */
  finish(): Promise<void>;
}

// The same file before and after the build, which knows nothing of this name.
const SCRIPT = fileURLToPath(sibling(import.meta.url, 'child'));

/** Starts processes that open a driver by its recipe. */
export class ChildRunner {
  readonly #running = new Set<ChildProcess>();

  start(job: ChildJob): Child {
    const child = fork(SCRIPT, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#running.add(child);
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const reports: string[] = [];
    child.on('message', (ids) => reports.push(...(ids as string[])));
    child.once('exit', () => this.#running.delete(child));
    child.send(job);
    return {
      reports,
      goOn: () => child.send('go on'),
      kill: async () => {
        child.kill('SIGKILL');
        await exited;
      },
      finish: async () => {
        if (child.connected) child.disconnect();
        const code = await exited;
        if (code !== 0) throw new Error(`a child process of the suite exited with ${code}`);
      },
    };
  }

  killAll(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }
}
