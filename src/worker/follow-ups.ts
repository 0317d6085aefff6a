import type { LovageApp } from '../app/app.ts';
import { orderingKey, origin, type Prepared } from '../app/prepare.ts';
import type { CallOptions } from '../app/task-options.ts';
import { Signature } from '../canvas/signature.ts';
import { derivedId, newId } from '../util/ids.ts';
import type { TaskMessage, WireSignature } from '../wire/task-message.ts';
import type { RetryChanges } from './outcome.ts';

/** What a finished task has sent after it. Ids are the same each time they are worked out, so that a repeated settlement sends recognisable copies. */
export function afterSuccess(app: LovageApp, message: TaskMessage, value: unknown): Prepared[] {
  const links = (message.link ?? []).map((link, i) =>
    fromWire(app, link, [value], message, derivedId(message.id, 'link', i)),
  );
  const next = message.chain?.at(-1);
  if (!next) return links;
  const step = fromWire(app, next, [value], message, derivedId(message.id, 'chain', message.chain?.length ?? 0));
  const rest = message.chain?.slice(0, -1) ?? [];
  return [...links, { ...step, message: { ...step.message, chain: rest } }];
}

/** The error callbacks of a failed task: each gets its id (wire SPEC 7.9). */
export function afterFailure(app: LovageApp, message: TaskMessage): Prepared[] {
  return (message.linkError ?? []).map((errback, i) =>
    fromWire(app, errback, [message.id], message, derivedId(message.id, 'errback', i)),
  );
}

/** Ids of the chain steps that will not run because the task before them failed. */
export function abandonedSteps(message: TaskMessage): string[] {
  return (message.chain ?? []).flatMap(({ options }) => (typeof options.task_id === 'string' ? [options.task_id] : []));
}

/** When a task runs again, and what is different then. */
export interface Again {
  readonly dueAt: number;
  readonly snoozed?: boolean;
  readonly changes?: RetryChanges | undefined;
}

/** The same request once more: same id, one retry further unless it is only snoozed (wire SPEC 7.10). */
export function again(
  app: LovageApp,
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
export function sameAgain(app: LovageApp, message: TaskMessage, queue: string): Prepared {
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

/** A signature off the wire, ready to send: partial arguments go in front (wire SPEC 7.1). */
export function fromWire(
  app: LovageApp,
  wire: WireSignature,
  partial: readonly unknown[],
  parent: TaskMessage,
  fallbackId: string,
): Prepared {
  const args = wire.immutable ? wire.args : [...partial, ...wire.args];
  const prepared = app.preparer.call(
    wire.task,
    args,
    callOptions(app, wire, fallbackId),
    app.tasks.get(wire.task)?.options,
  );
  return { ...prepared, message: { ...prepared.message, rootId: parent.rootId, parentId: parent.id } };
}

/** Call options from Celery's, leaving out what means nothing here. */
function callOptions(app: LovageApp, wire: WireSignature, fallbackId: string): CallOptions {
  const o = wire.options;
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  const number = (value: unknown) => (typeof value === 'number' ? value : undefined);
  const date = (value: unknown) =>
    value instanceof Date ? value : typeof value === 'string' ? new Date(value) : undefined;
  return {
    kwargs: wire.kwargs,
    taskId: text(o.task_id) ?? fallbackId,
    countdown: date(o.eta) ? undefined : number(o.countdown),
    eta: date(o.eta),
    expires: number(o.expires) ?? date(o.expires),
    queue: text(o.queue) ?? text(o.routing_key),
    priority: number(o.priority),
    link: signatures(app, o.link),
    linkError: signatures(app, o.link_error),
    headers: typeof o.headers === 'object' && o.headers !== null ? (o.headers as Record<string, unknown>) : undefined,
    ignoreResult: typeof o.ignore_result === 'boolean' ? o.ignore_result : undefined,
    shadow: text(o.shadow),
  };
}

function signatures(app: LovageApp, value: unknown): Signature[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  return (value as WireSignature[]).map(
    (wire) => new Signature(app, wire.task, wire.args, callOptions(app, wire, newId()), wire.immutable),
  );
}
