import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError } from 'commander';

/** What the ordeal was asked for. */
export interface OrdealOptions {
  /** Tasks to send, a half from each side. */
  readonly tasks: number;
  /** Processes to kill with SIGKILL before the queue is empty. */
  readonly kills: number;
  /** Times that Redis is killed with SIGKILL, and started again. */
  readonly redisKills: number;
  readonly workersTs: number;
  readonly workersPython: number;
  /** Milliseconds that a task sleeps, on average. */
  readonly taskMs: number;
  /** Seconds; a Lovage worker's lease is half of it. */
  readonly visibilityTimeout: number;
  /** Decides who is killed, and when. */
  readonly seed: number;
  readonly json: boolean;
  readonly keep: boolean;
}

/** Reads the command line; ends the process with a message where it is wrong. */
export function readOptions(args: readonly string[]): OrdealOptions {
  return new Command('ordeal')
    .description(
      'TypeScript and Python workers share one queue of a private Redis while they, the senders and Redis are killed with\n' +
        'SIGKILL. Counts what is lost, and explains every task that ran more than once. Wants redis-server and Celery.',
    )
    .option('--tasks <count>', 'tasks to send, a half from each side', whole, 100_000)
    .option('--kills <count>', 'processes to kill before the queue is empty', wholeOrNone, 50)
    .option('--redis-kills <count>', 'times that Redis is killed and started again', wholeOrNone, 1)
    .option('--workers-ts <count>', 'TypeScript workers', wholeOrNone, 2)
    .option('--workers-python <count>', 'Celery workers, with a prefork pool of four', wholeOrNone, 2)
    .option('--task-ms <milliseconds>', 'how long a task sleeps, on average', wholeOrNone, 20)
    .option('--visibility-timeout <seconds>', 'for both sides; the lease of a Lovage worker is half of it', whole, 8)
    .option(
      '--seed <number>',
      'decides who is killed, and when (default: a random one)',
      whole,
      randomInt(1, 1_000_000),
    )
    .option('--json', 'print JSON only', false)
    .option('--keep', 'keep the folder with the records and the logs', false)
    .allowExcessArguments(false)
    .showHelpAfterError('(--help lists the options)')
    .parse(args, { from: 'user' })
    .opts();
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 1 up.');
  return Number(text);
}

function wholeOrNone(text: string): number {
  return text === '0' ? 0 : whole(text);
}
