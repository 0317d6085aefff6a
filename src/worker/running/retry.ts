import type { RetryOptions } from '../../app/tasks/retry-options.ts';
import { type TaskDefinition, taskOption } from '../../app/tasks/task.ts';
import { wireSignatures } from '../../canvas/wire-options.ts';
import { ArgumentsError, NonRetryableError } from '../../errors.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { RetryChanges } from '../outcome.ts';

/** What the options of a retry change; `undefined` for nothing. They are checked by the caller. */
export function changesOf(options: RetryOptions): RetryChanges | undefined {
  const { error: _error, countdown: _countdown, eta: _eta, maxRetries: _max, throw: _throw, ...others } = options;
  const { queue, serializer, compression, expires, link, linkError, ...same } = others;
  const message: Partial<TaskMessage> = {
    ...Object.fromEntries(Object.entries(same).filter(([, value]) => value !== undefined)),
    ...(expires !== undefined && {
      expires: typeof expires === 'number' ? Date.now() + expires * 1000 : Number(expires),
    }),
    ...(link && { link: wireSignatures(link) }),
    ...(linkError && { linkError: wireSignatures(linkError) }),
  };
  const changed = Object.keys(message).length > 0 || queue !== undefined || serializer || compression;
  return changed ? { message, queue, serializer, compression } : undefined;
}

/** Whether an error has its task tried again by itself. */
export function isAutoretried(error: unknown, { options }: TaskDefinition): boolean {
  // They will not fit, or be of use, the next time either.
  if (error instanceof ArgumentsError || error instanceof NonRetryableError) return false;
  const among = (classes: TaskDefinition['options']['throws']) => (classes ?? []).some((c) => error instanceof c);
  return among(options.autoretryFor) && !among(options.dontAutoretryFor);
}

/** How an automatic retry is asked for: as `retryKwargs` says, with the delay of `retryBackoff` where there is one. */
export function autoretry(error: unknown, { options }: TaskDefinition, retries: number): RetryOptions {
  const countdown = backoffSeconds(options, retries);
  return { ...options.retryKwargs, error, ...(countdown !== undefined && { countdown }) };
}

/** Celery's rule: `factor * 2^retries` up to a limit, with full jitter. */
function backoffSeconds(options: TaskDefinition['options'], retries: number): number | undefined {
  const backoff = taskOption(options, 'retryBackoff');
  if (backoff === false || backoff === undefined) return undefined;
  const full = Math.min(taskOption(options, 'retryBackoffMax') ?? 600, (backoff === true ? 1 : backoff) * 2 ** retries);
  return taskOption(options, 'retryJitter') ? Math.random() * full : full;
}
