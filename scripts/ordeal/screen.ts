import { Presets, SingleBar } from 'cli-progress';
import { count, paint, plural } from '../demo/text.ts';
import type { OrdealOptions } from './options.ts';
import type { Sight } from './ordeal.ts';

/** Says how far it is. */
export interface Screen {
  show(sight: Sight): void;
  close(): void;
}

/** On stderr: a bar on a terminal, else a line for every tenth; nothing where `json` and no terminal. */
export function openScreen({ tasks, kills, json, seed }: OrdealOptions): Screen {
  const { stderr } = process;
  const text = ({ kills: killed, redisKills, again }: Sight) =>
    `${killed} of ${kills} killed, Redis ${redisKills === 1 ? 'once' : `${redisKills} times`}, ${plural(again, 'run')} again`;
  if (!stderr.isTTY) {
    let shown = -1;
    const say = (line: string) => {
      if (!json) stderr.write(`${line}\n`);
    };
    say(`${count(tasks)} tasks, ${plural(kills, 'kill')}, seed ${seed}`);
    return {
      show(sight) {
        const tenth = Math.floor((sight.done / tasks) * 10);
        if (tenth <= shown) return;
        shown = tenth;
        say(`${String(tenth * 10).padStart(3)} %  ${text(sight)}`);
      },
      close() {},
    };
  }
  const format = `  ${paint('cyan', '{bar}')} {value}/{total}  {duration_formatted}  {text}`;
  const bar = new SingleBar({ format, barsize: 30, hideCursor: true, clearOnComplete: true }, Presets.shades_classic);
  bar.start(tasks, 0, { text: '' });
  return { show: (sight) => bar.update(sight.done, { text: text(sight) }), close: () => bar.stop() };
}
