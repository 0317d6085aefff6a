import { styleText } from 'node:util';
import { Presets, SingleBar } from 'cli-progress';

/** Says what is under way. */
export interface Progress {
  /** A step begins. */
  step(what: string): void;
  end(): void;
}

/** On stderr: a bar on a terminal, else a line for each step; nothing at all where `quiet` and no terminal. */
export function progress(quiet: boolean, total: number, headline: string): Progress {
  const { stderr } = process;
  if (!stderr.isTTY) {
    const say = (text: string) => {
      if (!quiet) stderr.write(`${text}\n`);
    };
    let count = 0;
    say(headline);
    return { step: (what) => say(`[${++count}/${total}] ${what}`), end: () => {} };
  }
  stderr.write(`${styleText('dim', headline, { stream: stderr })}\n`);
  const format = `${styleText('cyan', '{bar}', { stream: stderr })} {value}/{total}  {duration_formatted}  {what}`;
  const bar = new SingleBar(
    { format, barsize: 24, hideCursor: true, clearOnComplete: true, stopOnComplete: false },
    Presets.shades_classic,
  );
  let count = 0;
  bar.start(total, 0, { what: '' });
  return { step: (what) => bar.update(count++, { what }), end: () => bar.stop() };
}
