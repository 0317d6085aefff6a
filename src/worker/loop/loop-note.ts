/**
 * What the event loop of a worker and the thread that watches it share: which tasks run there, and that the loop turns. The
 * worker writes, the thread reads, also while the worker stands still.
 */
export interface LoopNote {
  readonly numbers: Int32Array;
  readonly labels: Buffer;
}

/** Places in `numbers`. */
export const cell = {
  /** Grows at each turn of the loop that is looked at. */
  beat: 0,
  /** 1 while there is something to watch; the thread sleeps on it. */
  active: 1,
  /** 1 when the thread is to end; it waits on it between looks. */
  stop: 2,
  /** Tasks that run. */
  running: 3,
  /** 1 + the row of the task whose code was called and has not returned; 0 while there is none. */
  current: 4,
  /** From here on: the length of the label in each row; 0 where it is empty. */
  lengths: 5,
} as const;

/** So many running tasks are noted by name; one more row is for the current one beyond them. */
export const rows = 128;
/** Of a longer label the beginning is kept. */
export const labelBytes = 160;

const numberBytes = 4 * (cell.lengths + rows + 1);

export function noteMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(numberBytes + labelBytes * (rows + 1));
}

export function noteIn(memory: SharedArrayBuffer): LoopNote {
  return {
    numbers: new Int32Array(memory, 0, cell.lengths + rows + 1),
    labels: Buffer.from(memory, numberBytes),
  };
}

/** Looks at the loop in the time that it may stand still. */
export const looksPerLimit = 4;

/** Which tasks stand in the note. */
export interface LoopTasks {
  readonly labels: readonly string[];
  /** How many run beside those that are named. */
  readonly others: number;
  /** It is the one whose code was called; else it is one of these. */
  readonly exact: boolean;
}

/** More than these are counted only. */
const maxNamed = 10;

export function readNote(note: LoopNote): LoopTasks {
  const current = Atomics.load(note.numbers, cell.current);
  if (current > 0) return { labels: [labelOf(note, current - 1)], others: 0, exact: true };
  const labels: string[] = [];
  for (let row = 0; row < rows && labels.length < maxNamed; row += 1) {
    if (Atomics.load(note.numbers, cell.lengths + row) > 0) labels.push(labelOf(note, row));
  }
  const others = Math.max(0, Atomics.load(note.numbers, cell.running) - labels.length);
  return { labels, others, exact: labels.length === 1 && others === 0 };
}

function labelOf({ numbers, labels }: LoopNote, row: number): string {
  const start = row * labelBytes;
  return labels.toString('utf8', start, start + Atomics.load(numbers, cell.lengths + row));
}

/** What is said of a loop that stands still, or did. */
export function stillness(seconds: string, { labels, others, exact }: LoopTasks): string {
  const more = others > 0 ? ` and ${others} more` : '';
  if (labels.length === 0) return `${seconds}, and no task ran`;
  if (exact) return `${seconds} in the task ${labels[0]}, which computes without pause`;
  return `${seconds} in one of the tasks ${labels.join(', ')}${more}, which computes without pause`;
}
