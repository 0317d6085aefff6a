/** Workers in processes of their own that get signals at random moments, with tasks under way all the time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import type { AsyncResult } from '../../src/index.ts';
import { childIds } from '../../src/util/memory.ts';
import { until, type Workplace } from './workplace.ts';

const program = join(import.meta.dirname, 'worker-process.ts');
/** Fifty, and more, with the environment variable; fewer in a run of all tests. */
export const rounds = Number(process.env.SIGNAL_ROUNDS ?? 5);
/** Workers that live at the same time. */
const lanes = 3;
/** What a worker may take at most: as long as a platform waits. */
const platformMs = 10_000;

/** What is run in which pool, and who gets the signals. */
export interface Trial {
  readonly task: 'tasks.nap' | 'tasks.napOnce';
  readonly pool?: 'threads' | 'processes';
  readonly signal: NodeJS.Signals;
  /** Whether a worker's whole process group gets it, and its children. */
  wholeGroup(round: number): boolean;
}

/** A worker below a shell, in a process group of its own: as on a dyno. */
class Member {
  readonly shell: ChildProcess;
  readonly #lines: string[] = [];
  readonly #closed: Promise<unknown>;

  constructor(place: Workplace, { pool }: Trial) {
    this.shell = spawn('/bin/sh', ['-c', '"$0" "$1"; exit $?', process.execPath, program], {
      env: {
        ...process.env,
        TEST_BROKER: place.broker,
        TEST_NOTES: place.notesFile,
        TEST_GRACE: '5',
        TEST_DELIVERIES: '50',
        ...(pool && { TEST_MAIN_POOL: pool, TEST_CONCURRENCY: '3' }),
      },
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    this.#closed = once(this.shell, 'close');
    createInterface({ input: this.shell.stdout as NodeJS.ReadableStream }).on('line', (line) => this.#lines.push(line));
    onTestFinished(() => this.#killGroup('SIGKILL'));
  }

  ready(): Promise<true> {
    return until(() => this.#lines.includes('ready'), 60_000);
  }

  /** To the worker alone; or to shell, worker and children, and once more a moment later, as npm passes it on. */
  async end(signal: NodeJS.Signals, wholeGroup: boolean): Promise<string | undefined> {
    const pid = Number(this.#lines.find((line) => line.startsWith('pid '))?.slice(4));
    if (wholeGroup) {
      this.#killGroup(signal);
      // They are in groups of their own; a dyno tells them all the same.
      for (const child of childIds(pid)) kill(child, signal);
      await sleep(20);
      this.#killGroup(signal);
    } else {
      process.kill(pid, signal);
    }
    const gone = await Promise.race([this.#closed, sleep(platformMs, undefined, { ref: false })]);
    if (!gone) throw new Error(`a worker did not end within ${platformMs} ms`);
    return this.#lines.find((line) => line.startsWith('ended '));
  }

  #killGroup(signal: NodeJS.Signals): void {
    kill(-Number(this.shell.pid), signal);
  }
}

/** Whoever has ended needs no signal. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Has workers end at random moments with tasks under way all the time; returns how the workers ended, and every result. */
export async function signalOrdeal(place: Workplace, trial: Trial) {
  const endings: (string | undefined)[] = [];
  const results: AsyncResult[] = [];
  let begun = 0;
  const lane = async () => {
    while (begun < rounds) {
      const round = begun++;
      const member = new Member(place, trial);
      await member.ready();
      const naps = Array.from({ length: 30 }, (_, i) => [`nap ${round}-${i}`, Math.round(5 + Math.random() * 200)]);
      results.push(...(await place.app.sendMany(trial.task, naps)));
      await sleep(Math.random() * 150);
      endings.push(await member.end(trial.signal, trial.wholeGroup(round)));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await place.worker({ TEST_DELIVERIES: '50' });
  const values = await Promise.all(results.map((result) => result.get({ timeout: 30 })));
  const broker = await place.app.broker();
  // A result is stored first, then its message is acked.
  await until(async () => (await broker.countMany(['celery']))[0]?.inFlight === 0);
  const [depth] = await broker.countMany(['celery']);
  expect(new Set(values).size).toBe(30 * rounds);
  expect(depth).toEqual({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
  return { endings, ended: values.map((name) => `end ${name}`).toSorted() };
}

/** What tasks have noted with that word, sorted. */
export function sortedNotes(place: Workplace, word: string): string[] {
  return place
    .notes()
    .filter((line) => line.startsWith(`${word} `))
    .toSorted();
}
