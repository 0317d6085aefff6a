import type { ItemFailure } from '../../contracts/common.ts';
import type { Claim, ClaimAnswer, ClaimRequest, LimitStore, RateRequest } from '../../contracts/limits.ts';
import { inSlices } from '../../util/slices.ts';
import { askInSlices, checkClaims, checkMs, checkRates, claimLost, LIMITS_SLICE } from '../limits.ts';
import { SqliteClaims } from './claims.ts';
import { SqliteRates } from './rates.ts';
import type { SqliteStore } from './store.ts';

/** The claims and rates of a SQLite store, by the clock of this machine: all its processes have the same. */
export class SqliteLimits implements LimitStore {
  readonly #store: SqliteStore;
  readonly #claims: SqliteClaims;
  readonly #rates: SqliteRates;

  constructor(store: SqliteStore) {
    this.#store = store;
    this.#claims = new SqliteClaims(store);
    this.#rates = new SqliteRates(store);
  }

  async claimMany(claims: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    checkClaims(claims);
    return askInSlices(claims, (slice) =>
      this.#store.write(() => {
        const now = Date.now();
        this.#claims.sweep(slice.length, now);
        return slice.map((claim) => this.#claims.claim(claim, now));
      }),
    );
  }

  async renewMany(claims: readonly Claim[], leaseMs: number): Promise<ItemFailure[]> {
    checkMs('leaseMs', leaseMs);
    return this.#each(claims, (claim, now) => this.#claims.renew(claim, leaseMs, now));
  }

  async releaseMany(claims: readonly Claim[]): Promise<void> {
    await askInSlices(claims, (slice) =>
      this.#store.write(() => {
        for (const claim of slice) this.#claims.release(claim);
        return [];
      }),
    );
  }

  async finishMany(claims: readonly Claim[], ttlMs: number): Promise<ItemFailure[]> {
    checkMs('ttlMs', ttlMs);
    return this.#each(claims, (claim, now) => this.#claims.finish(claim, ttlMs, now));
  }

  async reserveMany(requests: readonly RateRequest[]): Promise<number[]> {
    checkRates(requests);
    return askInSlices(requests, (slice) =>
      this.#store.write(() => {
        const now = Date.now();
        this.#rates.sweep(slice.length, now);
        return slice.map((request) => this.#rates.reserve(request, now));
      }),
    );
  }

  /** Does one thing to each claim; where it says false, the claim has ended. */
  #each(claims: readonly Claim[], one: (claim: Claim, now: number) => boolean): Promise<ItemFailure[]> {
    return inSlices(claims, LIMITS_SLICE, (slice) =>
      this.#store.write(() => {
        const now = Date.now();
        return slice.flatMap((claim, index) => (one(claim, now) ? [] : [{ index, error: claimLost(claim) }]));
      }),
    );
  }
}
