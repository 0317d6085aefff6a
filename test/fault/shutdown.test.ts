import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { AsyncResult } from '../../src/index.ts';
import { until, Workplace } from '../support/workplace.ts';

const program = join(import.meta.dirname, '..', 'support', 'worker-process.ts');
const rounds = 50;
/** Workers that live at the same time. */
const lanes = 3;
/** Seconds that a worker may take at most: as long as a platform waits. */
const platformMs = 10_000;

/** A worker below a shell, in a process group of its own: as on a dyno. */
class Member {
  readonly shell: ChildProcess;
  readonly #lines: string[] = [];
  readonly #closed: Promise<unknown>;

  constructor(place: Workplace) {
    this.shell = spawn('/bin/sh', ['-c', '"$0" "$1"; exit $?', process.execPath, program], {
      env: {
        ...process.env,
        TEST_BROKER: place.broker,
        TEST_NOTES: place.notesFile,
        TEST_GRACE: '5',
        TEST_DELIVERIES: '50',
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

  /** To the worker alone, or to shell and worker, and once more a moment later, as npm passes it on. */
  async end(signal: NodeJS.Signals, wholeGroup: boolean): Promise<string | undefined> {
    if (wholeGroup) {
      this.#killGroup(signal);
      await sleep(20);
      this.#killGroup(signal);
    } else {
      const pid = Number(this.#lines.find((line) => line.startsWith('pid '))?.slice(4));
      process.kill(pid, signal);
    }
    const gone = await Promise.race([this.#closed, sleep(platformMs, undefined, { ref: false })]);
    if (!gone) throw new Error(`a worker did not end within ${platformMs} ms`);
    return this.#lines.find((line) => line.startsWith('ended '));
  }

  #killGroup(signal: NodeJS.Signals): void {
    try {
      process.kill(-Number(this.shell.pid), signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Has workers end at random moments with tasks under way all the time; returns how the workers ended, and every result. */
async function ordeal(place: Workplace, signal: NodeJS.Signals) {
  const endings: (string | undefined)[] = [];
  const results: AsyncResult[] = [];
  let begun = 0;
  const lane = async () => {
    while (begun < rounds) {
      const round = begun++;
      const member = new Member(place);
      await member.ready();
      const naps = Array.from({ length: 30 }, (_, i) => [`nap ${round}-${i}`, Math.round(5 + Math.random() * 200)]);
      results.push(...(await place.app.sendMany('tasks.nap', naps)));
      await sleep(Math.random() * 150);
      endings.push(await member.end(signal, round % 2 === 0));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await place.worker({ TEST_DELIVERIES: '50' });
  const values = await Promise.all(results.map((result) => result.get({ timeout: 30 })));
  const broker = await place.app.broker();
  // A result is stored first, then its message is acked.
  await until(async () => (await broker.countMany(['celery']))[0]?.inFlight === 0);
  const [depth] = await broker.countMany(['celery']);
  return { endings, values, depth };
}

const ends = (place: Workplace) =>
  place
    .notes()
    .filter((line) => line.startsWith('end '))
    .toSorted();

test('50 workers get SIGTERM at random moments, half of them with their whole process group: nothing is lost, nothing runs twice', {
  timeout: 180_000,
}, async () => {
  await using place = new Workplace();
  const { endings, values, depth } = await ordeal(place, 'SIGTERM');
  expect(endings).toEqual(Array.from({ length: rounds }, () => 'ended 0'));
  expect(ends(place)).toEqual(values.map((name) => `end ${name}`).toSorted());
  expect(new Set(values).size).toBe(values.length);
  expect(depth).toEqual({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
});

test('50 workers are killed at random moments: nothing is lost', { timeout: 180_000 }, async () => {
  await using place = new Workplace('?visibilityTimeout=1');
  const { endings, values, depth } = await ordeal(place, 'SIGKILL');
  expect(endings).toEqual(Array.from({ length: rounds }, () => undefined));
  expect(new Set(ends(place))).toEqual(new Set(values.map((name) => `end ${name}`)));
  expect(new Set(values).size).toBe(values.length);
  expect(depth).toEqual({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
});
