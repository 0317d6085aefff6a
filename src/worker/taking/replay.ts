import type { TaskHost } from '../../app/host.ts';
import type { Results } from '../../app/results/results.ts';
import type { ResultRecord } from '../../contracts/backend.ts';
import { decodeError } from '../../wire/remote-error.ts';
import type { WireError } from '../../wire/task-message.ts';
import type { Outcome } from '../outcome.ts';

/** A task that had ended with a stored result: its follow-ups are sent again, for all we know they were not. */
export function replay(app: TaskHost, results: Results, stored: ResultRecord): Outcome | undefined {
  try {
    const { result, traceback } = results.decode(stored);
    if (stored.state === 'SUCCESS') return { kind: 'success', value: result, children: [], replayed: true };
    const error = decodeError(result as WireError, app.errorClasses, traceback);
    return { kind: 'failure', error, children: [], replayed: stored };
  } catch (error) {
    app.logger.warn({ id: stored.taskId, error }, 'a stored result cannot be read; its task runs again');
    return undefined;
  }
}
