import { Worker } from 'node:worker_threads';
import type { ChildPoolOptions } from '../contracts/pool.ts';
import { type ChildKind, childFile } from './child-kind.ts';
import { ChildPool } from './child-pool.ts';

/**
 * Runs tasks in threads of this process, one at a time in each: for code that computes. They start faster and take less
 * memory than processes; a crash of native code ends them all.
 */
export function threadPool<Request, Outcome>(options: ChildPoolOptions<Request, Outcome>): ChildPool<Request, Outcome> {
  return new ChildPool(threads(options.maxHeapMiB), options);
}

function threads(maxHeapMiB: number | undefined): ChildKind {
  return {
    name: 'threads',
    features: { parallel: true, kill: true, isolation: 'heap' },
    tryWrite: (value) => void structuredClone(value),
    start(events) {
      const worker = new Worker(childFile, {
        name: 'lovage-pool',
        stdout: true,
        stderr: true,
        ...(maxHeapMiB !== undefined && { resourceLimits: { maxOldGenerationSizeMb: maxHeapMiB } }),
      });
      let error: Error | undefined;
      worker.on('message', (messages) => events.onMessages(messages));
      worker.on('error', (thrown: Error) => {
        error = thrown;
      });
      worker.stdout.on('data', (chunk) => events.onRaw('stdout', chunk));
      worker.stderr.on('data', (chunk) => events.onRaw('stderr', chunk));
      worker.once('exit', (exitCode) => events.onEnd({ exitCode, signal: null, error }));
      return {
        title: `thread ${worker.threadId}`,
        post: (messages) => worker.postMessage(messages),
        kill: () => void worker.terminate(),
      };
    },
  };
}
