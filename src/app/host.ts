import type { SignatureSender } from '../canvas/canvas.ts';
import type { Config } from './config.ts';
import type { Logger } from './logger.ts';
import type { AsyncResult, ResultSource } from './results/result.ts';
import type { Results } from './results/results.ts';
import type { Preparer } from './sending/prepare.ts';
import type { Publisher } from './sending/publisher.ts';
import type { TaskDefinition } from './tasks/task.ts';

/** What a running task needs of its application: the application itself, or what stands in for it in an eager run. */
export interface TaskHost extends SignatureSender, ResultSource {
  readonly config: Config;
  readonly logger: Logger;
  /** Registered tasks by name. */
  readonly tasks: ReadonlyMap<string, TaskDefinition>;
  readonly preparer: Preparer;
  /** The name nearest to one that is not registered, for messages. */
  nearestTask(name: string): string | undefined;
  /** A handle on a task by its id. */
  result<R = unknown>(taskId: string): AsyncResult<R>;
  /** What sends, and what keeps results. */
  connections(): Promise<{ readonly publisher: Publisher; readonly results: Results }>;
}
