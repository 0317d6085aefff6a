import type { ItemFailure } from '../../contracts/common.ts';
import type { Claim, LimitStore } from '../../contracts/limits.ts';
import { ConfigError, PublishError } from '../../errors.ts';
import { derivedId } from '../../util/ids.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { Results } from '../results/results.ts';
import type { Prepared } from '../sending/prepare.ts';
import { keyOf, type Unique } from './limits.ts';
import type { TaskDefinition } from './task.ts';

/** The header by which workers know what to let go of. */
const header = 'lovage-unique';
const defaultTtl = 3600;

/** What a unique task claimed when it was sent, and until when. */
export interface UniqueMark {
  readonly claim: Claim;
  readonly until: 'start' | 'success' | 'end';
}

/** What a message says of the claim of its sender; `undefined` for one that is not unique. */
export function uniqueMark({ id, headers }: TaskMessage): UniqueMark | undefined {
  const mark = headers[header];
  if (typeof mark !== 'object' || mark === null || !('key' in mark) || !('until' in mark)) return undefined;
  const { key, until } = mark;
  if (typeof key !== 'string' || (until !== 'start' && until !== 'success' && until !== 'end')) return undefined;
  return { claim: { key, holder: id }, until };
}

/**
 * Sends calls of a unique task, those for which no equal one is there. Returns for each the id of the task that answers
 * for it: its own, or that of the one that was there.
 * @throws ConfigError where the result backend keeps no claims; what `send` throws, its claims released
 */
export async function sendUnique(
  prepared: readonly Prepared[],
  definition: TaskDefinition,
  unique: Unique,
  results: Results,
  send: (some: readonly Prepared[]) => Promise<void>,
): Promise<string[]> {
  const limits = limitStore(results, definition.name);
  const marked = await Promise.all(prepared.map((one) => mark(one, definition, unique)));
  const ttlMs = (unique.ttl ?? defaultTtl) * 1000;
  const answers = await limits.claimMany(marked.map(({ claim, one }) => ({ ...claim, leaseMs: ttlMs + one.delayMs })));
  const going = marked.filter((_, i) => answers[i]?.granted);
  const ids = marked.map(({ claim }, i) => holderOf(answers[i]) ?? claim.holder);
  try {
    if (going.length > 0) await send(going.map(({ one }) => one));
  } catch (error) {
    const failed = error instanceof PublishError ? error.failures.flatMap(({ index }) => going[index] ?? []) : going;
    // Where this fails too, the claims end with their time.
    await limits.releaseMany(failed.map(({ claim }) => claim)).catch(() => {});
    throw error instanceof PublishError ? renumbered(error, going, ids) : error;
  }
  return ids;
}

function limitStore({ backend }: Results, task: string): LimitStore {
  if (backend?.limits) return backend.limits;
  const got = backend ? `${backend.name} keeps none` : 'this application has none (backend: false)';
  throw new ConfigError(`${task} is unique, which needs a result backend that keeps claims; ${got}`);
}

interface Marked {
  readonly one: Prepared;
  readonly claim: Claim;
}

async function mark(one: Prepared, definition: TaskDefinition, { key, until = 'end' }: Unique): Promise<Marked> {
  const { id, task, args, kwargs, headers } = one.message;
  // Those that come by keyword have to be laid onto parameters; whether the others fit is for workers to say.
  const bound = Object.keys(kwargs).length > 0 ? await definition.bind(args, kwargs, false) : args;
  const text = key ? keyOf(key, bound, `option 'unique' of ${task}`) : allOf(bound, task);
  const claim = { key: `unique:${task}:${text}`, holder: id };
  return {
    claim,
    one: { ...one, message: { ...one.message, headers: { ...headers, [header]: { key: claim.key, until } } } },
  };
}

/** A text for all arguments; long ones are not kept as they are. */
function allOf(args: readonly unknown[], task: string): string {
  try {
    const text = JSON.stringify(args);
    return text.length > 100 ? derivedId(text) : text;
  } catch (cause) {
    throw new ConfigError(`option 'unique' of ${task}: give it a key; these arguments are no JSON`, { cause });
  }
}

function holderOf(answer: { granted: true } | { granted: false; holder: string } | undefined): string | undefined {
  return answer?.granted === false ? answer.holder : undefined;
}

/** The same failures by their places in the whole call; who relied on a message that was not sent has failed, too. */
function renumbered(error: PublishError, going: readonly Marked[], ids: readonly string[]): PublishError {
  const failed = new Map(error.failures.map((failure) => [going[failure.index]?.claim.holder, failure.error]));
  const failures = ids.flatMap((id, index): ItemFailure[] => {
    const cause = failed.get(id);
    return cause ? [{ index, error: cause }] : [];
  });
  return new PublishError(failures, ids);
}
