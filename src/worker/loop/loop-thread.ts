/** The thread of {@link LoopWatch}: waits, looks whether the event loop turns, and tells what ran when it did not. */
import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import { type LogOut, streamLogger } from '../../app/logger.ts';
import { cell, looksPerLimit, noteIn, readNote, stillness } from './loop-note.ts';

export interface LoopThreadData {
  readonly memory: SharedArrayBuffer;
  readonly hostname: string;
  readonly limitMs: number;
  /** Where the log goes; `undefined` where only the worker can write it, `false` where no warning is wanted. */
  readonly out: LogOut | false | undefined;
}

/** A loop that stood still for so many times the limit may never turn again: then this thread writes the line itself. */
const speakAfter = 5;

if (parentPort) watch(parentPort, workerData as LoopThreadData);

/** Waits in a loop of its own, without an event loop; returns when it is told to stop. */
function watch(port: NonNullable<typeof parentPort>, { memory, hostname, limitMs, out }: LoopThreadData): void {
  const note = noteIn(memory);
  const { numbers } = note;
  const everyMs = limitMs / looksPerLimit;
  let seen = -1;
  let stillMs = 0;
  let speakAt = speakAfter * limitMs;
  while (Atomics.load(numbers, cell.stop) === 0) {
    // Without tasks it sleeps here, and costs nothing.
    Atomics.wait(numbers, cell.active, 0);
    Atomics.wait(numbers, cell.stop, 0, everyMs);
    const beat = Atomics.load(numbers, cell.beat);
    if (beat !== seen || Atomics.load(numbers, cell.active) === 0) {
      seen = beat;
      stillMs = 0;
      speakAt = speakAfter * limitMs;
      continue;
    }
    // What it waited, not what the clock says: a machine that was asleep blocks nobody.
    stillMs += everyMs;
    if (stillMs >= limitMs && stillMs - everyMs < limitMs) port.postMessage(readNote(note));
    if (stillMs < speakAt) continue;
    speakAt *= 2;
    speak(
      `${hostname}: the event loop has been standing still for ${stillness(seconds(stillMs), readNote(note))}`,
      out,
    );
  }
}

/** Writes past the event loop that stands still. */
function speak(text: string, out: LoopThreadData['out']): void {
  if (out === false) return;
  const { json, fd } = out ?? { json: false, fd: 2 };
  const stream = new Writable({
    decodeStrings: false,
    write(line, _encoding, done) {
      try {
        writeSync(fd, line);
      } catch {
        // Nobody reads it.
      }
      done();
    },
  });
  const advice = "A time limit cannot end it there: give such tasks pool: 'threads' or 'processes'";
  streamLogger({ json, stream }).warn({}, `${text}. ${advice}`);
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
