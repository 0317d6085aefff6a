import { Command, Option } from 'commander';
import { type LogLevel, logLevels } from '../../app/logger.ts';
import { reconcileOnce } from '../../aws/job/reconciler.ts';
import { plural } from '../output.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { wholeNumber } from '../values.ts';
import { useLogger } from './worker.ts';

interface Options {
  readonly maxFailedStarts?: number;
  readonly loglevel?: LogLevel;
}

/** `lovage reconcile`: looks after jobs on ECS once, for those who have no Lambda function for it. */
export function reconcileCommand(): Command {
  return new Command('reconcile')
    .description('give back, or end, the jobs on ECS whose container is not heard of any more; once')
    .option(
      '--max-failed-starts <n>',
      'ECS tasks in a row that may fail to start before a job fails (5)',
      wholeNumber(1, 1000),
    )
    .addOption(new Option('-l, --loglevel <level>', 'how much to log (default: "info")').choices([...logLevels]))
    .action(run<[Options]>(reconcile));
}

async function reconcile(session: Session, { loglevel, ...options }: Options): Promise<number> {
  const app = await session.app();
  useLogger(app, session, loglevel);
  const done = await reconcileOnce(app, options);
  const text = () =>
    `${plural(done.alive, 'job')} under way, ${done.again.length} given back, ${done.failed.length} failed`;
  session.out.answer(done, text);
  return status.ok;
}
