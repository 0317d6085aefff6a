import { PollWatch } from '../poll-watch.ts';
import type { S3Results } from './results.ts';

/** A second for a thousand tasks. */
const PER_TASK_MS = 1;

/** Tells watchers what has finished. S3 tells nobody anything, so it is asked. */
export function s3Watch(results: S3Results, maxMs: number): PollWatch {
  return new PollWatch({ look: (taskIds) => results.look(taskIds), maxMs, perTaskMs: PER_TASK_MS });
}
