import type { ItemFailure } from '../contracts/common.ts';
import type { Claim, ClaimAnswer, ClaimRequest, LimitStore, RateRequest } from '../contracts/limits.ts';
import { askRate, KEEP_RESERVED_MS, type RateState, restsAt } from '../util/gcra.ts';
import { checkClaims, checkMs, checkRates, claimLost } from './limits.ts';
import { Expiring } from './memory-expiring.ts';

interface Claimed {
  /** Finished: its one holder is who finished it, and the lease the time for which that is remembered. */
  readonly done: boolean;
  /** When the lease of each holder ends. */
  readonly leases: Map<string, number>;
}

/** The claims and rates of one name in this process. */
export class MemoryLimits implements LimitStore {
  readonly #claims = new Expiring<Claimed>();
  readonly #rates = new Expiring<RateState>();
  readonly #reserved = new Expiring<number>();

  async claimMany(claims: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    checkClaims(claims);
    return claims.map((claim) => this.#claim(claim));
  }

  async renewMany(claims: readonly Claim[], leaseMs: number): Promise<ItemFailure[]> {
    checkMs('leaseMs', leaseMs);
    return failures(claims, ({ key, holder }) => {
      const { done, leases } = this.#live(key);
      if (done || !leases.has(holder)) return false;
      this.#set(key, { done, leases: leases.set(holder, Date.now() + leaseMs) });
      return true;
    });
  }

  async releaseMany(claims: readonly Claim[]): Promise<void> {
    for (const { key, holder } of claims) {
      const { done, leases } = this.#live(key);
      if (done || !leases.delete(holder)) continue;
      if (leases.size === 0) this.#claims.delete(key);
    }
  }

  async finishMany(claims: readonly Claim[], ttlMs: number): Promise<ItemFailure[]> {
    checkMs('ttlMs', ttlMs);
    return failures(claims, ({ key, holder }) => {
      const { done, leases } = this.#live(key);
      if (!leases.has(holder)) return false;
      if (!done) this.#set(key, { done: true, leases: new Map([[holder, Date.now() + ttlMs]]) });
      return true;
    });
  }

  async reserveMany(requests: readonly RateRequest[]): Promise<number[]> {
    checkRates(requests);
    // One moment for all of a call: those that it reserves lie exactly one interval apart.
    const now = Date.now();
    return requests.map((request) => this.#reserve(request, now));
  }

  #claim({ key, holder, leaseMs, slots = 1 }: ClaimRequest): ClaimAnswer {
    const now = Date.now();
    const { done, leases } = this.#live(key);
    if (!done && (leases.has(holder) || leases.size < slots)) {
      this.#set(key, { done, leases: leases.set(holder, now + leaseMs) });
      return { granted: true };
    }
    const [first, ends] = [...leases].reduce((a, b) => (b[1] < a[1] ? b : a));
    return { granted: false, holder: first, done, waitMs: Math.ceil(ends - now) };
  }

  #reserve({ key, id, ...rate }: RateRequest, now: number): number {
    const place = JSON.stringify([key, id]);
    const { state, moment } = askRate(this.#rates.get(key), this.#reserved.get(place), rate, now);
    this.#rates.set(key, state, restsAt(state));
    if (moment > now) this.#reserved.set(place, moment, moment + KEEP_RESERVED_MS);
    else this.#reserved.delete(place);
    return Math.max(0, Math.ceil(moment - now));
  }

  /** The claims of a key that have not ended. */
  #live(key: string): Claimed {
    const claimed = this.#claims.get(key) ?? { done: false, leases: new Map<string, number>() };
    const now = Date.now();
    for (const [holder, until] of claimed.leases) if (until <= now) claimed.leases.delete(holder);
    return claimed;
  }

  #set(key: string, claimed: Claimed): void {
    this.#claims.set(key, claimed, Math.max(...claimed.leases.values()));
  }
}

function failures(claims: readonly Claim[], one: (claim: Claim) => boolean): ItemFailure[] {
  return claims.flatMap((claim, index) => (one(claim) ? [] : [{ index, error: claimLost(claim) }]));
}
