import type { Claim, ClaimRequest, RateRequest } from '../contracts/limits.ts';
import { ConfigError, LeaseLostError } from '../errors.ts';
import { inSlices } from '../util/slices.ts';

/** Thirty years. Far more, and moments that many have reserved would not fit into the numbers of a store. */
const MAX_MS = 1e12;

/** Claims or reservations of one transaction or script: nobody else is served while it runs. */
export const LIMITS_SLICE = { maxItems: 500 };

/** @throws ConfigError for a lease or slots that are no such numbers */
export function checkClaims(claims: readonly ClaimRequest[]): void {
  for (const { key, leaseMs, slots = 1 } of claims) {
    checkMs('leaseMs', leaseMs, key);
    checkCount('slots', slots, key);
  }
}

/** @throws ConfigError for an interval or a burst that is no such number */
export function checkRates(requests: readonly RateRequest[]): void {
  for (const { key, intervalMs, burst } of requests) {
    checkMs('intervalMs', intervalMs, key);
    checkCount('burst', burst, key);
  }
}

/** @throws ConfigError for anything but a time above 0 */
export function checkMs(name: string, ms: number, key?: string): void {
  if (typeof ms === 'number' && ms > 0 && ms <= MAX_MS) return;
  throw new ConfigError(`${name}${of(key)}: expected milliseconds above 0 and up to 1e12, got ${String(ms)}`);
}

/** What a claim fails with that has ended. */
export function claimLost({ key, holder }: Claim): LeaseLostError {
  return new LeaseLostError(
    `'${key}' is not claimed by '${holder}': it never was, was released or finished, or its lease ended and somebody else may have it. Claim it anew, or renew it sooner`,
  );
}

/** Asks slice by slice. Rejects where any of them does: all of it may be asked again. */
export async function askInSlices<T, A>(
  batch: readonly T[],
  ask: (slice: readonly T[]) => Promise<readonly A[]>,
): Promise<A[]> {
  const answers: A[] = [];
  const [failure] = await inSlices(batch, LIMITS_SLICE, async (slice) => {
    for (const answer of await ask(slice)) answers.push(answer);
    return [];
  });
  if (failure) throw failure.error;
  return answers;
}

function checkCount(name: string, count: number, key: string): void {
  if (Number.isSafeInteger(count) && count >= 1) return;
  throw new ConfigError(`${name}${of(key)}: expected a whole number from 1 up, got ${String(count)}`);
}

function of(key: string | undefined): string {
  return key === undefined ? '' : ` of '${key}'`;
}
