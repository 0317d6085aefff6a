/**
 * The generic cell rate algorithm, with reservations. A limited rate is two moments: behind all that was reserved, and
 * behind all that went. The first one hands out moments; the second one keeps those who come late from going all at once.
 *
 * The Redis scripts have the same in Lua.
 */

/** A rate at some moment. All in epoch milliseconds, not whole. */
export interface RateState {
  /** Where the next reservation begins to count: an interval after the last one. */
  readonly next: number;
  /** The same, counted by those who went. */
  readonly taken: number;
  /** The interval by which both were counted. */
  readonly intervalMs: number;
}

/** How fast, and how many at once after a rest. */
export interface Rate {
  readonly intervalMs: number;
  readonly burst: number;
}

/** What came of asking. A moment after `now` is reserved; another one means: go. */
export interface RateAnswer {
  readonly state: RateState;
  readonly moment: number;
}

/** A worker that takes messages now and then may be late by so much: then as many go at once as the rate has in that time. */
export const LATE_MS = 1000;

/** How long after its moment a reservation is kept. */
export const KEEP_RESERVED_MS = 3600 * 1000;

/**
 * Asks whether one more may go, and if not, when.
 * @param state `undefined` for a rate that rested
 * @param reserved the moment that the asker has already
 */
export function askRate(
  state: RateState | undefined,
  reserved: number | undefined,
  rate: Rate,
  now: number,
): RateAnswer {
  const { intervalMs, burst } = rate;
  const { next, taken } = atRate(state, intervalMs, now);
  const tookOne = Math.max(taken, now) + intervalMs;
  if (reserved !== undefined) {
    if (reserved > now) return { state: { next, taken, intervalMs }, moment: reserved };
    const inTime = taken - Math.max(burst * intervalMs, LATE_MS) <= now;
    if (inTime) return { state: { next, taken: tookOne, intervalMs }, moment: reserved };
  }
  const start = Math.max(next, taken, now);
  const moment = start - (burst - 1) * intervalMs;
  return { state: { next: start + intervalMs, taken: moment > now ? taken : tookOne, intervalMs }, moment };
}

/** When a rate is as if it had never been asked. */
export function restsAt({ next, taken }: RateState): number {
  return Math.max(next, taken);
}

/** As many are waiting at the new rate. Where it is slower they come too soon, and `taken` spreads them when they come. */
function atRate(state: RateState | undefined, intervalMs: number, now: number): RateState {
  const { next, taken, intervalMs: before } = state ?? { next: now, taken: now, intervalMs };
  if (intervalMs >= before) return { next, taken, intervalMs };
  const sooner = (moment: number) => now + (Math.max(moment, now) - now) * (intervalMs / before);
  return { next: sooner(next), taken: sooner(taken), intervalMs };
}
