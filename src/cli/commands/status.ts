import { Command } from 'commander';
import { ask } from '../../control/inspect.ts';
import { NotSupportedError } from '../../errors.ts';
import { paint, plural } from '../output.ts';
import { run, status } from '../run.ts';
import { list, seconds } from '../values.ts';

interface Options {
  readonly timeout: number;
  readonly destination?: readonly string[];
}

/** `lovage status`: which workers answer. */
export function statusCommand(): Command {
  return new Command('status')
    .description('ask who is there; exit status 69 when no worker answers')
    .option('-t, --timeout <seconds>', 'how long to wait for answers', seconds, 1)
    .option('-d, --destination <nodes>', 'ask only these nodes, such as celery@host1,celery@host2', list)
    .action(
      run<[Options]>(async (session, { timeout, destination = [] }) => {
        const { bus, url } = await (await session.app()).broker();
        if (!bus)
          throw new NotSupportedError(
            `the broker ${url} carries no notes between processes, so workers cannot be asked`,
          );
        const { answers, doubled } = await ask(bus, 'ping', { destination, timeoutMs: timeout * 1000 });
        const online = Object.keys(answers).sort();
        const silent = destination.filter((name) => !online.includes(name));
        session.out.answer({ online, silent, doubled }, () =>
          [
            ...online.map((name) => `${name}: ${paint('green', 'OK')}`),
            ...silent.map((name) => `${name}: ${paint('red', 'no answer')}`),
            ...(online.length > 0
              ? ['', `${plural(online.length, 'node')} online.`]
              : [`No node answered within ${timeout} s.`]),
          ].join('\n'),
        );
        for (const name of doubled)
          session.out.note(`More than one worker has the name ${name}: give each a name of its own with -n.`);
        if (online.length === 0) return status.unavailable;
        return silent.length === 0 ? status.ok : status.failed;
      }),
    );
}
