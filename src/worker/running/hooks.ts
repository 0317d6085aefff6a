import type { Logger } from '../../app/logger.ts';
import type { TaskContext } from '../../app/tasks/current-task.ts';
import type { TaskEnd, TaskHooks } from '../../app/tasks/hooks.ts';
import type { Outcome } from '../outcome.ts';

/** Runs the `before` of all layers, from the outermost. Throws what the first of them throws. */
export async function runBefore(layers: readonly TaskHooks[], context: TaskContext): Promise<void> {
  for (const { before } of layers) if (before) await before(context);
}

/** Runs what the layers have for the end of a run, from the innermost. Never throws: the outcome stands. */
export async function runAfter(
  layers: readonly TaskHooks[],
  context: TaskContext,
  outcome: Outcome,
  logger: Logger,
): Promise<void> {
  const end = endOf(outcome);
  for (const { onSuccess, onFailure, onRetry, after } of layers.toReversed()) {
    const attempt = async (hook: string, run: () => void | Promise<void>) => {
      try {
        await run();
      } catch (error) {
        report(logger, hook, context, error);
      }
    };
    if (onSuccess && end.state === 'SUCCESS') await attempt('onSuccess', () => onSuccess(context, end.value));
    if (onFailure && end.state === 'FAILURE') await attempt('onFailure', () => onFailure(context, end.error));
    if (onRetry && end.state === 'RETRY') await attempt('onRetry', () => onRetry(context, end.error, end.dueAt));
    if (after) await attempt('after', () => after(context, end));
  }
}

function report(logger: Logger, hook: string, { request: { id, task } }: TaskContext, error: unknown): void {
  try {
    logger.error({ task, id, hook, error }, `the hook ${hook} threw; the outcome of the task stands`);
  } catch {
    // A logger of the application's own that throws must not cost a task.
  }
}

function endOf(outcome: Outcome): TaskEnd {
  switch (outcome.kind) {
    case 'success':
      return { state: 'SUCCESS', value: outcome.value };
    case 'failure':
      return { state: 'FAILURE', error: outcome.error };
    case 'retry': {
      const dueAt = new Date(outcome.dueAt);
      return outcome.snoozed ? { state: 'SNOOZED', dueAt } : { state: 'RETRY', error: outcome.error, dueAt };
    }
    case 'ignore':
    case 'replace':
      return { state: 'IGNORED' };
    case 'reject':
      return { state: 'REJECTED', reason: outcome.reason };
    default:
      return { state: 'RELEASED' };
  }
}
