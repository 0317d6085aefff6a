import { Command, Option } from 'commander';
import { type LogLevel, logLevels } from '../../app/logger.ts';
import { jobEnv } from '../../aws/job/job-env.ts';
import { runOne } from '../../aws/job/run-one.ts';
import { type PoolName, poolNames } from '../../worker/running/lanes.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { seconds } from '../values.ts';
import { useLogger } from './worker.ts';

interface Options {
  readonly job?: string;
  readonly start?: string;
  readonly pool?: PoolName;
  readonly timeLimit?: number;
  readonly softTimeLimit?: number;
  readonly shutdownTimeout?: number;
  readonly softShutdownTimeout?: number;
  readonly hostname?: string;
  readonly loglevel?: LogLevel;
}

/** `lovage run-one`: what the container of a dispatched job runs. */
export function runOneCommand(): Command {
  return new Command('run-one')
    .description('run the one message that ecsDispatcher handed to this container, then exit')
    .option('--job <id>', `the job, in place of ${jobEnv.job}`)
    .option('--start <n>', `which of its ECS tasks this is, in place of ${jobEnv.start}`)
    .addOption(new Option('-P, --pool <pool>', 'where the task runs; async is the event loop').choices([...poolNames]))
    .option('-n, --hostname <name>', 'node name; %h is the host (default: "ecs@%h")')
    .addOption(new Option('-l, --loglevel <level>', 'how much to log (default: "info")').choices([...logLevels]))
    .option('--time-limit <seconds>', 'a task that runs longer fails, and is killed in threads and processes', seconds)
    .option('--soft-time-limit <seconds>', 'a task that runs longer has its signal aborted', seconds)
    .option(
      '--shutdown-timeout <seconds>',
      'how long the task may take to end after SIGTERM (default: 2 s below ECS_CONTAINER_STOP_TIMEOUT)',
      seconds,
    )
    .option('--soft-shutdown-timeout <seconds>', 'the same after SIGQUIT (workerSoftShutdownTimeout: 0)', seconds)
    .action(run<[Options]>(runIt));
}

async function runIt(session: Session, options: Options): Promise<number> {
  const { job, start, hostname: name, loglevel, ...others } = options;
  const app = await session.appWithTasks();
  useLogger(app, session, loglevel);
  const given = {
    ...(job !== undefined && { [jobEnv.job]: job }),
    ...(start !== undefined && { [jobEnv.start]: start }),
  };
  const end = await runOne(app, { ...others, ...(name !== undefined && { name }) }, { ...process.env, ...given });
  session.out.answer(end, () =>
    end.kind === 'skipped' ? end.reason : end.kind === 'done' ? 'done' : 'given back: it will run again',
  );
  return end.kind === 'back' ? status.failed : status.ok;
}
