import type { Passage } from './aof.ts';

/** Where a message was lost. */
export const losses = {
  popped: 'lost by Celery: popped from the list and not recorded yet, when its worker or Redis was killed',
  freed: 'lost by Celery: acknowledged or given back by a Celery worker, and never ended',
  lost: 'lost',
} as const;
export type Loss = keyof typeof losses;

/**
 * Where a task was lost, by what its messages went through. Lovage pops and records in one step; so a message that was
 * popped in a step of its own was popped by a Celery worker, which records it in the next.
 */
export function lossOf(passages: readonly Passage[]): Loss {
  const last = passages.at(-1);
  if (!last || last.byLovage) return 'lost';
  // With a kill to come: a living worker would have recorded it.
  if (last.what === 'popped' && last.before !== 'the end') return 'popped';
  if (last.what === 'freed') return 'freed';
  return 'lost';
}
