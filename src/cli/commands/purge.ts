import { Command } from 'commander';
import { ConfigError } from '../../errors.ts';
import { confirm } from '../confirm.ts';
import { plural } from '../output.ts';
import { chooseQueues, purgeQueues } from '../queue-choice.ts';
import { run, status } from '../run.ts';
import { list } from '../values.ts';

interface Options {
  readonly force?: boolean;
  readonly queues?: readonly string[];
  readonly excludeQueues?: readonly string[];
}

/** `lovage purge`: drops the messages that wait. */
export function purgeCommand(): Command {
  return new Command('purge')
    .description('drop all messages that wait or are delayed; those of running tasks stay')
    .option('-f, --force', 'do not ask')
    .option('-Q, --queues <queues>', 'these queues; without it those of the app', list)
    .option('-X, --exclude-queues <queues>', 'but not these', list)
    .action(
      run<[Options]>(async (session, { force, queues: named, excludeQueues }) => {
        const app = await session.app();
        const queues = chooseQueues(app.config, named, excludeQueues);
        if (queues.length === 0) throw new ConfigError('no queue is left to purge; see -Q and -X');
        const broker = await app.broker();
        const where = `${queues.length === 1 ? 'queue' : 'queues'} ${queues.join(', ')} of ${broker.url}`;
        if (!(await confirm(`This drops all messages of ${where} for good`, force))) return status.failed;
        const purged = await purgeQueues(broker, queues);
        session.out.answer(
          { purged, queues },
          () => `Purged ${plural(purged, 'message')} from ${plural(queues.length, 'queue')}.`,
        );
        return status.ok;
      }),
    );
}
