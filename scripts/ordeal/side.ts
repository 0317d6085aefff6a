/** What every process of the ordeal is told, on either side; `python/side.py` reads the same. */
export interface Side {
  /** Of broker and results. */
  readonly url: string;
  readonly queue: string;
  /** Where it leaves its records. */
  readonly folder: string;
  /** Which of the processes it is: its successors have the same name. */
  readonly name: string;
  /** Seconds. */
  readonly visibilityTimeout: number;
  /** Milliseconds that a task sleeps, on average. */
  readonly taskMs: number;
  /** For a sender: its first task, and the one behind its last. */
  readonly first: number;
  readonly end: number;
  /** For a sender: messages that may wait in the queue before it rests. */
  readonly backlog: number;
}

/** The variable of the environment in which it stands, as JSON. */
export const SIDE = 'LOVAGE_ORDEAL';

/** Where the kinds of records are, in the folder. */
export const RUNS = 'runs';
export const SENDS = 'sends';

/** What all ids of the ordeal's tasks begin with; the number of the task follows. */
export const ID_PREFIX = '07dea100-0000-4000-8000-';

/** The id of a task by its number: known before it is sent, and found again in Redis' append-only file. */
export function idOf(index: number): string {
  return ID_PREFIX + String(index).padStart(12, '0');
}

/** @throws Error where this process was not started by the ordeal */
export function readSide(): Side {
  const text = process.env[SIDE];
  if (text === undefined) throw new Error(`this process is a part of the ordeal: npm run ordeal (${SIDE} is not set)`);
  return JSON.parse(text);
}

/** How long a task sleeps: from half to one and a half of the average. */
export function sleepOf(index: number, { taskMs }: Side): number {
  return Math.round(taskMs * (0.5 + (index % 11) / 10));
}

/** Has this process end when the ordeal is gone, however that ended: then its pipe closes. */
export function endWithOrdeal(): void {
  process.stdin.on('end', () => process.exit(1)).on('error', () => process.exit(1));
  process.stdin.resume();
}
