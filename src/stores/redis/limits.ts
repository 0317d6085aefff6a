import type { ItemFailure } from '../../contracts/common.ts';
import type { Claim, ClaimAnswer, ClaimRequest, LimitStore, RateRequest } from '../../contracts/limits.ts';
import { inSlices } from '../../util/slices.ts';
import { askInSlices, checkClaims, checkMs, checkRates, claimLost, LIMITS_SLICE } from '../limits.ts';
import { RedisLayout } from './layout.ts';
import { CLAIM_MANY, FINISH_MANY, RELEASE_MANY, RENEW_MANY, RESERVE_MANY } from './limits-scripts.ts';
import type { RedisScript, RedisStore } from './store.ts';

/** What a script answers to one request for a claim. */
type Reply = 1 | readonly [holder: string, done: number, waitMs: number];

/** The claims and rates of a Redis, by its own clock. Nothing of them stays: each key has a TTL. */
export class RedisLimits implements LimitStore {
  readonly #store: RedisStore;
  readonly #claimed: string;
  readonly #finished: string;
  readonly #rates: string;
  readonly #reserved: string;

  constructor(store: RedisStore) {
    const layout = new RedisLayout(store.location);
    this.#store = store;
    this.#claimed = layout.own('claim:');
    this.#finished = layout.own('finished:');
    this.#rates = layout.own('rate:');
    this.#reserved = layout.own('reserved:');
  }

  async claimMany(claims: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    checkClaims(claims);
    return askInSlices(claims, async (slice) => {
      const args: (string | number)[] = [this.#claimed, this.#finished];
      for (const { key, holder, leaseMs, slots = 1 } of slice) args.push(key, holder, Math.ceil(leaseMs), slots);
      return ((await this.#store.script(CLAIM_MANY, args)) as Reply[]).map(toAnswer);
    });
  }

  async renewMany(claims: readonly Claim[], leaseMs: number): Promise<ItemFailure[]> {
    checkMs('leaseMs', leaseMs);
    return this.#each(claims, RENEW_MANY, [this.#claimed, Math.ceil(leaseMs)]);
  }

  async releaseMany(claims: readonly Claim[]): Promise<void> {
    await askInSlices(claims, async (slice) => {
      await this.#store.script(RELEASE_MANY, [this.#claimed, ...namesOf(slice)]);
      return [];
    });
  }

  async finishMany(claims: readonly Claim[], ttlMs: number): Promise<ItemFailure[]> {
    checkMs('ttlMs', ttlMs);
    return this.#each(claims, FINISH_MANY, [this.#claimed, this.#finished, Math.ceil(ttlMs)]);
  }

  async reserveMany(requests: readonly RateRequest[]): Promise<number[]> {
    checkRates(requests);
    return askInSlices(requests, async (slice) => {
      const args: (string | number)[] = [this.#rates, this.#reserved];
      for (const { key, id, intervalMs, burst } of slice) args.push(key, id, intervalMs, burst);
      return (await this.#store.script(RESERVE_MANY, args)) as number[];
    });
  }

  #each(claims: readonly Claim[], script: RedisScript, args: readonly (string | number)[]): Promise<ItemFailure[]> {
    return inSlices(claims, LIMITS_SLICE, async (slice) => {
      const lost = new Set((await this.#store.script(script, [...args, ...namesOf(slice)])) as number[]);
      return slice.flatMap((claim, index) => (lost.has(index) ? [{ index, error: claimLost(claim) }] : []));
    });
  }
}

function namesOf(claims: readonly Claim[]): string[] {
  return claims.flatMap(({ key, holder }) => [key, holder]);
}

function toAnswer(reply: Reply): ClaimAnswer {
  if (reply === 1) return { granted: true };
  const [holder, done, waitMs] = reply;
  return { granted: false, holder, done: done === 1, waitMs: Math.max(1, waitMs) };
}
