import { kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import type { TaskContext } from './current-task.ts';

/** How a run ended, as `after` sees it. */
export type TaskEnd =
  | { readonly state: 'SUCCESS'; readonly value: unknown }
  | { readonly state: 'FAILURE'; readonly error: unknown }
  /** It runs again, and that counts as a retry. */
  | { readonly state: 'RETRY'; readonly error: unknown; readonly dueAt: Date }
  /** It runs again, and that does not. */
  | { readonly state: 'SNOOZED'; readonly dueAt: Date }
  /** It threw `Ignore`. */
  | { readonly state: 'IGNORED' }
  /** It threw `Reject`. */
  | { readonly state: 'REJECTED'; readonly reason: string }
  /** The worker stops, or lost the message: the task runs again elsewhere. */
  | { readonly state: 'RELEASED' };

const hook = <F extends (context: TaskContext, ...rest: never[]) => unknown>(doc: string) =>
  option<F>({ kind: kinds.custom<F>('a function', (v) => typeof v === 'function'), doc });

/** The hooks of tasks, in the options of `app.task` and `app.defineTask`, and by themselves in `app.use`. */
export const hookTable = {
  before: hook<(context: TaskContext) => void | Promise<void>>(
    'Runs before the body. What it throws counts as thrown by the body.',
  ),
  onSuccess: hook<(context: TaskContext, value: unknown) => void | Promise<void>>(
    'Runs when the body has returned a value.',
  ),
  onFailure: hook<(context: TaskContext, error: unknown) => void | Promise<void>>(
    'Runs when the task has failed and is not tried again.',
  ),
  onRetry: hook<(context: TaskContext, error: unknown, dueAt: Date) => void | Promise<void>>(
    'Runs when the task is to be retried.',
  ),
  after: hook<(context: TaskContext, end: TaskEnd) => void | Promise<void>>(
    'Runs at the end of each run, whatever it was.',
  ),
} satisfies OptionTable;

/**
 * What runs around the body of a task. `before` runs from the outermost layer to the innermost, the others from the
 * innermost outwards; each is awaited. What they throw is logged and changes nothing, but for `before`: there it is the
 * failure of the task.
 */
export type TaskHooks = OptionsOf<typeof hookTable>;

/** The hooks among some options; `undefined` where there are none. */
export function hooksAmong(options: TaskHooks): TaskHooks | undefined {
  const { before, onSuccess, onFailure, onRetry, after } = options;
  if (!before && !onSuccess && !onFailure && !onRetry && !after) return undefined;
  return { before, onSuccess, onFailure, onRetry, after };
}
