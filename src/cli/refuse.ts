import { Command, Option } from 'commander';
import { NotSupportedError } from '../errors.ts';

/** Options or commands of Celery that are understood and refused: flags or name, to the reason. */
export type Refusals = Readonly<Record<string, string>>;

/** Has a command refuse options of Celery with a reason, in place of "unknown option". They are not in its help. */
export function refuseOptions(command: Command, refusals: Refusals): Command {
  for (const [flags, reason] of Object.entries(refusals)) {
    const option = new Option(flags).hideHelp();
    command.addOption(option);
    command.on(`option:${option.name()}`, () => {
      throw new NotSupportedError(
        `option ${flags.replace(/ [<[].*/, '')} of Celery's ${command.name()} is not supported: ${reason}`,
      );
    });
  }
  return command;
}

/** The same for whole commands. */
export function refuseCommands(program: Command, refusals: Refusals): Command {
  for (const [name, reason] of Object.entries(refusals)) {
    const command = new Command(name)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(() => {
        throw new NotSupportedError(`Celery's command ${name} is not in this version: ${reason}`);
      });
    program.addCommand(command, { hidden: true });
  }
  return program;
}
