import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { projectFolder } from '../../app/connections.ts';
import type { Broker } from '../../contracts/broker.ts';
import { Lovage } from '../../index.ts';
import { checkBrokers, type MigrateOptions, type MigrateReport, migrate } from '../../migrate/migrate.ts';
import { paint, pairs, plural } from '../output.ts';
import { openProgress } from '../progress.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { list } from '../values.ts';
import { type QueueRow, queueTable, rowsOf } from './queues.ts';

interface Options {
  readonly queues?: readonly string[];
  readonly excludeQueues?: readonly string[];
  readonly dryRun?: boolean;
  readonly journal?: string;
  readonly resend?: boolean;
}

/** `lovage migrate FROM [TO]`: moves the messages that wait to another broker. */
export function migrateCommand(): Command {
  return new Command('migrate')
    .description(
      'move all messages that wait, ready or delayed, from one broker to another; may be killed and run again',
    )
    .argument('<from>', 'URL of the broker where they are')
    .argument('[to]', "URL of the broker where they shall be; without it the app's broker, or that of -b")
    .option('-Q, --queues <queues>', 'these queues; without it all that hold messages', list)
    .option('-X, --exclude-queues <queues>', 'but not these', list)
    .option('--dry-run', 'tell what would be moved, and move nothing')
    .option('--journal <file>', 'where messages under way are kept; without it a file in .lovage/ of the project')
    .option('--resend', 'send once more what may have arrived, instead of looking whether it has')
    .action(
      run<[string, string | undefined, Options]>(async (session, fromUrl, toUrl, options) => {
        // The other one must not lend it its options.
        const source = new Lovage('migrate', { broker: fromUrl, backend: false, brokerTransportOptions: {} });
        const destination =
          toUrl === undefined
            ? await session.app()
            : new Lovage('migrate', { broker: toUrl, backend: false, brokerTransportOptions: {} });
        try {
          const [from, to] = [await source.broker(), await destination.broker()];
          checkBrokers(from, to);
          return await move(session, from, to, options);
        } finally {
          await source.close();
          await destination.close();
        }
      }),
    );
}

async function move(session: Session, from: Broker, to: Broker, options: Options): Promise<number> {
  const { excludeQueues = [], resend = false } = options;
  const named = options.queues ?? (await from.listQueues());
  const queues = named.filter((queue) => !excludeQueues.includes(queue));
  const journal = options.journal ?? join(projectFolder(), `migrate-${nameOf(from, to)}.db`);
  if (options.dryRun) return preview(session, { from, to, queues, journal });
  const progress = await openProgress({
    noun: 'message',
    silent: session.out.json || session.out.quiet,
    note: (text) => session.out.note(text),
  });
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const moving: MigrateOptions = {
      from,
      to,
      queues,
      journal,
      resend,
      signal: stopping.signal,
      onProgress: progress.show,
      onNote: progress.note,
    };
    const report = await migrate(moving);
    progress.close();
    const ended = stopping.signal.aborted;
    session.out.answer(
      { from: from.url, to: to.url, interrupted: ended, journal: report.done ? null : journal, ...report },
      () => reportText(report, { from, to, journal, ended }),
    );
    return report.done ? status.ok : status.failed;
  } finally {
    progress.close();
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** Distinct for each pair, and the same each time. */
function nameOf(from: Broker, to: Broker): string {
  return createHash('sha256').update(`${from.url}\n${to.url}`).digest('hex').slice(0, 8);
}

async function preview(
  { out }: Session,
  { from, to, queues, journal }: Pick<MigrateOptions, 'from' | 'to' | 'queues' | 'journal'>,
): Promise<number> {
  const rows = (await rowsOf(from, queues)).filter(({ ready, delayed, inFlight }) => ready + delayed + inFlight > 0);
  const moving = rows.reduce((sum, { ready, delayed }) => sum + ready + (from.parked ? delayed : 0), 0);
  const hasJournal = existsSync(journal);
  out.answer(
    { from: from.url, to: to.url, dryRun: true, messages: moving, queues: rows, journal: hasJournal ? journal : null },
    () =>
      [
        rows.length > 0 ? queueTable(rows) : 'No messages wait.',
        `Would move ${plural(moving, 'message')} from ${from.url} to ${to.url}.`,
        ...staying(rows, from),
        ...(hasJournal ? [`An earlier move was broken off: ${journal} would be finished first.`] : []),
      ].join('\n'),
  );
  return status.ok;
}

/** What would not be moved. */
function staying(rows: readonly QueueRow[], { parked }: Broker): string[] {
  const sum = (of: 'inFlight' | 'delayed' | 'dead') => rows.reduce((total, row) => total + row[of], 0);
  const lines: string[] = [];
  if (sum('inFlight') > 0)
    lines.push(`${plural(sum('inFlight'), 'message')} with workers: stop these first, and they come back.`);
  if (!parked && sum('delayed') > 0)
    lines.push(`${plural(sum('delayed'), 'message')} not due yet, which this broker does not give out before.`);
  if (sum('dead') > 0) lines.push(`${plural(sum('dead'), 'dead letter')} would stay; see \`lovage dlq\`.`);
  return lines;
}

interface Ends {
  readonly from: Broker;
  readonly to: Broker;
  readonly journal: string;
  readonly ended: boolean;
}

function reportText(report: MigrateReport, { from, to, journal, ended }: Ends): string {
  const lines = [
    `Moved ${plural(report.moved, 'message')} from ${from.url} to ${to.url}.`,
    ...(report.resumed > 0 ? [`${report.resumed} of them were under way when an earlier run ended.`] : []),
    ...(report.left.length > 0 ? [queueTable(report.left), ...staying(report.left, from)] : []),
    ...(report.tooLarge > 0
      ? [
          `${plural(report.tooLarge, 'message')} too large for ${to.url}: more than ${to.features.maxMessageBytes} bytes.`,
        ]
      : []),
    ...(report.unsure > 0
      ? [
          `${plural(report.unsure, 'message')} may still be at the source, with somebody else. Run again when it holds none.`,
        ]
      : []),
    ...(report.notSent.length > 0
      ? [pairs(report.notSent.map(({ queue, id, trouble }) => [`${queue} ${id}`, trouble] as const))]
      : []),
  ];
  if (report.done) return lines.join('\n');
  const why = ended ? 'Ended before all was moved' : 'Not all was moved';
  return [...lines, paint('yellow', `${why}; run the same command again. What is under way is in ${journal}`)].join(
    '\n',
  );
}
