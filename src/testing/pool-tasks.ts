// What the conformance suite of pools runs: each request names something that a task may do, good or bad.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import type { PoolRunner } from '../contracts/pool.ts';
import { LeaseLostError } from '../errors.ts';

export type PoolRequest =
  /** Gives the value back. */
  | { readonly do: 'return'; readonly value: unknown }
  | { readonly do: 'throw'; readonly message: string }
  /** Ends when the signal aborts, or after so long. */
  | { readonly do: 'wait'; readonly ms?: number }
  /** Pays no heed to its signal. */
  | { readonly do: 'ignore'; readonly ms: number }
  /** Computes without pause, for so long or for ever. */
  | { readonly do: 'spin'; readonly ms?: number }
  /** Prints, as text and as an error, with the id of its process for `PID`, and then does something else. */
  | { readonly do: 'print'; readonly text: string; readonly error?: string; readonly next?: PoolRequest }
  /** Tells its process and thread. */
  | { readonly do: 'who' }
  | { readonly do: 'exit'; readonly code: number }
  | { readonly do: 'abort' }
  | { readonly do: 'kill' }
  /** Throws where nobody can catch, and never ends. */
  | { readonly do: 'crash'; readonly message: string }
  /** Forgets a promise that rejects, and ends well. */
  | { readonly do: 'forget'; readonly message: string }
  | { readonly do: 'unsendable' }
  /** Fails with an error of many parts. */
  | { readonly do: 'fail' }
  /** Takes memory until there is none. */
  | { readonly do: 'devour' }
  /** Takes memory and keeps it. */
  | { readonly do: 'leak'; readonly mib: number }
  /** Starts a process that would live on, prints its id, and goes on for ever. */
  | { readonly do: 'spawn' };

export interface PoolResult {
  readonly value?: unknown;
  readonly error?: unknown;
  /** Set by the pool's own failures: their kind. */
  readonly failure?: string;
}

const leaked: unknown[] = [];

/**
 * Runs the requests; throws where the file exists, as a module does whose environment is broken. Prints the greeting
 * when it is made, and the farewell when it is closed.
 */
export function poolTasks(
  brokenIfExists?: string,
  greeting?: string,
  farewell?: string,
): PoolRunner<PoolRequest, PoolResult> {
  if (greeting !== undefined) console.log(greeting);
  if (brokenIfExists !== undefined && existsSync(brokenIfExists)) throw new Error('no database here');
  return {
    run: async (request, signal) => ({ value: await perform(request, signal) }),
    close() {
      if (farewell !== undefined) console.log(farewell);
    },
  };
}

async function perform(request: PoolRequest, signal: AbortSignal): Promise<unknown> {
  switch (request.do) {
    case 'return':
      return request.value;
    case 'throw':
      throw new RangeError(request.message);
    case 'wait':
      return waitFor(signal, request.ms);
    case 'ignore':
      return setTimeout(request.ms, 'ignored');
    case 'spin':
      return spin(request.ms ?? Number.POSITIVE_INFINITY);
    case 'print':
      process.stdout.write(request.text.replace('PID', String(process.pid)));
      if (request.error !== undefined) console.error(request.error);
      return request.next ? perform(request.next, signal) : 'printed';
    case 'who':
      return { pid: process.pid, threadId };
    case 'unsendable':
      return { deep: [1, { callback: () => 1 }] };
    default:
      return misbehave(request);
  }
}

async function misbehave(request: PoolRequest): Promise<unknown> {
  switch (request.do) {
    case 'exit':
      process.exit(request.code);
      break;
    case 'abort':
      process.abort();
      break;
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      break;
    case 'crash':
      setImmediate(() => {
        throw new RangeError(request.message);
      });
      break;
    case 'forget':
      void Promise.reject(new RangeError(request.message));
      return 'forgotten';
    case 'fail': {
      const cause = Object.assign(new TypeError('the cause'), { code: 'E_CAUSE' });
      throw Object.assign(new LeaseLostError('many parts', { cause }), { detail: { at: 5 }, hook: () => 1 });
    }
    case 'devour':
      for (;;) leaked.push(new Array(100_000).fill({}));
    case 'leak':
      leaked.push(Buffer.alloc(request.mib * 1024 * 1024, 1));
      return 'leaked';
    case 'spawn': {
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
      console.log(child.pid);
      break;
    }
  }
  return new Promise(() => {});
}

function waitFor(signal: AbortSignal, ms: number | undefined): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (ms !== undefined) void setTimeout(ms, 'waited').then(resolve);
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}

function spin(ms: number): string {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return 'spun';
}
