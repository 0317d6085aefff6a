import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { RUNS, SENDS } from './side.ts';

/** One execution of a task. */
export interface Run {
  readonly index: number;
  /** Which message of the task it was, counted from 1. */
  readonly attempt: number;
  /** Name of the worker. */
  readonly worker: string;
  /** Of the process that would acknowledge it. */
  readonly workerPid: number;
  /** Of the process it ran in. */
  readonly pid: number;
  /** Epoch milliseconds. */
  readonly begin: number;
  /** `undefined` where it was cut off. */
  end?: number;
}

/** What the workers have written down, read as it grows. */
export class RunRecords {
  readonly runs: Run[] = [];
  /** Tasks that have ended at least once. */
  done = 0;
  readonly #folder: string;
  readonly #begun = new Set<number>();
  readonly #ended = new Set<number>();
  readonly #files = new Map<string, RunFile>();

  constructor(folder: string) {
    this.#folder = join(folder, RUNS);
  }

  /** Runs beyond the first of their task. */
  get again(): number {
    return this.runs.length - this.#begun.size;
  }

  hasEnded(index: number): boolean {
    return this.#ended.has(index);
  }

  /** Pids of the processes of a worker that have begun a task, the last one last. */
  pidsOf(worker: string, workerPid: number): number[] {
    const files = [...this.#files.values()].filter((file) => file.worker === worker && file.workerPid === workerPid);
    return files.map(({ pid }) => pid);
  }

  /** Reads what is new. */
  read(): void {
    for (const name of readdirSync(this.#folder)) {
      const file = this.#files.get(name) ?? new RunFile(join(this.#folder, name), name);
      this.#files.set(name, file);
      for (const line of file.lines()) this.#take(file, line);
    }
  }

  #take(file: RunFile, line: string): void {
    const [what, at, index, attempt] = line.split(' ');
    const key = `${index} ${attempt}`;
    if (what === 'begin') {
      const { worker, workerPid, pid } = file;
      const run: Run = { index: Number(index), attempt: Number(attempt), worker, workerPid, pid, begin: Number(at) };
      this.runs.push(run);
      this.#begun.add(run.index);
      file.open.set(key, [...(file.open.get(key) ?? []), run]);
      return;
    }
    // One message may run twice at once, even in one process, when all goes wrong.
    const run = file.open.get(key)?.shift();
    if (!run) throw new Error(`the record of ${file.worker} has the end of a run that never began: ${line}`);
    run.end = Number(at);
    if (this.#ended.has(run.index)) return;
    this.#ended.add(run.index);
    this.done += 1;
  }
}

/** The records of one process. */
class RunFile {
  readonly worker: string;
  readonly workerPid: number;
  readonly pid: number;
  readonly open = new Map<string, Run[]>();
  readonly #path: string;
  #offset = 0;
  #rest = '';

  constructor(path: string, name: string) {
    const [worker = '', workerPid, pid] = name.split('.');
    this.worker = worker;
    this.workerPid = Number(workerPid);
    this.pid = Number(pid);
    this.#path = path;
  }

  lines(): string[] {
    const file = openSync(this.#path, 'r');
    try {
      const buffer = Buffer.alloc(65_536);
      for (let count = buffer.length; count === buffer.length; ) {
        count = readSync(file, buffer, 0, buffer.length, this.#offset);
        this.#offset += count;
        this.#rest += buffer.toString('latin1', 0, count);
      }
    } finally {
      closeSync(file);
    }
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    return lines;
  }
}

/** What became of the sending of one message: confirmed, failed, or nobody knows as the sender was killed. */
export type Sending = 'sent' | 'failed' | 'open';

/** Every message that senders tried to send, by the number of the task; the first attempt first. */
export function readSends(folder: string): Map<number, Sending[]> {
  const sends = new Map<number, Sending[]>();
  for (const name of readdirSync(join(folder, SENDS))) {
    for (const line of readFileSync(join(folder, SENDS, name), 'utf8')
      .split('\n')
      .slice(0, -1)) {
      const [what = '', , index, attempt] = line.split(' ');
      const attempts = sends.get(Number(index)) ?? [];
      sends.set(Number(index), attempts);
      attempts[Number(attempt) - 1] = what === 'sent' || what === 'failed' ? what : 'open';
    }
  }
  return sends;
}
