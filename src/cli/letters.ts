import type { LovageApp } from '../app/app.ts';
import type { DeadLetter, DeadLetters } from '../contracts/broker.ts';
import { ConfigError } from '../errors.ts';
import { decodeTask, peekTaskId } from '../wire/protocol-read.ts';
import { acceptList } from '../wire/serializers.ts';

/** How many letters are looked through for a prefix, and taken at once by `--all`. */
const page = 1000;

/**
 * Finds dead letters by what people have: the id, the id of the task, or an unambiguous beginning of either.
 * @throws ConfigError for what fits none, or several
 */
export async function findLetters(letters: DeadLetters, given: readonly string[]): Promise<DeadLetter[]> {
  const exact = await letters.getMany(given);
  const others = exact.includes(undefined) ? await letters.list({ limit: 10 * page }) : [];
  return given.map((id, index) => exact[index] ?? only(id, others));
}

function only(given: string, letters: readonly DeadLetter[]): DeadLetter {
  const names = (letter: DeadLetter) => [letter.id, peekTaskId(letter.message).id ?? ''];
  const same = letters.filter((letter) => names(letter).includes(given));
  // Never by digits alone: where ids count up, `12` must not drop 120 when 12 is gone.
  const isPrefix = given.length >= 4 && /\D/.test(given);
  const close = isPrefix ? letters.filter((letter) => names(letter).some((name) => name.startsWith(given))) : [];
  const found = same.length > 0 ? same : close;
  const [first, ...more] = found;
  if (!first) throw new ConfigError(`there is no dead letter '${given}'; lovage dlq list shows them`);
  if (more.length > 0)
    throw new ConfigError(
      `'${given}' fits ${found.length} dead letters: ${found
        .slice(0, 5)
        .map(({ id }) => id)
        .join(', ')}`,
    );
  return first;
}

/** The letters that are there now, a page at a time; each must be gone before the next page is asked for. */
export async function* allLetters(letters: DeadLetters, queue: string | undefined): AsyncGenerator<string[]> {
  const before = Date.now();
  for (;;) {
    const found = await letters.list({ limit: page, ...(queue !== undefined && { queue }) });
    // A letter that died again meanwhile is left alone, or this would never end.
    const old = found.filter(({ diedAt }) => diedAt <= before).map(({ id }) => id);
    if (old.length === 0) return;
    yield old;
  }
}

/** The shortest beginnings, at least 8 characters, that tell ids apart. */
export function shortIds(ids: readonly string[]): string[] {
  for (let length = 8; ; length += 4) {
    const short = ids.map((id) => id.slice(0, length));
    if (new Set(short).size === new Set(ids).size) return short;
  }
}

/** A dead letter, as programs get it. */
export interface LetterDocument {
  readonly id: string;
  readonly taskId: string | undefined;
  readonly task: string | undefined;
  readonly queue: string;
  readonly diedAt: string;
  readonly deliveries: number;
  readonly reason: string;
}

export function letterDocument({ id, queue, message, reason, diedAt, attempt }: DeadLetter): LetterDocument {
  const { id: taskId, task } = peekTaskId(message);
  return { id, taskId, task, queue, diedAt: new Date(diedAt).toISOString(), deliveries: attempt, reason };
}

/** The arguments in a dead letter, or why they cannot be read. */
export async function readArguments(
  app: LovageApp,
  { message }: DeadLetter,
): Promise<{ readonly args: readonly unknown[]; readonly kwargs: object } | { readonly unreadable: string }> {
  try {
    const { args, kwargs } = await decodeTask(message, { accept: acceptList(app.config.acceptContent) });
    return { args, kwargs };
  } catch (error) {
    return { unreadable: error instanceof Error ? error.message : String(error) };
  }
}
