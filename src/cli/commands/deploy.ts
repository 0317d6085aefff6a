import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import { awsTemplate, type TemplateOptions } from '../../aws/template.ts';
import { ConfigError } from '../../errors.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { wholeNumber } from '../values.ts';

interface Options extends TemplateOptions {
  readonly template?: boolean;
  readonly format: 'yaml' | 'json';
}

/** `lovage deploy`: what a platform needs to run an application. */
export function deployCommand(): Command {
  return new Command('deploy').description('write what a platform needs to run an app').addCommand(awsCommand());
}

function awsCommand(): Command {
  return new Command('aws')
    .description('a CloudFormation template of long jobs on ECS, by the configuration of the app')
    .option('--template', 'print the template; nothing is changed anywhere')
    .addOption(new Option('--format <format>', 'how it is written').choices(['yaml', 'json']).default('yaml'))
    .option('--cpu <units>', 'CPU of the container; 1024 are one (1024)', wholeNumber(256, 16_384))
    .option('--memory <mib>', 'its memory (2048)', wholeNumber(512, 122_880))
    .option('--stop-timeout <seconds>', 'from SIGTERM to SIGKILL (120)', wholeNumber(2, 120))
    .option('--function-timeout <seconds>', 'how long the dispatcher may take for a batch (60)', wholeNumber(10, 900))
    .option('--max-concurrency <n>', 'batches at once (2)', wholeNumber(2, 1000))
    .action(run<[Options]>(deployAws));
}

async function deployAws(session: Session, { template, format, ...options }: Options): Promise<number> {
  if (!template)
    throw new ConfigError(
      'lovage deploy aws prints a template and deploys nothing by itself: say --template, and give it to `aws cloudformation deploy`',
    );
  const app = await session.appWithTasks();
  const made = awsTemplate(app.config, session.appPath ?? '', options);
  const isJson = format === 'json' || session.out.json;
  process.stdout.write(
    isJson ? `${JSON.stringify(made, null, 2)}\n` : stringify(made, { aliasDuplicateObjects: false, lineWidth: 120 }),
  );
  return status.ok;
}
