import { PollWatch } from '../poll-watch.ts';
import type { DynamodbResults } from './results.ts';

/** Looks at Celery's key each time, and now and then also at the one that it meant, of which nobody is known to write. */
const CLEAN_EVERY = 4;
/** Two thousand looks a second at most: 1,000 read units. */
const PER_TASK_MS = 0.5;

/** Tells watchers what has finished. DynamoDB tells nobody anything, so it is asked. */
export function dynamodbWatch(results: DynamodbResults, maxMs: number): PollWatch {
  return new PollWatch({
    look: (taskIds, round) => results.look(taskIds, { clean: round % CLEAN_EVERY === 0 }),
    maxMs,
    perTaskMs: PER_TASK_MS,
  });
}
