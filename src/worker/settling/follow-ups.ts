import type { TaskHost } from '../../app/host.ts';
import { combinedLaunch, type Launch, launch } from '../../app/sending/launch.ts';
import { orderingKey, origin, type Prepared } from '../../app/sending/prepare.ts';
import { type Abandoned, abandoned } from '../../canvas/expand.ts';
import { freeze, type IdSource } from '../../canvas/freeze.ts';
import { chainOf, chordOf, groupOf, kindOf, signaturesIn, taskOf, withOptions } from '../../canvas/wire-tree.ts';
import { derivedId } from '../../util/ids.ts';
import type { TaskMessage, WireSignature } from '../../wire/task-message.ts';
import type { RetryChanges } from '../outcome.ts';

/** Ids that are the same each time they are worked out, so that a repeated settlement sends recognisable copies. */
export function derivedIds(...parts: readonly string[]): IdSource {
  let count = 0;
  return () => derivedId(...parts, count++);
}

/**
 * What a task that has succeeded has sent after it: its links, and the next step of its chain (wire SPEC 7.2, 7.3). Several
 * links are sent as a group, as Celery does.
 */
export function afterSuccess(app: TaskHost, message: TaskMessage, value: unknown): Launch {
  const send = (signature: WireSignature, ids: IdSource) =>
    launch(app, signature, { args: [value], ids, ancestor: message });
  const launches = linked(message.link ?? []).map((link, i) => send(link, derivedIds(message.id, 'link', String(i))));
  const next = message.chain?.at(-1);
  if (next) {
    // A step that was kept in the result backend has those after it with it.
    const rest = [...(message.chain?.slice(0, -1) ?? []), ...signaturesIn(next.options, 'chain')];
    const step = withOptions(next, { chain: rest });
    launches.push(send(step, derivedIds(message.id, 'chain', String(message.chain?.length))));
  }
  return combinedLaunch(launches);
}

function linked(links: readonly WireSignature[]): readonly WireSignature[] {
  if (links.length < 2) return links;
  const groups = links.filter((link) => kindOf(link) === 'group');
  const others = links.filter((link) => kindOf(link) !== 'group');
  return others.length > 0 ? [...groups, groupOf(others)] : groups;
}

/** What will not run because a task before it has failed: the rest of its chain, but for steps that nobody can read. */
export function abandonedSteps({ id, chain = [] }: TaskMessage): Abandoned {
  const steps = chain.filter(isReadable).toReversed();
  if (steps.length === 0) return { taskIds: [], members: [] };
  const ids = derivedIds(id, 'chain', String(chain.length));
  return abandoned(freeze(chainOf(steps), ids), ids);
}

function isReadable(signature: WireSignature): boolean {
  try {
    freeze(signature, () => '');
    return true;
  } catch {
    return false;
  }
}

/** What a task that has itself replaced sends in its place: with its id, and all that was to follow it (wire SPEC 7.10). */
export function replacement(
  app: TaskHost,
  message: TaskMessage,
  { signature, args }: { readonly signature: WireSignature; readonly args: readonly unknown[] },
): Launch {
  const isGroup = kindOf(signature) === 'group';
  const whole = isGroup ? chordOf(signature, taskOf('celery.accumulate', { index: 0 })) : signature;
  const { id, link, linkError, chain, chord, groupId, groupIndex } = message;
  const inPlace = withOptions(whole, {
    task_id: id,
    link,
    link_error: linkError,
    chain,
    chord,
    group_id: groupId,
    group_index: groupIndex,
    replaced_task_nesting: message.replacedTaskNesting + 1,
  });
  const ids = derivedIds(id, 'replace', String(message.replacedTaskNesting));
  return launch(app, inPlace, { args, ids, ancestor: message });
}

/** When a task runs again, and what is different then. */
export interface Again {
  readonly dueAt: number;
  readonly snoozed?: boolean;
  readonly changes?: RetryChanges | undefined;
}

/** The same request once more: same id, one retry further unless it is only snoozed (wire SPEC 7.10). */
export function again(
  app: TaskHost,
  message: TaskMessage,
  queue: string,
  { dueAt, snoozed, changes }: Again,
): Prepared {
  const retries = message.retries + (snoozed ? 0 : 1);
  const kept = changes?.message.args ? withoutKey(message, 'argsRepr') : message;
  const same = changes?.message.kwargs ? withoutKey(kept, 'kwargsRepr') : kept;
  const next = { ...same, ...changes?.message, retries, eta: dueAt, parentId: message.id, lang: 'ts', origin };
  const prepared = sameAgain(app, next, changes?.queue ?? queue);
  return {
    ...prepared,
    serializer: changes?.serializer ?? prepared.serializer,
    compression: changes?.compression ?? prepared.compression,
    delayMs: Math.max(0, dueAt - Date.now()),
  };
}

/** Other arguments are not to be shown as the ones before. */
function withoutKey(message: TaskMessage, key: 'argsRepr' | 'kwargsRepr'): TaskMessage {
  const { [key]: _gone, ...rest } = message;
  return rest;
}

/** The same request once more, as it is. */
export function sameAgain(app: TaskHost, message: TaskMessage, queue: string): Prepared {
  const own = app.tasks.get(message.task)?.options;
  return {
    queue,
    message,
    delayMs: 0,
    groupKey: orderingKey(message.task, message.args, own),
    serializer: own?.serializer ?? app.config.taskSerializer,
    compression: own?.compression ?? app.config.taskCompression,
  };
}
