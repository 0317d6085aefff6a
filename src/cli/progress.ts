import { plural } from './output.ts';

/** Says on stderr how far something is. */
export interface Progress {
  show(done: number, total: number): void;
  /** A line that stays, in between. */
  note(text: string): void;
  close(): void;
}

/** Where it is written to. */
export interface ProgressOptions {
  /** What is counted, such as `message`. */
  readonly noun: string;
  /** Nothing but notes: for `--json`. */
  readonly silent: boolean;
  /** How notes are written. */
  readonly note: (text: string) => void;
  readonly stream?: NodeJS.WriteStream;
}

/** A bar on a terminal; elsewhere a line for every tenth. */
export async function openProgress(options: ProgressOptions): Promise<Progress> {
  const { silent, note, stream = process.stderr } = options;
  if (silent) return { show() {}, note, close() {} };
  return stream.isTTY ? bar(options, stream) : lines(options);
}

async function bar({ noun, note }: ProgressOptions, stream: NodeJS.WriteStream): Promise<Progress> {
  const { default: cliProgress } = await import('cli-progress');
  const format = `{bar} {value} of {total} ${noun}s  {percentage} %  {duration_formatted}, {eta_formatted} left`;
  const options = { format, stream, barsize: 30, hideCursor: true, etaBuffer: 50, gracefulExit: false };
  const shown = new cliProgress.SingleBar(options, cliProgress.Presets.shades_classic);
  let started = false;
  return {
    show(done, total) {
      if (!started) shown.start(total, done);
      started = true;
      shown.setTotal(total);
      shown.update(done);
    },
    note(text) {
      if (started) stream.write('\n');
      note(text);
    },
    close() {
      if (started) shown.stop();
    },
  };
}

function lines({ noun, note }: ProgressOptions): Progress {
  let tenth = -1;
  return {
    show(done, total) {
      const now = total === 0 ? 10 : Math.floor((done / total) * 10);
      if (now <= tenth) return;
      tenth = now;
      note(`${done} of ${plural(total, noun)}`);
    },
    note,
    close() {},
  };
}
