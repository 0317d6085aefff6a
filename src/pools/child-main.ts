// What runs in a thread or process of a pool: it loads the application's module itself, and runs one job at a time.
import { Worker } from 'node:worker_threads';
import { sibling } from '../util/sibling.ts';
import { ChildJobs } from './child-jobs.ts';
import { childLink } from './child-link.ts';

/** Whether it is for the parent alone to act on a signal, also where one was sent to all processes. */
const forParent = new Set<string | symbol>(['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP']);

if (process.connected) {
  ignoreSignals();
  holdLifeline();
}
new ChildJobs(childLink());

/** Not even handlers of the application's own are called: many of them end the process. */
function ignoreSignals(): void {
  const emit = process.emit.bind(process) as (name: string | symbol, ...args: readonly unknown[]) => boolean;
  process.emit = ((name: string | symbol, ...args: readonly unknown[]) =>
    forParent.has(name) || emit(name, ...args)) as typeof process.emit;
  for (const signal of forParent) process.on(signal, () => {});
}

/** A thread, since a task that blocks this one must not outlive the parent either. */
function holdLifeline(): void {
  new Worker(sibling(import.meta.url, 'lifeline-thread'), { name: 'lovage-lifeline' }).unref();
}
