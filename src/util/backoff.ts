/** Delays that grow: `startMs`, then doubled each time up to `maxMs`. With `jitter` each is drawn from the upper half of its span. */
export interface BackoffOptions {
  readonly startMs: number;
  readonly maxMs: number;
  readonly jitter?: boolean;
}

/** The delay before try number `attempt` (from 0), in milliseconds. */
export function backoffMs(attempt: number, { startMs, maxMs, jitter = true }: BackoffOptions): number {
  const full = Math.min(maxMs, startMs * 2 ** Math.min(attempt, 52));
  return jitter ? full / 2 + (Math.random() * full) / 2 : full;
}
