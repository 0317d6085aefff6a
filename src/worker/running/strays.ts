import { format } from 'node:util';
import { type LogOut, printedLines } from '../../app/logger.ts';
import { currentRunning, type Running } from '../../app/tasks/current-task.ts';
import { TaskExitError } from '../../errors.ts';

/** Told of what tasks do to the process in which they run beside others. */
export interface StrayEvents {
  /** Where the log goes: what tasks print is to go with it. */
  readonly out: LogOut | undefined;
  /** A promise was rejected that nobody handles; `running` is the task that made it, if one did. */
  onRejection(reason: unknown, running: Running | undefined): void;
  /** A task called `process.exit()`. Returns whether it still runs here: then the process does not end. */
  onExit(error: TaskExitError, running: Running): boolean;
}

const watching = new Set<StrayEvents>();
let stop = (): void => {};

/**
 * On the event loop tasks share their process with each other and with the worker, which must not suffer from one of them:
 * unhandled rejections and `process.exit()` are told as what a task did, and what it prints with `console` gets its name
 * and id, as in threads and processes. Until the returned function is called; for programs that are a worker, as all of it
 * concerns the whole process.
 */
export function watchStrays(events: StrayEvents): () => void {
  if (watching.size === 0) stop = start();
  watching.add(events);
  return () => {
    if (watching.delete(events) && watching.size === 0) stop();
  };
}

function start(): () => void {
  const onRejection = (reason: unknown) => {
    const running = currentRunning();
    for (const one of watching) one.onRejection(reason, running);
  };
  process.on('unhandledRejection', onRejection);
  const restore = [holdExit(), ...(['debug', 'info', 'log', 'warn', 'error'] as const).map(labelLines)];
  return () => {
    process.off('unhandledRejection', onRejection);
    for (const each of restore) each();
  };
}

function holdExit(): () => void {
  const { exit } = process;
  process.exit = (code) => {
    const running = currentRunning();
    if (running) {
      const error = new TaskExitError(
        `the task called process.exit(${code ?? process.exitCode ?? 0}). Return from the task, or throw, to end it; the worker goes on.`,
      );
      // All are asked: the task is of one of them.
      if ([...watching].filter((one) => one.onExit(error, running)).length > 0) throw error;
    }
    return exit.call(process, code);
  };
  return () => {
    process.exit = exit;
  };
}

function labelLines(method: 'debug' | 'info' | 'log' | 'warn' | 'error'): () => void {
  const print = console[method];
  console[method] = (...args) => {
    const running = currentRunning();
    if (!running) return print.apply(console, args);
    const label = `${running.message.task}[${running.message.id}]`;
    const lines = format(...args).split('\n');
    const json = [...watching].find(({ out }) => out?.json)?.out;
    if (!json) return print.call(console, lines.map((line) => `[${label}] ${line}`).join('\n'));
    const stream = method === 'warn' || method === 'error' ? 'stderr' : 'stdout';
    process[json.fd === 1 ? 'stdout' : 'stderr'].write(printedLines(lines, stream, label));
  };
  return () => {
    console[method] = print;
  };
}
