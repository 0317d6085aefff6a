import { Command } from 'commander';
import type { ResultBackend } from '../../contracts/backend.ts';
import type { Broker } from '../../contracts/broker.ts';
import type { Check, Diagnosis, Usage } from '../../contracts/diagnosis.ts';
import type { StoreNeeds } from '../../contracts/setup.ts';
import { type Cost, costsOf, type Workload } from '../costs.ts';
import { paint, plural, table } from '../output.ts';
import { listPrices, type PriceTable, readPrices } from '../prices.ts';
import { run, status } from '../run.ts';
import { storeNeeds } from '../store-needs.ts';
import { accountNumber, list, wholeNumber } from '../values.ts';
import { storesOf } from './setup.ts';

interface Options {
  readonly queues?: readonly string[];
  readonly account?: string;
  readonly tasks: number;
  readonly parked: number;
  readonly workers: number;
  readonly prices?: string;
}

/** What was found about one store. */
interface Finding extends Diagnosis {
  readonly store: string;
}

const colours = { ok: 'green', note: 'dim', warning: 'yellow', problem: 'red' } as const;

/** `lovage doctor`: looks whether all is as it should be, and what it costs. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look whether broker and result backend are as they should be, and estimate what a month costs')
    .option('-Q, --queues <queues>', 'these queues; without it all that the app knows', list)
    .option('--account <number>', 'AWS account, where it cannot be known from URLs', accountNumber)
    .option('--tasks <n>', 'tasks a month, for the costs', wholeNumber(0), 100_000)
    .option('--parked <n>', 'of these, tasks with an eta, a countdown or a retry', wholeNumber(0), 0)
    .option('--workers <n>', 'workers that wait for tasks all the time', wholeNumber(0), 1)
    .option('--prices <file>', 'a JSON file with prices of your own')
    .action(
      run<[Options]>(async (session, options) => {
        const prices = options.prices === undefined ? listPrices : readPrices(options.prices);
        const app = await session.app();
        const needs = storeNeeds(app, options);
        const { broker, backend } = await app.stores();
        const findings: Finding[] = [];
        for (const store of storesOf(broker, backend)) findings.push(await examine(store, needs));
        findings.push(...(await deadLetters(broker, needs, findings)));
        const usage = findings.flatMap((finding) => finding.usage);
        const costs = costsOf(usage, options, prices);
        const problems = count(findings, 'problem');
        const checks = findings.map(({ store, checks: own }) => ({ store, checks: own }));
        const workload: Workload = { tasks: options.tasks, parked: options.parked, workers: options.workers };
        session.out.answer({ healthy: problems === 0, stores: checks, workload, costs, prices }, () =>
          text(findings, { costs, usage, workload, prices }),
        );
        return problems > 0 ? status.failed : status.ok;
      }),
    );
}

/** A store that cannot be looked at is a problem like any other. */
async function examine(store: Broker | ResultBackend, needs: StoreNeeds): Promise<Finding> {
  if (!store.diagnose) {
    const note: Check = { what: 'checks', verdict: 'note', found: 'this store has none' };
    return { store: store.url, checks: [note], usage: [] };
  }
  try {
    return { store: store.url, ...(await store.diagnose(needs)) };
  } catch (error) {
    return { store: store.url, checks: [unreachable(error)], usage: [] };
  }
}

function unreachable(error: unknown): Check {
  const found = error instanceof Error ? error.message : String(error);
  return { what: 'reachable', verdict: 'problem', found };
}

/** Dead letters wait for somebody: of that every broker can tell. */
async function deadLetters(broker: Broker, needs: StoreNeeds, findings: readonly Finding[]): Promise<Finding[]> {
  if (count(findings, 'problem') > 0) return [];
  try {
    await broker.start();
    const depths = await broker.countMany(needs.queues);
    const dead = depths.reduce((sum, depth) => sum + (depth?.dead ?? 0), 0);
    const what = 'dead letters';
    const check: Check =
      dead === 0
        ? { what, verdict: 'ok', found: 'none' }
        : { what, verdict: 'warning', found: plural(dead, 'message'), advice: 'see lovage dlq list' };
    return [{ store: broker.url, checks: [check], usage: [] }];
  } catch (error) {
    return [{ store: broker.url, checks: [unreachable(error)], usage: [] }];
  } finally {
    await broker.stop();
  }
}

function count(findings: readonly Finding[], verdict: Check['verdict']): number {
  return findings.flatMap(({ checks }) => checks).filter((check) => check.verdict === verdict).length;
}

interface Shown {
  readonly costs: readonly Cost[];
  readonly usage: readonly Usage[];
  readonly workload: Workload;
  readonly prices: PriceTable;
}

function text(findings: readonly Finding[], shown: Shown): string {
  const stores = Map.groupBy(findings, ({ store }) => store);
  const sections = [...stores].map(([store, some]) => {
    const checks = some.flatMap((finding) => finding.checks);
    const rows = checks.map(({ what, verdict, found, advice }) => [
      paint(colours[verdict], verdict),
      what,
      advice === undefined ? found : `${found} (${advice})`,
    ]);
    return `${paint('bold', store)}\n${table(['', 'what', 'found'], rows)}`;
  });
  return [...sections, costText(shown), verdictText(findings)].filter((part) => part !== '').join('\n\n');
}

function costText({ costs, workload: { tasks, parked, workers }, prices }: Shown): string {
  if (costs.length === 0) return '';
  const rows = costs.map(({ what, units, idle, dollars }) => [
    what,
    span(units, whole),
    whole(idle),
    span(dollars, money),
  ]);
  const total = [0, 1].map((i) => costs.reduce((sum, { dollars }) => sum + (dollars[i] ?? 0), 0));
  const of = parked > 0 ? `, ${whole(parked)} of them parked` : '';
  return [
    paint(
      'bold',
      `A month with ${plural(tasks, 'task')}${of}, and ${plural(workers, 'worker')} (${prices.region}, prices of ${prices.asOf})`,
    ),
    table(['what', 'units', 'of these idle', 'dollars'], [...rows, ['together', '', '', span(total, money)]], 1),
    paint('dim', 'The first number is for a busy queue (full batches), the second for tasks one at a time.'),
  ].join('\n');
}

function verdictText(findings: readonly Finding[]): string {
  const [problems, warnings] = [count(findings, 'problem'), count(findings, 'warning')];
  if (problems > 0) return paint('red', `${plural(problems, 'problem')}, ${plural(warnings, 'warning')}.`);
  return warnings > 0
    ? paint('yellow', `No problems, ${plural(warnings, 'warning')}.`)
    : paint('green', 'All is well.');
}

function span(numbers: readonly number[], write: (number: number) => string): string {
  const [low, high] = numbers.map(write);
  return low === high ? String(low) : `${low} - ${high}`;
}

const whole = (number: number) => Math.round(number).toLocaleString('en-US');
const money = (number: number) => (Number.isNaN(number) ? 'no price' : number.toFixed(2));
