import { Command } from 'commander';
import type { ResultBackend } from '../../contracts/backend.ts';
import type { Broker } from '../../contracts/broker.ts';
import type { SetupStep, StoreNeeds } from '../../contracts/setup.ts';
import { paint, plural, table } from '../output.ts';
import { run, status } from '../run.ts';
import { storeNeeds } from '../store-needs.ts';
import { accountNumber, list } from '../values.ts';

interface Options {
  readonly dryRun?: boolean;
  readonly queues?: readonly string[];
  readonly account?: string;
}

/** What becomes of a step; `todo` where this was a dry run, `by hand` where nothing here can do it. */
type Outcome = 'exists' | 'created' | 'changed' | 'todo' | 'by hand';

interface StepRow {
  readonly store: string;
  readonly kind: string;
  readonly name: string;
  readonly state: SetupStep['state'];
  readonly details: readonly string[];
  readonly outcome: Outcome;
}

const colours = { exists: 'dim', created: 'green', changed: 'green', todo: 'cyan', 'by hand': 'yellow' } as const;

/** `lovage setup`: creates what the stores of the app need. */
export function setupCommand(): Command {
  return new Command('setup')
    .description(
      'create what broker and result backend need: queues, dead-letter queues, tables, rules; may be run again',
    )
    .option('--dry-run', 'tell what would be created or changed, and do nothing')
    .option('-Q, --queues <queues>', 'these queues; without it all that the app knows', list)
    .option('--account <number>', 'AWS account, where it cannot be known from URLs', accountNumber)
    .action(
      run<[Options]>(async (session, { dryRun = false, queues, account }) => {
        const app = await session.app();
        const needs = storeNeeds(app, { queues, account });
        const { broker, backend } = await app.stores();
        const rows: StepRow[] = [];
        for (const store of storesOf(broker, backend)) rows.push(...(await setUp(store, needs, dryRun)));
        const urls = [broker.url, ...(backend ? [backend.url] : [])];
        session.out.answer({ stores: urls, dryRun, steps: rows }, () => text(rows, { urls, dryRun }));
        return rows.some(({ outcome }) => outcome === 'by hand') ? status.failed : status.ok;
      }),
    );
}

/** The stores of an app, each once. */
export function storesOf(broker: Broker, backend: ResultBackend | undefined): (Broker | ResultBackend)[] {
  return backend && backend.url !== broker.url ? [broker, backend] : [broker];
}

async function setUp(store: Broker | ResultBackend, needs: StoreNeeds, dryRun: boolean): Promise<StepRow[]> {
  const rows: StepRow[] = [];
  for (const step of (await store.setup?.plan(needs)) ?? []) {
    if (!dryRun) await step.apply?.();
    const { kind, name, state, details } = step;
    rows.push({ store: store.url, kind, name, state, details, outcome: outcomeOf(step, dryRun) });
  }
  return rows;
}

function outcomeOf({ state, apply }: SetupStep, dryRun: boolean): Outcome {
  if (state === 'exists') return 'exists';
  if (!apply) return 'by hand';
  if (dryRun) return 'todo';
  return state === 'missing' ? 'created' : 'changed';
}

function text(rows: readonly StepRow[], { urls, dryRun }: { urls: readonly string[]; dryRun: boolean }): string {
  if (rows.length === 0) return `Nothing needs to be created for ${[...new Set(urls)].join(' and ')}.`;
  const cells = rows.map(({ kind, name, state, outcome, details }) => [
    kind,
    name,
    paint(
      colours[outcome],
      outcome === 'todo' ? (state === 'missing' ? 'would be created' : 'would be changed') : outcome,
    ),
    details.join('; '),
  ]);
  const count = (of: Outcome) => rows.filter(({ outcome }) => outcome === of).length;
  const changed = count('created') + count('changed');
  const last = dryRun
    ? `${plural(count('todo'), 'step')} to do; run it without --dry-run.`
    : changed > 0
      ? `Did ${plural(changed, 'step')}.`
      : 'Nothing was to be done.';
  const byHand = count('by hand');
  return [
    table(['kind', 'name', 'state', 'details'], cells),
    last,
    ...(byHand > 0 ? [`${plural(byHand, 'step')} must be done by hand: see the details.`] : []),
  ].join('\n');
}
