import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { idleTargets } from './idle.ts';
import { type Target, targets } from './targets.ts';
import { type WorkloadName, workloads } from './workloads.ts';

/** What the command line says. */
export interface BenchOptions {
  readonly only: readonly Target[];
  readonly workloads: readonly WorkloadName[];
  readonly repeats: number;
  readonly n: number;
  readonly concurrency: number;
  /** Seconds to watch a worker without work, in place of the workloads. */
  readonly idle?: number;
  readonly json: boolean;
  readonly name: string;
  readonly results: string;
}

/** What stands on the command line; what was left out is missing, or has its default. */
interface Given extends Omit<BenchOptions, 'repeats' | 'n' | 'name'> {
  readonly save: boolean;
  readonly quick: boolean;
  readonly repeats?: number;
  readonly n?: number;
  readonly name?: string;
}

const results = join(import.meta.dirname, 'results');

/** Reads the command line; ends the process with a message where it is wrong. */
export function readOptions(args: readonly string[]): BenchOptions {
  const command = new Command('bench')
    .description('Measures Lovage on this machine: workloads W1 to W8 of bench/README.md.')
    .option('--only <targets>', `what to measure: ${Object.keys(targets).join(',')}`, listOf(targets), keysOf(targets))
    .option(
      '--workloads <names>',
      `which workloads: ${Object.keys(workloads).join(',')}`,
      listOf(workloads),
      keysOf(workloads),
    )
    .option('--repeats <count>', 'times each is run, in turn (default 3, with --quick 1)', positive)
    .option('--n <count>', 'no-op tasks; other sizes follow in proportion (default 10000, with --quick 1000)', positive)
    .option('--concurrency <count>', 'runs at once in the worker', positive, 100)
    .addOption(
      new Option('--idle [seconds]', `no workloads: what a worker without work costs, on ${idleTargets.join(' and ')}`)
        .argParser(positive)
        .preset('60'),
    )
    .option('--quick', 'small sizes: a first look in half a minute', false)
    .option('--json', 'print JSON only', false)
    .option('--save', 'keep the results under bench/results/saved/, which git does not ignore', false)
    .option('--name <name>', 'of the file: <date>-<name>.json (default local, with --idle idle)', fileName)
    .option('--results <folder>', 'where to write it', results)
    .allowExcessArguments(false)
    .showHelpAfterError('(--help lists the options)');
  const { quick, repeats, n, name, save, ...given } = command.parse(args, { from: 'user' }).opts<Given>();
  const only = given.idle ? given.only.filter((target) => idleTargets.includes(target)) : given.only;
  if (only.length === 0) command.error(`error: --idle measures ${idleTargets.join(' and ')}; --only names neither`);
  return {
    ...given,
    only,
    results: save ? join(given.results, 'saved') : given.results,
    name: name ?? (given.idle ? 'idle' : 'local'),
    repeats: repeats ?? (quick ? 1 : 3),
    n: n ?? (quick ? 1000 : 10_000),
  };
}

function keysOf<Name extends string>(table: Readonly<Record<Name, unknown>>): Name[] {
  return Object.keys(table) as Name[];
}

/** Reads `a,b`, each a key of the table, in the order of the table. */
function listOf(table: Readonly<Record<string, unknown>>) {
  return (text: string): string[] => {
    const names = text.split(',').map((name) => name.trim().toLowerCase());
    for (const name of names) {
      if (Object.hasOwn(table, name)) continue;
      throw new InvalidArgumentError(`There is no '${name}'; there are ${Object.keys(table).join(', ')}.`);
    }
    return Object.keys(table).filter((name) => names.includes(name));
  };
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 1 up.');
  return Number(text);
}

function fileName(text: string): string {
  if (!/^[\w.-]+$/.test(text)) throw new InvalidArgumentError('Expected letters, digits, dots, dashes.');
  return text;
}
