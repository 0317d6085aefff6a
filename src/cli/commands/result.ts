import { Command } from 'commander';
import { ConfigError } from '../../errors.ts';
import { lookUp, outcomeText, statusOf, waitFor } from '../outcome.ts';
import { paint } from '../output.ts';
import { run } from '../run.ts';
import { seconds } from '../values.ts';

interface Options {
  readonly traceback?: boolean;
  readonly wait?: boolean;
  readonly timeout?: number;
}

const colours: Readonly<Record<string, 'green' | 'red' | 'yellow'>> = {
  SUCCESS: 'green',
  FAILURE: 'red',
  REVOKED: 'yellow',
};

/** `lovage result ID`: the state of a task and its result. */
export function resultCommand(): Command {
  return new Command('result')
    .description('print the state of a task and its result; exit status 1 for FAILURE and REVOKED')
    .argument('<id>', 'id of the task')
    .option('--traceback', 'print the stack of a failure too')
    .option('--wait', 'wait until the task has finished')
    .option('--timeout <seconds>', 'wait no longer than this (with --wait)', seconds)
    .action(
      run<[string, Options]>(async (session, id, { traceback = false, wait, timeout }) => {
        if (timeout !== undefined && !wait) throw new ConfigError('--timeout is for --wait; give both or none');
        const app = await session.app();
        const outcome = wait ? await waitFor(app, id, timeout) : await lookUp(app, id);
        session.out.answer(outcome, () => {
          const state = paint(colours[outcome.state] ?? 'cyan', outcome.state);
          return outcome.state === 'PENDING' ? state : `${state}\n${outcomeText(outcome, traceback)}`;
        });
        if (outcome.state === 'PENDING') {
          session.out.note('nothing is stored under this id: the task has not run yet, stores no result, or never was');
        }
        return statusOf(outcome);
      }),
    );
}
