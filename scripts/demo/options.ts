import { parseArgs } from 'node:util';

/** What the demo was asked for. */
export interface DemoOptions {
  readonly json: boolean;
  readonly keep: boolean;
  readonly fast: boolean;
  readonly help: boolean;
}

export const usage = `npm run demo [-- <options>]

Imports the CSV files of the npm package vega-datasets into SQLite with two worker processes,
kills one of them on the way, and checks every row against its source.

  --json   end with one line of JSON, no bars
  --fast   without the rests that make it watchable
  --keep   keep the folder with the databases and the workers' logs
  --help   this
`;

/** @throws Error for an option that does not exist */
export function readOptions(args: readonly string[]): DemoOptions {
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { json: flag, keep: flag, fast: flag, help: { ...flag, short: 'h' } },
  });
  return values;
}
