import { Command } from 'commander';
import type { DeadLetters } from '../../contracts/broker.ts';
import { ConfigError } from '../../errors.ts';
import { ago } from '../ago.ts';
import { confirm } from '../confirm.ts';
import { allLetters, findLetters, letterDocument, readArguments, shortIds } from '../letters.ts';
import { paint, pairs, plural, strictJson, table, valueText } from '../output.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { wholeNumber } from '../values.ts';
import { editCommand } from './dlq-edit.ts';

interface ListOptions {
  readonly queue?: string;
  readonly limit: number;
}

interface ChangeOptions {
  readonly all?: boolean;
  readonly queue?: string;
  readonly force?: boolean;
}

/** `lovage dlq`: looks after the messages that were given up. */
export function dlqCommand(): Command {
  return new Command('dlq')
    .description('dead letters: messages that were given up, kept until somebody decides')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(editCommand())
    .addCommand(retryCommand())
    .addCommand(dropCommand());
}

function listCommand(): Command {
  return new Command('list')
    .description('list dead letters, the newest first')
    .option('-Q, --queue <queue>', 'only those of this queue')
    .option('--limit <n>', 'no more than this', wholeNumber(1), 50)
    .action(
      run<[ListOptions]>(async (session, { queue, limit }) => {
        const letters = await lettersOf(session);
        const found = await letters.list({ limit, ...(queue !== undefined && { queue }) });
        const documents = found.map(letterDocument);
        session.out.answer(documents, () => {
          if (documents.length === 0) return 'No dead letters.';
          const ids = shortIds(documents.map(({ id }) => id));
          const rows = documents.map((letter, index) => [
            ids[index] ?? letter.id,
            letter.task ?? '(unreadable)',
            letter.queue,
            ago(Date.parse(letter.diedAt)),
            String(letter.deliveries),
            cut(letter.reason, 60),
          ]);
          return table(['id', 'task', 'queue', 'died', 'deliveries', 'reason'], rows);
        });
        if (found.length === limit) session.out.note(`only the newest ${limit}; --limit shows more`);
        return status.ok;
      }),
    );
}

function showCommand(): Command {
  return new Command('show')
    .description('show all of one dead letter')
    .argument('<id>', 'id of the letter or of its task, or an unambiguous beginning')
    .action(
      run<[string, object]>(async (session, id) => {
        const [letter] = await findLetters(await lettersOf(session), [id]);
        if (!letter) return status.failed;
        const content = await readArguments(await session.app(), letter);
        const { headers, properties, contentType, contentEncoding, body } = letter.message;
        const document = {
          ...letterDocument(letter),
          ...content,
          headers,
          properties,
          contentType,
          contentEncoding,
          bodyBytes: body.length,
        };
        session.out.answer(document, () => {
          const { id, taskId = '?', task = '?', queue, diedAt, deliveries, reason } = document;
          const arguments_: [string, string][] =
            'unreadable' in content
              ? [['arguments', `unreadable: ${content.unreadable}`]]
              : [
                  ['args', valueText(content.args)],
                  ['kwargs', valueText(content.kwargs)],
                ];
          const facts = pairs([
            ['id', id],
            ['task', `${task}[${taskId}]`],
            ['queue', queue],
            ['died', `${diedAt} (${ago(Date.parse(diedAt))})`],
            ['deliveries', String(deliveries)],
            ['reason', reason],
            ...arguments_,
            ['body', `${body.length} bytes of ${contentType}, ${contentEncoding}`],
          ]);
          const labels = (map: object) =>
            pairs(
              Object.entries(map).map(([name, value]) => [name, strictJson(value)]),
              '  ',
            );
          return [
            facts,
            paint('bold', 'headers'),
            labels(headers),
            paint('bold', 'properties'),
            labels(properties),
          ].join('\n');
        });
        return status.ok;
      }),
    );
}

function retryCommand(): Command {
  return changing('retry', 'put dead letters back into their queues').action(
    run<[string[], ChangeOptions]>(async (session, ids, options) => {
      const letters = await lettersOf(session);
      const retried = await change(letters, ids, options, (some) => letters.retryMany(some));
      session.out.answer({ retried }, () => `Put ${plural(retried, 'message')} back.`);
      return status.ok;
    }),
  );
}

function dropCommand(): Command {
  return changing('drop', 'delete dead letters for good')
    .option('-f, --force', 'do not ask')
    .action(
      run<[string[], ChangeOptions]>(async (session, ids, options) => {
        const letters = await lettersOf(session);
        const which =
          ids.length > 0
            ? plural(ids.length, 'dead letter')
            : `all dead letters${options.queue ? ` of ${options.queue}` : ''}`;
        checkChoice(ids, options);
        if (!(await confirm(`This deletes ${which} for good`, options.force))) return status.failed;
        const dropped = await change(letters, ids, options, (some) => letters.dropMany(some));
        session.out.answer({ dropped }, () => `Dropped ${plural(dropped, 'message')}.`);
        return status.ok;
      }),
    );
}

function changing(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .argument('[ids...]', 'ids of letters or of their tasks, or unambiguous beginnings')
    .option('--all', 'all of them')
    .option('-Q, --queue <queue>', 'with --all: only those of this queue');
}

function checkChoice(ids: readonly string[], { all, queue }: ChangeOptions): void {
  if (all ? ids.length > 0 : ids.length === 0)
    throw new ConfigError('say which: ids as lovage dlq list shows them, or --all');
  if (queue !== undefined && !all) throw new ConfigError('-Q goes with --all; ids alone say which letters');
}

async function change(
  letters: DeadLetters,
  ids: readonly string[],
  options: ChangeOptions,
  apply: (ids: readonly string[]) => Promise<number>,
): Promise<number> {
  checkChoice(ids, options);
  if (!options.all) return apply((await findLetters(letters, ids)).map(({ id }) => id));
  let count = 0;
  for await (const page of allLetters(letters, options.queue)) {
    const changed = await apply(page);
    count += changed;
    // Somebody else is at it too, and what is listed does not go away: rather stop than go round for ever.
    if (changed === 0) break;
  }
  return count;
}

async function lettersOf(session: Session): Promise<DeadLetters> {
  return (await (await session.app()).broker()).deadLetters;
}

function cut(reason: string, length: number): string {
  const line = reason.replaceAll(/\s+/g, ' ');
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}
