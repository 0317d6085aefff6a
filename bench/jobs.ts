import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Job, Report } from './session.ts';

const LIMIT_MS = 120_000;

/**
 * Returns a function that runs one job in fresh processes and on fresh files, and resolves with what it found. Files go
 * when this process ends, and so does a job under way.
 */
export function jobRunner(): <Found>(job: Omit<Job, 'folder'>) => Promise<Report<Found>> {
  const scratch = mkdtempSync(join(tmpdir(), 'lovage-bench-'));
  let running: ChildProcess | undefined;
  process.once('exit', () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      running?.kill('SIGKILL');
      process.exit(status);
    });
  }
  return async <Found>(job: Omit<Job, 'folder'>) => {
    const folder = mkdtempSync(join(scratch, `${job.target}-`));
    const limitMs = LIMIT_MS + (job.idleSeconds ?? 0) * 1000;
    const child = fork(join(import.meta.dirname, 'session.ts'), [JSON.stringify({ ...job, folder })], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    running = child;
    const { promise, resolve } = Promise.withResolvers<Report<Found>>();
    const timer = setTimeout(() => {
      resolve({ error: `not done after ${limitMs / 1000} s` });
      child.kill('SIGKILL');
    }, limitMs);
    child.once('message', (report: Report<Found>) => resolve(report));
    const gone = new Promise<void>((over) =>
      child.once('exit', (code, signal) => {
        resolve({ error: `its process ended with ${code ?? signal}` });
        over();
      }),
    );
    const report = await promise;
    await gone;
    clearTimeout(timer);
    rmSync(folder, { recursive: true, force: true });
    return report;
  };
}
