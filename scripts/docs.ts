/** Writes docs/config.md from the option tables. A law test fails where the file is not what this makes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configTable, environmentNames } from '../src/app/config.ts';
import { retryOptionTable } from '../src/app/tasks/retry-options.ts';
import { callOptionTable, eagerOptionTable, taskOptionTable } from '../src/app/tasks/task-options.ts';
import type { OptionTable } from '../src/util/options.ts';
import { workerOptionTable } from '../src/worker/setup.ts';

/** The text of docs/config.md. */
export function configDocs(): string {
  return `# Options

Durations are in seconds, as in Celery. An option that does not exist, or has a wrong value, is an error when the
application, the task or the call is made. This page is made from the tables in \`src\` by \`node scripts/docs.ts\`.

## The application

\`new Lovage(name, options)\`. What the code says wins over the environment, and that over the defaults. Each option can
also be set by an environment variable; \`CELERY_...\` names are those of a Django project with \`namespace='CELERY'\`.
\`fromCelerySettings({ broker_url: ... })\` turns a map of Celery settings into options.

${table(configTable, true)}

## A task

\`app.task(name, options, function)\`.

${table(taskOptionTable, false)}

Not in this version, and refused rather than ignored: ${unsupported(taskOptionTable)}.

\`app.defineTask(defaults)\` takes the same options without \`schema\` and \`params\`; see [tasks.md](tasks.md).

## A retry

\`self.retry(options)\`. What is not given stays as it is in the message.

${table(retryOptionTable, false)}

## A call

\`task.applyAsync(args, options)\`, \`task.applyMany(calls, options)\`, \`app.sendTask(name, args, options)\`.

${table(callOptionTable, false)}

Not in this version, and refused rather than ignored: ${unsupported(callOptionTable)}.

## A call that runs here

\`task.apply(args, options)\`, \`signature.apply(args, options)\`: the options of a call, of which those for its way to a worker mean
nothing, and

${table({ throw: eagerOptionTable.throw }, false)}

## A worker

\`new Worker(app, options)\`; on the command line see [cli.md](cli.md).

${table(workerOptionTable, false)}
`;
}

function table(rows: OptionTable, withEnvironment: boolean): string {
  const lines = Object.entries(rows)
    .filter(([, row]) => !row.unsupported)
    .map(([name, row]) => {
      const fallback = 'default' in row ? `\`${JSON.stringify(row.default)}\`` : '';
      const cells = [`\`${name}\``, row.kind.expected, fallback, row.doc];
      if (withEnvironment)
        cells.push(
          environmentNames(row)
            .map((v) => `\`${v}\``)
            .join(' '),
        );
      return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    });
  const head = ['option', 'value', 'default', 'what it does', ...(withEnvironment ? ['environment'] : [])];
  return [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...lines].join('\n');
}

function unsupported(rows: OptionTable): string {
  return Object.entries(rows)
    .filter(([, row]) => row.unsupported)
    .map(([name]) => `\`${name}\``)
    .join(', ');
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(join(import.meta.dirname, '..', 'docs', 'config.md'), configDocs());
}
