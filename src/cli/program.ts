import { Command } from 'commander';
import { autoscaleCommand } from './commands/autoscale.ts';
import { callCommand } from './commands/call.ts';
import { deployCommand } from './commands/deploy.ts';
import { dlqCommand } from './commands/dlq.ts';
import { doctorCommand } from './commands/doctor.ts';
import { graphCommand } from './commands/graph.ts';
import { iamCommand } from './commands/iam.ts';
import { migrateCommand } from './commands/migrate.ts';
import { purgeCommand } from './commands/purge.ts';
import { queuesCommand } from './commands/queues.ts';
import { reconcileCommand } from './commands/reconcile.ts';
import { reportCommand } from './commands/report.ts';
import { resultCommand } from './commands/result.ts';
import { runOneCommand } from './commands/run-one.ts';
import { setupCommand } from './commands/setup.ts';
import { statusCommand } from './commands/status.ts';
import { workerCommand } from './commands/worker.ts';
import { refuseCommands, refuseOptions } from './refuse.ts';
import { version } from './version.ts';

/** Celery's commands that this version does not have, with what to do instead. */
export const missingCommands = {
  beat: 'there are no schedules yet; let cron run `lovage call`',
  inspect: '`lovage status` asks who is there',
  control: 'workers answer nothing but `lovage status` yet',
  events: 'there are no task events yet; `lovage worker --json` logs each task',
  multi: 'start one worker a service in systemd, Docker or your platform',
  shell: 'import the app in `node`',
  amqp: 'there is no AMQP shell',
  list: '`lovage queues` shows the queues',
  logtool: '`lovage worker --json` writes logs for any JSON tool',
  upgrade: 'fromCelerySettings() reads the old names of settings too',
} as const;

const missingOptions = {
  '--loader <loader>': 'name the app file with -A',
  '--config <module>': 'options stand in the app or in the environment',
  '--skip-checks': 'there are no Django checks',
} as const;

/** The whole command line. Each command is one file in `commands/`. */
export function lovageProgram(): Command {
  const program = new Command('lovage')
    .description(
      'Celery for TypeScript: runs workers, sends tasks, looks after queues. Options below also work after the command.',
    )
    .option('-A, --app <path>', 'app file or folder, perhaps with :export (or LOVAGE_APP, APP)')
    .option('-b, --broker <url>', "broker, in place of the app's own")
    .option('--result-backend <url>', "result backend, in place of the app's own; 'disabled' for none")
    .option('--workdir <folder>', 'go there first')
    .option('-C, --no-color', 'plain text (also with NO_COLOR, and where stdout is no terminal)')
    .option('-q, --quiet', 'no banner and no notes')
    .option('--json', 'answer as JSON')
    .version(version, '--version', 'print the version');
  refuseOptions(program, missingOptions);
  for (const command of [
    workerCommand(),
    runOneCommand(),
    reconcileCommand(),
    deployCommand(),
    callCommand(),
    resultCommand(),
    graphCommand(),
    statusCommand(),
    queuesCommand(),
    purgeCommand(),
    dlqCommand(),
    migrateCommand(),
    setupCommand(),
    iamCommand(),
    doctorCommand(),
    reportCommand(),
    autoscaleCommand(),
  ]) {
    program.addCommand(command);
  }
  refuseCommands(program, missingCommands);
  for (const command of [program, ...descendants(program)]) {
    // Errors are thrown, and told in one place; help goes the usual way.
    command
      .exitOverride()
      .configureOutput({ outputError: () => {} })
      .configureHelp({ showGlobalOptions: true });
  }
  return program;
}

/** All commands below one. */
export function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}
