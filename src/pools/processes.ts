import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';
import type { ChildPoolOptions } from '../contracts/pool.ts';
import { type ChildEvents, type ChildKind, childFile } from './child-kind.ts';
import { ChildPool } from './child-pool.ts';
import { LIFELINE_FD } from './lifeline.ts';

export interface ProcessPoolOptions<Request, Outcome> extends ChildPoolOptions<Request, Outcome> {
  /** Options of Node for the children. Default: those of this process, without the ones for debugging and inline code. */
  readonly execArgv?: readonly string[];
}

/** How long the last output and messages of a process that has exited are waited for. */
const lastWordsMs = 1_000;

/**
 * Runs tasks in processes of their own, one at a time in each: for code that computes, and for code that may crash. What
 * kills a process kills also the processes that its task has started.
 */
export function processPool<Request, Outcome>(
  options: ProcessPoolOptions<Request, Outcome>,
): ChildPool<Request, Outcome> {
  const execArgv = [...(options.execArgv ?? inheritedArgv(process.execArgv))];
  if (options.maxHeapMiB !== undefined) execArgv.push(`--max-old-space-size=${options.maxHeapMiB}`);
  return new ChildPool(processes(execArgv), options);
}

function processes(execArgv: string[]): ChildKind {
  return {
    name: 'processes',
    features: { parallel: true, kill: true, isolation: 'process' },
    tryWrite: (value) => void serialize(value),
    start(events) {
      const child = fork(fileURLToPath(childFile), {
        execArgv,
        serialization: 'advanced',
        // A process group of its own: it can be killed with all that its task has started.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
      });
      child.on('message', (messages) => {
        // Whatever else a task may have sent with process.send().
        if (Array.isArray(messages)) events.onMessages(messages);
      });
      child.stdout?.on('data', (chunk) => events.onRaw('stdout', chunk));
      child.stderr?.on('data', (chunk) => events.onRaw('stderr', chunk));
      // It is never written to, and its end is told otherwise.
      child.stdio[LIFELINE_FD]?.on('error', () => {});
      listenForEnd(child, events);
      return {
        title: `process ${child.pid ?? 'that did not start'}`,
        post(messages) {
          if (child.connected) child.send([...messages], () => {});
        },
        kill: () => killGroup(child),
      };
    },
  };
}

/** The end comes when the process has exited and all that it said has been read. */
function listenForEnd(child: ChildProcess, events: ChildEvents): void {
  let error: Error | undefined;
  let isEnded = false;
  const end = () => {
    if (isEnded) return;
    isEnded = true;
    events.onEnd({ exitCode: child.exitCode, signal: child.signalCode, error });
  };
  child.on('error', (thrown) => {
    error = thrown;
    if (child.pid === undefined) end();
  });
  child.once('exit', () => {
    killGroup(child);
    // A process that a task has set free may hold the pipes open.
    const waiting = setTimeout(end, lastWordsMs);
    const closed = new Promise((resolve) => child.once('close', resolve));
    const disconnected = child.connected && new Promise((resolve) => child.once('disconnect', resolve));
    void Promise.all([closed, disconnected]).then(() => {
      clearTimeout(waiting);
      end();
    });
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  child.kill('SIGKILL');
  if (process.platform === 'win32') return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}

/** What must not be said twice on a machine (ports of debuggers), or is not about the program but about its start. */
function inheritedArgv(execArgv: readonly string[]): string[] {
  const own = /^(--inspect|--debug|--cpu-prof|--heap-prof|--watch|--test|--eval|--print|--input-type|--check|-[epc]+$)/;
  const kept: string[] = [];
  for (let i = 0; i < execArgv.length; i += 1) {
    const option = execArgv[i] ?? '';
    if (!own.test(option)) kept.push(option);
    else if (/^(--eval|--print|-\w+)$/.test(option)) i += 1;
  }
  return kept;
}
