import type { Claim } from '../../contracts/limits.ts';
import type { HeldClaims } from '../outcome.ts';

/** The key of a task that runs once. */
export function onceKey(taskId: string): string {
  return `once:${taskId}`;
}

/** The key that is finished when an attempt has ended in a retry. */
export function retriedKey(taskId: string, retries: number): string {
  return `retried:${retries}:${taskId}`;
}

/** The claims that a message holds. */
export function claimsOf({ once, serial }: HeldClaims): Claim[] {
  return [once, serial].filter((claim) => claim !== undefined);
}
