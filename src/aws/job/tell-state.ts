import type { Results } from '../../app/results/results.ts';
import type { TaskMessage } from '../../wire/task-message.ts';

/** Stores a state of a task on its way through ECS, for those who watch; a finished one stays. */
export async function tellState(
  results: Results,
  { id, ignoreResult }: Pick<TaskMessage, 'id' | 'ignoreResult'>,
  state: 'QUEUED' | 'RUNNING',
  info: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (ignoreResult || !results.backend) return;
  await results.store({ taskId: id, state, result: info, children: [] });
}
