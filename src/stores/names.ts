import { createHash } from 'node:crypto';
import { savedGroupOf } from '../contracts/backend.ts';

/** Keys of stores have bounds; what is longer than this is named by its hash. */
const MAX_BYTES = 600;

/** What Celery calls the result of a task, or a saved group, in a store of keys and values (wire SPEC 6.3). */
export function celeryName(taskId: string): string {
  const group = savedGroupOf(taskId);
  return group === undefined ? `celery-task-meta-${taskId}` : `celery-taskset-meta-${group}`;
}

/** The name of something in a store that has bounds for its keys: `prefix` and any text. */
export function nameOf(prefix: string, text: string): string {
  if (Buffer.byteLength(text) <= MAX_BYTES) return prefix + text;
  return `${prefix}sha256-${createHash('sha256').update(text).digest('hex')}`;
}
