import { type Expansion, expand } from '../../canvas/expand.ts';
import { freeze, type IdSource } from '../../canvas/freeze.ts';
import { stamped, stampsOf } from '../../canvas/stamps.ts';
import { fromWireOptions } from '../../canvas/wire-options.ts';
import { isMap, signatureIn, signaturesIn, textIn, withOptions } from '../../canvas/wire-tree.ts';
import { ConfigError } from '../../errors.ts';
import type { TaskMessage, WireSignature } from '../../wire/task-message.ts';
import type { TaskHost } from '../host.ts';
import { bodyKey, isLater, keepLater } from '../results/later.ts';
import type { Results } from '../results/results.ts';
import type { Prepared } from './prepare.ts';

/** What is sent for a signature to run: joins are told of first. */
export interface Launch extends Omit<Expansion, 'calls'> {
  readonly messages: readonly Prepared[];
}

/** To whom a message belongs: the task that it follows. */
export type Ancestor = Pick<TaskMessage, 'id' | 'rootId' | 'stamps' | 'stampedHeaders'>;

/** Makes the messages of a signature, with `args` in front of its own. Of a worker's, `ancestor` is the task before. */
export function launch(
  app: TaskHost,
  signature: WireSignature,
  { args, ids, ancestor }: { args: readonly unknown[]; ids: IdSource; ancestor?: Ancestor },
): Launch {
  const ours = ancestor
    ? stamped(withOptions(signature, { root_id: ancestor.rootId, parent_id: ancestor.id }), ancestor.stamps)
    : signature;
  const { calls, ...rest } = expand(freeze(ours, ids), args, ids);
  return { ...rest, messages: calls.map((call) => prepareCall(app, call, ancestor)) };
}

export function combinedLaunch(launches: readonly Launch[]): Launch {
  return {
    messages: launches.flatMap(({ messages }) => messages),
    joins: launches.flatMap(({ joins }) => joins),
    launched: launches.flatMap(({ launched }) => launched),
  };
}

/** The message of one task's signature: what belongs to its place in a workflow stands in its options (wire SPEC 7.1). */
export function prepareCall(app: TaskHost, call: WireSignature, ancestor?: Ancestor): Prepared {
  const { options } = call;
  const own = fromWireOptions(options);
  const { definition, ...route } = routeOf(app, call, own);
  const prepared = app.preparer.call(call.task, call.args, { kwargs: call.kwargs, ...own, ...route }, definition);
  const message: { -readonly [K in keyof TaskMessage]: TaskMessage[K] } = { ...prepared.message };
  if (options.link != null) message.link = signaturesIn(options, 'link');
  if (options.link_error != null) message.linkError = signaturesIn(options, 'link_error');
  if (options.chain != null) message.chain = signaturesIn(options, 'chain');
  const chord = signatureIn(options, 'chord');
  if (chord) message.chord = chord;
  const groupId = textIn(options, 'group_id');
  if (groupId !== undefined) message.groupId = groupId;
  if (typeof options.group_index === 'number') message.groupIndex = options.group_index;
  if (typeof options.replaced_task_nesting === 'number') message.replacedTaskNesting = options.replaced_task_nesting;
  if (ancestor) {
    message.rootId = textIn(options, 'root_id') ?? ancestor.rootId;
    message.parentId = textIn(options, 'parent_id') ?? ancestor.id;
    const stamps = { ...ancestor.stamps, ...stampsOf(options) };
    if (Object.keys(stamps).length > 0) Object.assign(message, { stamps, stampedHeaders: Object.keys(stamps) });
  }
  return { ...prepared, message };
}

const overItems = new Set(['celery.map', 'celery.starmap', 'celery.chunks']);

/** The task whose way a call goes: that of what it calls for each item, for `celery.map` and its like (wire SPEC 7.7). */
export function routeOf(
  app: TaskHost,
  { task, kwargs }: Pick<WireSignature, 'task' | 'kwargs'>,
  options: { readonly queue?: string | undefined; readonly priority?: number | undefined },
) {
  const inner = overItems.has(task) && isMap(kwargs.task) ? kwargs.task.task : undefined;
  if (typeof inner !== 'string') return { definition: app.tasks.get(task)?.options };
  const { ignoreResult: _ignored, ...definition } = app.tasks.get(inner)?.options ?? {};
  return { definition, ...app.preparer.route(inner, options, definition) };
}

/**
 * Tells the store how large the joins of a launch are, and which shape their results have; with `canvasStorage: 'backend'`
 * it keeps what follows there. Gives the messages to send.
 * @throws ConfigError without a result backend that can count
 */
export async function begin(app: TaskHost, results: Results, all: Launch): Promise<readonly Prepared[]> {
  const { joins, messages } = all;
  if (!needsBegin(app, all)) return messages;
  const { joins: store, name } = results.required();
  if (!store) throw new ConfigError(`chords need a result backend that can count their members; ${name} cannot`);
  // Counted from the last member's start: until then none of what is kept may vanish.
  const longestMs = messages.reduce((longest, { delayMs }) => Math.max(longest, delayMs), 0);
  const ttlMs = results.ttlMs && results.ttlMs + longestMs;
  // For whoever looks for them; a name is kept itself.
  const bodies = joins.flatMap(({ id, body }) => (body && !isLater(body) ? [[bodyKey(id), body] as const] : []));
  if (bodies.length > 0) await results.keepSignatures(new Map(bodies), ttlMs);
  await Promise.all(
    joins.map(async ({ id, size, shape }) => {
      if (shape) await results.saveGroup(shape);
      await store.setSize(id, size, ttlMs);
    }),
  );
  return app.config.canvasStorage === 'backend' ? keepLater(results, messages, ttlMs) : messages;
}

/** Whether anything is to be told before the messages are sent. */
export function needsBegin(app: TaskHost, { joins, messages }: Launch): boolean {
  if (joins.length > 0) return true;
  return app.config.canvasStorage === 'backend' && messages.some(({ message }) => message.chain?.length);
}
