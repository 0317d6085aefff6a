import { isFinished } from '../../contracts/backend.ts';
import type { Broker } from '../../contracts/broker.ts';
import { ConfigError, TaskRevokedError } from '../../errors.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option, show } from '../../util/options.ts';
import { pidboxTopic, writeRequest } from '../../wire/pidbox.ts';
import { encodeError } from '../../wire/remote-error.ts';
import type { ResultMeta, WireError } from '../../wire/task-message.ts';
import type { Results } from './results.ts';

const revokeOptionTable = {
  terminate: option({ kind: kinds.flag, default: false, doc: 'End runs that have begun, too.' }),
} satisfies OptionTable;

/** How to revoke: `terminate` ends runs that have begun. */
export type RevokeOptions = OptionsOf<typeof revokeOptionTable>;

/** How long a revocation is kept at least: its message may wait for longer than results are kept. */
const keptMs = 30 * 24 * 3600 * 1000;

/**
 * Stores REVOKED for tasks that have not finished, and tells the workers that are up.
 * @throws ConfigError for what are no task ids, or where the application keeps no results
 */
export async function revokeTasks(
  { results, broker }: { readonly results: Results; readonly broker: Broker },
  taskIds: string | readonly string[],
  options: RevokeOptions,
): Promise<void> {
  checkOptions(revokeOptionTable, options, 'revoke');
  const ids = [taskIds].flat();
  const wrong = ids.find((id) => typeof id !== 'string' || id === '');
  if (wrong !== undefined) throw new ConfigError(`revoke: expected task ids, got ${show(wrong)}`);
  const { terminate = false } = options;
  await storeRevoked(results, ids, terminate);
  // Only to be quicker: workers look into the result backend by themselves.
  const request = { method: 'revoke', arguments: { task_id: ids, terminate, signal: 'SIGTERM' }, destination: null };
  await broker.bus?.emitMany(pidboxTopic, [writeRequest(request)]).catch(() => {});
}

/** Stores REVOKED for those tasks that have not finished. */
export async function storeRevoked(results: Results, taskIds: readonly string[], terminate: boolean): Promise<void> {
  const backend = results.required();
  const stored = await backend.fetchMany(taskIds);
  const open = taskIds.filter((_, i) => {
    const { state } = stored[i] ?? {};
    return state === undefined || !isFinished(state) || (terminate && state === 'REVOKED');
  });
  if (open.length === 0) return;
  const records = open.map((taskId) => results.encode(revokedMeta(taskId, terminate ? 'terminated' : 'revoked')));
  const [failure] = await backend.storeMany(records, results.ttlMs && Math.max(results.ttlMs, keptMs));
  if (failure) throw failure.error;
}

/** Whether a stored revocation asks for the end of a run, too. Celery writes the same word. */
export function asksToTerminate({ state, result }: ResultMeta): boolean {
  return state === 'REVOKED' && (result as Partial<WireError> | null)?.exc_message?.[0] === 'terminated';
}

function revokedMeta(taskId: string, reason: 'revoked' | 'terminated'): ResultMeta {
  return {
    taskId,
    state: 'REVOKED',
    result: encodeError(new TaskRevokedError(reason)),
    children: [],
    dateDone: Date.now(),
  };
}
