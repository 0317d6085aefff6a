import { PollWatch } from './poll-watch.ts';
import type { S3Results } from './s3-results.ts';

/** A thousand requests a second at most. */
const PER_TASK_MS = 1;

/** Tells watchers what has finished. S3 tells nobody anything, so it is asked: a request for each task. */
export function s3Watch(results: S3Results, maxMs: number): PollWatch {
  return new PollWatch({ look: (taskIds) => results.fetchMany(taskIds), maxMs, perTaskMs: PER_TASK_MS });
}
