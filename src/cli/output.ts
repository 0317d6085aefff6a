import { styleText } from 'node:util';
import Table from 'cli-table3';
import { encodeJson } from '../wire/json.ts';
import { saferepr } from '../wire/saferepr.ts';

type Format = Parameters<typeof styleText>[0];

/** What a command says. Every answer has two forms, for people and as one JSON document (`--json`); only one is written. */
export class Output {
  readonly json: boolean;
  readonly quiet: boolean;

  constructor({ json = false, quiet = false }: { json?: boolean | undefined; quiet?: boolean | undefined }) {
    this.json = json;
    this.quiet = quiet;
  }

  /** The answer, on stdout. `text` is asked for only when people read it. */
  answer(document: unknown, text: () => string): void {
    process.stdout.write(`${this.json ? strictJson(document) : text()}\n`);
  }

  /** Something worth knowing that is no part of the answer, on stderr; not with `--quiet`. */
  note(text: string): void {
    if (!this.quiet) process.stderr.write(`${styleText('dim', text, { stream: process.stderr })}\n`);
  }
}

/** Colour and weight for stdout: plain where it is no terminal, with NO_COLOR and with `-C`. */
export function paint(format: Format, text: string): string {
  return styleText(format, text, { stream: process.stdout });
}

/** Rows below a head, in columns. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], rightFrom = head.length): string {
  const grid = new Table({
    chars: plainChars,
    colAligns: head.map((_, column) => (column < rightFrom ? 'left' : 'right')),
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
  });
  grid.push(
    head.map((title) => paint('bold', title)),
    ...rows.map((row) => [...row]),
  );
  return grid.toString().replace(/ +$/gm, '');
}

/** Names in front of values, aligned. */
export function pairs(rows: readonly (readonly [name: string, value: string])[], indent = ''): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${indent}${paint('dim', name.padEnd(width))}  ${value}`).join('\n');
}

/** "1 message", "2 messages". */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A value in Celery's JSON, which `--args` takes back; what JSON has no form for, in Python's notation. */
export function valueText(value: unknown): string {
  try {
    return encodeJson(value);
  } catch {
    return saferepr(value);
  }
}

/** JSON that every reader takes: large integers as digits, NaN and Infinity as text, bytes in base64, dates in ISO form. */
export function strictJson(value: unknown): string {
  return JSON.stringify(
    value === undefined ? null : value,
    function replace(this: Record<string, unknown>, key, shown: unknown) {
      const original = this[key];
      if (original instanceof Uint8Array) return Buffer.from(original).toString('base64');
      if (typeof shown === 'bigint') return rawJson(String(shown));
      return typeof shown === 'number' && !Number.isFinite(shown) ? String(shown) : shown;
    },
  );
}

/** In Node since 22, not yet in TypeScript's library. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): unknown };

const plainChars = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid', 'middle'].flatMap((part) => [
    [part, ''],
    [`${part}-mid`, ''],
    [`${part}-left`, ''],
    [`${part}-right`, ''],
    ['mid-mid', ''],
    ['left-mid', ''],
    ['right-mid', ''],
  ]),
);
