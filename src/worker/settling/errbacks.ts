import type { TaskHost } from '../../app/host.ts';
import { type Launch, launch } from '../../app/sending/launch.ts';
import type { TaskDefinition } from '../../app/tasks/task.ts';
import type { FailedRequest } from '../../canvas/canvas.ts';
import { groupOf, kindOf } from '../../canvas/wire-tree.ts';
import type { TaskMessage, WireSignature } from '../../wire/task-message.ts';
import { derivedIds } from './follow-ups.ts';

/** Whose failure errbacks are told of. */
export type Failed = Pick<TaskMessage, 'id' | 'task' | 'args' | 'kwargs' | 'retries' | 'rootId'> &
  Partial<Pick<TaskMessage, 'parentId' | 'groupId' | 'stamps' | 'stampedHeaders'>>;

/** An errback of the newer calling convention: it is called here, and not sent. */
export interface ErrbackCall {
  readonly definition: TaskDefinition;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** How the errbacks of a failure are told: some are called, the others sent. */
export interface Told {
  readonly calls: readonly ErrbackCall[];
  readonly launch: Launch;
}

/**
 * Tells errbacks apart as Celery does (wire SPEC 7.9): a task that is registered here and lacks more than one argument is
 * called with the request, the error and the traceback; all others are sent, as one group, with the id of the failed task.
 */
export function tellErrbacks(app: TaskHost, errbacks: readonly WireSignature[], failed: Failed, error: unknown): Told {
  const calls: ErrbackCall[] = [];
  const sent: WireSignature[] = [];
  for (const errback of errbacks) {
    const definition = kindOf(errback) === 'task' ? app.tasks.get(errback.task) : undefined;
    if (definition && takesRequest(definition, errback)) calls.push(callOf(definition, errback, { failed, error }));
    else sent.push(errback);
  }
  const ids = derivedIds(failed.id, 'errback');
  return { calls, launch: launch(app, groupOf(sent), { args: [failed.id], ids, ancestor: failed }) };
}

/** A bound task is sent, so that it can be retried. */
function takesRequest(definition: TaskDefinition, errback: WireSignature): boolean {
  return !definition.options.bind && missing(definition, errback) > 1;
}

/** How many parameters a signature leaves open: those that it gives itself say nothing of its convention. */
function missing({ fn }: TaskDefinition, { args, kwargs }: WireSignature): number {
  return fn.length - args.length - Object.keys(kwargs).length;
}

function callOf(
  definition: TaskDefinition,
  errback: WireSignature,
  { failed, error }: { failed: Failed; error: unknown },
): ErrbackCall {
  const { id, task, args, kwargs, retries, rootId, parentId, groupId } = failed;
  const request: FailedRequest = { id, task, args, kwargs, retries, rootId, parentId, groupId };
  const traceback = error instanceof Error ? error.stack : undefined;
  const told = errback.immutable ? [] : [request, error, traceback].slice(0, missing(definition, errback));
  return { definition, args: [...told, ...errback.args], kwargs: errback.kwargs };
}

/** Calls errbacks one after the other. What they throw is logged: the failure that they were told of stays what it is. */
export async function callErrbacks(app: TaskHost, calls: readonly ErrbackCall[]): Promise<void> {
  for (const { definition, args, kwargs } of calls) {
    try {
      await definition.fn(...(await definition.bind(args, kwargs, false)));
    } catch (error) {
      app.logger.error({ task: definition.name, error }, 'an errback threw');
    }
  }
}
