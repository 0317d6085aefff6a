import Table from 'cli-table3';
import type { FileRun } from './import-log.ts';
import { count, paint } from './text.ts';
import { isRight, type Verdict } from './verify.ts';

/** One line a file: how long it took, who did it, and whether what is stored is what the file holds. */
export function summaryTable(files: readonly (readonly [FileRun, Verdict])[], seconds: number): string {
  const table = new Table({
    head: ['file', 'rows', 'chunks', 'seconds', 'rows/s', 'worker', 'check'].map((title) => paint('bold', title)),
    colAligns: ['left', 'right', 'right', 'right', 'right', 'left', 'left'],
    chars: frame,
    style: { head: [], border: [], compact: true },
  });
  for (const [run, verdict] of files) {
    const { file, rowsStored } = verdict;
    table.push([file, ...numbers(rowsStored, run.chunks, run.seconds), workersOf(run), checkOf(verdict)]);
  }
  const total = (of: (run: FileRun, verdict: Verdict) => number) => files.reduce((sum, [run, verdict]) => sum + of(run, verdict), 0);
  const all = numbers(total((_, { rowsStored }) => rowsStored), total(({ chunks }) => chunks), seconds);
  table.push(['all', ...all, '', ''].map((cell) => paint('bold', cell)));
  return table.toString();
}

const numbers = (rows: number, chunks: number, seconds: number) => [
  count(rows),
  count(chunks),
  seconds.toFixed(1),
  count(Math.round(rows / Math.max(seconds, 0.001))),
];

/** `worker-1, worker-2` as `worker-1 + 2`. */
function workersOf({ workers: [first = '', ...others] }: FileRun): string {
  return [first, ...others.map((name) => name.replace('worker-', ''))].join(' + ');
}

function checkOf(verdict: Verdict): string {
  if (isRight(verdict)) return paint('green', 'same');
  const { lost, doubled, changed } = verdict;
  return paint('red', `${lost} lost, ${doubled} doubled, ${changed} changed`);
}

/** Lines above and below the head, no other. */
const frame = {
  top: '─', 'top-mid': '─', 'top-left': '  ', 'top-right': '',
  bottom: '─', 'bottom-mid': '─', 'bottom-left': '  ', 'bottom-right': '',
  mid: '─', 'mid-mid': '─', 'left-mid': '  ', 'right-mid': '',
  left: '  ', right: '', middle: ' ',
};
