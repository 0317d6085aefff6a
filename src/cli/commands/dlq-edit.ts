import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import type { DeadLetter } from '../../contracts/broker.ts';
import { ConfigError, DecodeError } from '../../errors.ts';
import { decodeJson, encodeJson } from '../../wire/json.ts';
import { decodeTask } from '../../wire/protocol-read.ts';
import { acceptList } from '../../wire/serializers.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import { sameAgain } from '../../worker/settling/follow-ups.ts';
import { findLetters } from '../letters.ts';
import { run, status } from '../run.ts';
import { jsonList, jsonObject, wholeNumber } from '../values.ts';

/** What of a message can be mended. */
interface Mendable {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly queue: string;
  readonly priority: number;
}

/** `lovage dlq edit`: mends a dead letter and sends it again, under the same task id. */
export function editCommand(): Command {
  return new Command('edit')
    .description('mend a dead letter and put it back; without options in $VISUAL or $EDITOR')
    .argument('<id>', 'id of the letter or of its task, or an unambiguous beginning')
    .option('--task <name>', 'another task')
    .option('-a, --args <json>', 'other arguments, as a JSON list', jsonList)
    .option('-k, --kwargs <json>', 'other keyword arguments, as a JSON object', jsonObject)
    .option('--queue <queue>', 'another queue')
    .option('--priority <n>', '0 is served first, 9 last', wholeNumber(0, 9))
    .action(
      run<[string, Partial<Mendable>]>(async (session, id, changes) => {
        const app = await session.app();
        const { deadLetters } = await app.broker();
        const [letter] = await findLetters(deadLetters, [id]);
        if (!letter) return status.failed;
        const message = await readMessage(app, letter);
        const { task, args, kwargs, priority } = message;
        const before: Mendable = { task, args, kwargs, queue: letter.queue, priority };
        const mended = Object.keys(changes).length > 0 ? { ...before, ...changes } : inEditor(before);
        if (!mended) {
          session.out.note('nothing was changed: the dead letter stays');
          return status.ok;
        }
        await app.send([sameAgain(app, withChanges(message, mended), mended.queue)]);
        // Only now: a crash in between leaves the letter as well, and loses nothing.
        await deadLetters.dropMany([letter.id]);
        session.out.answer({ id: message.id, ...mended }, () => `Sent ${mended.task} to ${mended.queue} again.`);
        return status.ok;
      }),
    );
}

async function readMessage(app: LovageApp, letter: DeadLetter): Promise<TaskMessage> {
  try {
    return await decodeTask(letter.message, { accept: acceptList(app.config.acceptContent) });
  } catch (error) {
    throw new DecodeError(
      `dead letter ${letter.id} cannot be edited, because it cannot be read: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

/** The message with what was mended; how its arguments are shown is worked out anew. */
function withChanges(message: TaskMessage, { task, args, kwargs, priority }: Mendable): TaskMessage {
  const { argsRepr: _args, kwargsRepr: _kwargs, ...rest } = message;
  return { ...rest, task, args, kwargs, priority };
}

/**
 * Has a person change it in an editor; `undefined` where nothing was changed.
 * @throws ConfigError without an editor, where it fails, and for what is no such document any more
 */
function inEditor(before: Mendable): Mendable | undefined {
  const editor = process.env.VISUAL || process.env.EDITOR;
  if (!editor)
    throw new ConfigError('say what to change: --task, --args, --kwargs, --queue or --priority; or set EDITOR');
  const folder = mkdtempSync(join(tmpdir(), 'lovage-edit-'));
  const file = join(folder, 'letter.json');
  try {
    // Arguments may be secrets: the folder is this user's alone.
    const text = `${Object.entries(before)
      .map(([name, value]) => `  "${name}": ${encodeJson(value)}`)
      .join(',\n')}\n`;
    writeFileSync(file, `{\n${text}}\n`, { mode: 0o600 });
    const { status: code, error } = spawnSync(`${editor} "${file}"`, { shell: true, stdio: 'inherit' });
    if (code !== 0) throw new ConfigError(`the editor '${editor}' failed: ${error?.message ?? `status ${code}`}`);
    const after = readFileSync(file, 'utf8');
    return after === `{\n${text}}\n` ? undefined : checked(after);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function checked(text: string): Mendable {
  const wrong = (what: string) => new ConfigError(`what was written is no dead letter: ${what}. Nothing was changed`);
  let value: unknown;
  try {
    value = decodeJson(text);
  } catch (error) {
    throw wrong((error as Error).message);
  }
  const { task, args, kwargs, queue, priority } = (value ?? {}) as Record<string, unknown>;
  if (typeof task !== 'string' || task === '') throw wrong('expected a name as "task"');
  if (!Array.isArray(args)) throw wrong('expected a list as "args"');
  if (typeof kwargs !== 'object' || kwargs === null || Array.isArray(kwargs))
    throw wrong('expected an object as "kwargs"');
  if (typeof queue !== 'string' || queue === '') throw wrong('expected a name as "queue"');
  if (!Number.isInteger(priority) || Number(priority) < 0 || Number(priority) > 9)
    throw wrong('expected a whole number from 0 to 9 as "priority"');
  return { task, args, kwargs: kwargs as Record<string, unknown>, queue, priority: Number(priority) };
}
