import type { QueueDepth } from '../contracts/broker.ts';

/** How many tasks of a service (containers, dynos, processes) there are. */
export interface TaskCounts {
  readonly running: number;
  /** Started, and not yet at work. */
  readonly pending: number;
  /** How many are wanted; without it, those that run or start. */
  readonly desired?: number;
}

/**
 * How the backlog of a task is reckoned. `work`: messages that wait or run, over tasks that run or start. `ready`: messages
 * that wait, over tasks that run, as most hand-made monitors do it. Where there is no task, both take one.
 */
export const formulas = ['work', 'ready'] as const;
export type Formula = (typeof formulas)[number];

/** One queue at one moment. */
export interface QueueBacklog {
  readonly queue: string;
  readonly ready: number;
  readonly inFlight: number;
  /** Parked until due; never a part of the backlog, or a message for tomorrow would keep tasks running until then. */
  readonly delayed: number;
  /** Messages that count, by the formula. */
  readonly messages: number;
  readonly perTask: number;
  /** How long a message that comes now will wait for its turn, in seconds; `undefined` where runtimes are not known. */
  readonly seconds: number | undefined;
}

/** What a monitor sees in one look. */
export interface BacklogReading {
  readonly at: Date;
  readonly queues: readonly QueueBacklog[];
  /** All queues together. */
  readonly total: QueueBacklog;
  readonly tasks: TaskCounts;
  /** Messages for which there is no task, neither running nor starting: what must wake a service at zero. */
  readonly unserved: number;
}

export interface BacklogInput {
  readonly at: Date;
  readonly queues: readonly string[];
  /** In the order of `queues`; `undefined` for a queue that does not exist yet. */
  readonly depths: readonly (QueueDepth | undefined)[];
  readonly tasks: TaskCounts;
  readonly formula: Formula;
  /** Seconds that a run takes on average, by queue. */
  readonly runtimes: ReadonlyMap<string, number>;
  /** Runs at once in one task. */
  readonly concurrency: number;
}

/** The name under which all queues together go. */
export const allQueues = '*';

/** Reckons the backlog: the one place that divides, so that no division by zero leaves it. */
export function backlogOf(input: BacklogInput): BacklogReading {
  const { at, queues, depths, tasks, formula, concurrency } = input;
  const there = formula === 'ready' ? tasks.running : tasks.running + tasks.pending;
  const over = Math.max(1, there);
  const rows = queues.map((queue, i): QueueBacklog => {
    const { ready = 0, inFlight = 0, delayed = 0 } = depths[i] ?? {};
    const messages = formula === 'ready' ? ready : ready + inFlight;
    const runtime = input.runtimes.get(queue);
    const seconds = runtime === undefined ? undefined : (messages * runtime) / (over * concurrency);
    return { queue, ready, inFlight, delayed, messages, perTask: messages / over, seconds };
  });
  const total = totalOf(rows);
  const unserved = tasks.running + tasks.pending === 0 ? total.ready : 0;
  return { at, queues: rows, total, tasks, unserved };
}

function totalOf(rows: readonly QueueBacklog[]): QueueBacklog {
  const [only] = rows;
  if (rows.length === 1 && only) return only;
  const sum = (of: (row: QueueBacklog) => number) => rows.reduce((all, row) => all + of(row), 0);
  // A queue that is empty needs no runtime.
  const known = rows.every(({ messages, seconds }) => messages === 0 || seconds !== undefined);
  return {
    queue: allQueues,
    ready: sum(({ ready }) => ready),
    inFlight: sum(({ inFlight }) => inFlight),
    delayed: sum(({ delayed }) => delayed),
    messages: sum(({ messages }) => messages),
    perTask: sum(({ perTask }) => perTask),
    seconds: known ? sum(({ seconds = 0 }) => seconds) : undefined,
  };
}
