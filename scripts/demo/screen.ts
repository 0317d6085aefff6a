import cliProgress from 'cli-progress';
import type { Progress } from './import-log.ts';
import type { Source } from './source.ts';
import { count, paint, plural } from './text.ts';

/** What a worker is doing, for the screen. */
export interface WorkerView {
  readonly name: string;
  readonly pid: number;
  readonly state: 'starting' | 'working' | 'killed';
}

/** Where the demo tells what happens: live bars on a terminal, a line now and then elsewhere. */
export interface Screen {
  event(text: string): void;
  show(progress: Progress, workers: readonly WorkerView[]): void;
  close(): void;
}

/** Seconds since the demo began, in front of each event. */
const stamp = (seconds: number) => paint('dim', `${seconds.toFixed(1).padStart(6)} s`);
const elapsed = () => performance.now() / 1000;

/** Lines only: for pipes, logs and `--json`. */
export class PlainScreen implements Screen {
  readonly #total: number;
  #shown = 0;

  constructor(sources: readonly Source[]) {
    this.#total = totalOf(sources);
  }

  event(text: string): void {
    console.log(`${stamp(elapsed())}  ${text}`);
  }

  show({ rows }: Progress): void {
    const tenths = Math.floor((rows / this.#total) * 10);
    if (tenths <= this.#shown) return;
    this.#shown = tenths;
    this.event(`${String(tenths * 10).padStart(3)} %  ${count(rows)} of ${plural(this.#total, 'row')}`);
  }

  close(): void {}
}

const stateColours = { starting: 'yellow', working: 'green', killed: 'red' } as const;

/** A bar for each of the largest files, one for the others, one for all, and a line for each worker. */
export class BarScreen implements Screen {
  readonly #bars: cliProgress.MultiBar;
  readonly #updates: ((progress: Progress) => void)[] = [];
  readonly #width: number;
  #workers: readonly WorkerView[] = [];
  #chunks: ReadonlyMap<string, number> = new Map();

  constructor(sources: readonly Source[], workers: readonly string[]) {
    const { columns = 80, rows: lines = 24 } = process.stdout;
    // Below the title, some room for events, and the lines for the others, the total and the workers.
    const large = sources.slice(0, Math.max(3, Math.min(12, lines - 14 - workers.length)));
    const small = sources.slice(large.length);
    const others = plural(small.length, 'smaller file');
    this.#width = Math.max(...large.map(({ file }) => file.length), others.length);
    this.#bars = new cliProgress.MultiBar({
      stream: process.stdout,
      barsize: Math.max(10, Math.min(40, columns - this.#width - 30)),
      barCompleteChar: '█',
      barIncompleteChar: '░',
      hideCursor: true,
      clearOnComplete: true,
      // An event moves every line down.
      forceRedraw: true,
      // The demo itself handles signals.
      gracefulExit: false,
    });
    this.#line(() => '');
    for (const source of large) this.#bar(source.file, [source]);
    if (small.length > 0) this.#bar(others, small);
    this.#bar('all', sources, 'bold');
    this.#line(() => '');
    for (const name of workers) this.#line(() => this.#worker(this.#workers.find((worker) => worker.name === name)));
  }

  event(text: string): void {
    // Erases what the bars left on the line.
    this.#bars.log(`\x1b[K${stamp(elapsed())}  ${text}\n`);
  }

  show(progress: Progress, workers: readonly WorkerView[]): void {
    this.#workers = workers;
    this.#chunks = progress.chunksByWorker;
    for (const update of this.#updates) update(progress);
  }

  close(): void {
    // With the events since the last redraw.
    this.#bars.update();
    this.#bars.stop();
  }

  #bar(name: string, sources: readonly Source[], style?: 'bold'): void {
    const total = totalOf(sources);
    const format = (options: cliProgress.Options, { progress, value }: cliProgress.Params) => {
      const bar = cliProgress.Format.BarFormat(progress, options);
      const percent = `${Math.floor(progress * 100)}%`.padStart(4);
      const text = `  ${name.padEnd(this.#width)}  ${paint(value < total ? 'cyan' : 'green', bar)} ${percent}  ${count(value).padStart(7)} / ${count(total)}`;
      return style ? paint(style, text) : text;
    };
    const bar = this.#bars.create(total, 0, {}, { format });
    this.#updates.push(({ rowsByFile }) =>
      bar.update(sources.reduce((sum, { file }) => sum + (rowsByFile.get(file) ?? 0), 0)),
    );
  }

  #line(text: () => string): void {
    this.#bars.create(1, 0, {}, { format: text });
  }

  #worker(worker: WorkerView | undefined): string {
    if (!worker) return '';
    const chunks = plural(this.#chunks.get(worker.name) ?? 0, 'chunk');
    const state = paint(stateColours[worker.state], `● ${worker.state.padEnd(8)}`);
    return `  ${worker.name.padEnd(this.#width)}  ${state}  ${chunks.padEnd(11)} ${paint('dim', `pid ${worker.pid}`)}`;
  }
}

const totalOf = (sources: readonly Source[]) => sources.reduce((sum, { rows }) => sum + rows.size, 0);
