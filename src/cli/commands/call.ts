import { Command, Option } from 'commander';
import type { CallOptions } from '../../app/tasks/task-options.ts';
import { ConfigError } from '../../errors.ts';
import { outcomeText, statusOf, waitFor } from '../outcome.ts';
import { refuseOptions } from '../refuse.ts';
import { run, status } from '../run.ts';
import { instant, jsonList, jsonObject, seconds, secondsOrInstant, wholeNumber } from '../values.ts';

interface Options {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly countdown?: number;
  readonly eta?: Date;
  readonly expires?: number | Date;
  readonly queue?: string;
  readonly priority?: number;
  readonly serializer?: 'json' | 'msgpack' | 'yaml';
  readonly wait?: boolean;
  readonly timeout?: number;
}

/** `lovage call NAME`: sends a task by name, and perhaps waits for it. */
export function callCommand(): Command {
  const command = new Command('call')
    .description('send a task; prints its id')
    .argument('<name>', 'name of the task; its code need not be here')
    .option('-a, --args <json>', 'arguments, as a JSON list', jsonList)
    .option('-k, --kwargs <json>', 'keyword arguments, as a JSON object', jsonObject)
    .option('--countdown <seconds>', 'run so many seconds from now', seconds)
    .option('--eta <time>', 'run at this ISO time (UTC unless it names a zone)', instant)
    .option('--expires <when>', 'do not run after so many seconds, or after this ISO time', secondsOrInstant)
    .option('--queue <queue>', 'queue to send to')
    .option('--priority <n>', '0 is served first, 9 last', wholeNumber(0, 9))
    .addOption(new Option('--serializer <name>', 'how arguments are written').choices(['json', 'msgpack', 'yaml']))
    .option('--wait', 'wait for the task and print its result as JSON')
    .option('--timeout <seconds>', 'wait no longer than this (with --wait)', seconds)
    .action(
      run<[string, Options]>(async (session, name, { args = [], wait, timeout, ...options }) => {
        if (timeout !== undefined && !wait) throw new ConfigError('--timeout is for --wait; give both or none');
        const app = await session.app();
        if (session.appPath !== undefined && !app.tasks.has(name)) {
          const close = app.nearestTask(name);
          session.out.note(
            `${session.appPath} has no task '${name}'${close ? `; did you mean '${close}'?` : '.'} It is sent all the same.`,
          );
        }
        const { id } = await app.sendTask(name, args, options satisfies CallOptions);
        if (!wait) {
          session.out.answer({ id }, () => id);
          return status.ok;
        }
        const outcome = await waitFor(app, id, timeout);
        session.out.answer(outcome, () => outcomeText(outcome, true));
        return statusOf(outcome);
      }),
    );
  return refuseOptions(command, {
    '--exchange <name>': 'say --queue',
    '--routing-key <key>': 'say --queue',
  });
}
