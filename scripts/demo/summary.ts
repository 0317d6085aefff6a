import Table from 'cli-table3';
import type { FileRun } from './import-log.ts';
import { count, paint } from './text.ts';
import { isRight, type Verdict } from './verify.ts';

/** One line a file: how long it took, who did it, and whether what is stored is what the file holds. */
export function summaryTable(files: readonly (readonly [FileRun, Verdict])[], seconds: number): string {
  const table = new Table({
    head: ['file', 'rows', 'seconds', 'rows/s', 'worker', 'check'].map((title) => paint('bold', title)),
    colAligns: ['left', 'right', 'right', 'right', 'left', 'left'],
    chars: frame,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 0 },
  });
  for (const [run, verdict] of files) {
    const { file, rowsStored } = verdict;
    table.push([file, ...numbers(rowsStored, run.seconds), workersOf(run), checkOf(verdict)]);
  }
  const rows = files.reduce((sum, [, { rowsStored }]) => sum + rowsStored, 0);
  table.push(['all', ...numbers(rows, seconds), '', ''].map((cell) => paint('bold', cell)));
  return table.toString();
}

const numbers = (rows: number, seconds: number) => [
  count(rows),
  seconds.toFixed(1),
  count(Math.round(rows / Math.max(seconds, 0.001))),
];

/** `1 + 2` for worker-1 and worker-2. */
const workersOf = ({ workers }: FileRun) => workers.map((name) => name.replace('worker-', '')).join(' + ');

function checkOf(verdict: Verdict): string {
  if (isRight(verdict)) return paint('green', 'same');
  const { lost, doubled, changed } = verdict;
  return paint('red', `${lost} lost, ${doubled} doubled, ${changed} changed`);
}

/** Lines above and below the head, no other. */
const frame = {
  top: '─',
  'top-mid': '──',
  'top-left': '  ',
  'top-right': '',
  bottom: '─',
  'bottom-mid': '──',
  'bottom-left': '  ',
  'bottom-right': '',
  mid: '─',
  'mid-mid': '──',
  'left-mid': '  ',
  'right-mid': '',
  left: '  ',
  right: '',
  middle: '  ',
};
