import type { ItemFailure } from '../../contracts/common.ts';
import type { Claim, ClaimAnswer, ClaimRequest, LimitStore, RateRequest } from '../../contracts/limits.ts';
import { askRate, KEEP_RESERVED_MS, type RateState, restsAt } from '../../util/gcra.ts';
import {
  askClaim,
  claimsEndAt,
  finishClaim,
  type KeyClaims,
  liveClaims,
  releaseClaim,
  renewClaim,
  UNCLAIMED,
} from '../claim-state.ts';
import { checkClaims, checkMs, checkRates, claimLost } from '../limits.ts';
import { Expiring } from './expiring.ts';

/** The claims and rates of one name in this process. */
export class MemoryLimits implements LimitStore {
  readonly #claims = new Expiring<KeyClaims>();
  readonly #rates = new Expiring<RateState>();
  readonly #reserved = new Expiring<number>();

  async claimMany(claims: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    checkClaims(claims);
    return claims.map((claim) => this.#claim(claim));
  }

  async renewMany(claims: readonly Claim[], leaseMs: number): Promise<ItemFailure[]> {
    checkMs('leaseMs', leaseMs);
    return this.#change(claims, (live, holder) => renewClaim(live, holder, Date.now() + leaseMs));
  }

  async releaseMany(claims: readonly Claim[]): Promise<void> {
    this.#change(claims, releaseClaim);
  }

  async finishMany(claims: readonly Claim[], ttlMs: number): Promise<ItemFailure[]> {
    checkMs('ttlMs', ttlMs);
    return this.#change(claims, (live, holder) => finishClaim(live, holder, Date.now() + ttlMs));
  }

  async reserveMany(requests: readonly RateRequest[]): Promise<number[]> {
    checkRates(requests);
    // One moment for all of a call: those that it reserves lie exactly one interval apart.
    const now = Date.now();
    return requests.map((request) => this.#reserve(request, now));
  }

  #claim(request: ClaimRequest): ClaimAnswer {
    const { claims, answer } = askClaim(this.#live(request.key), request, Date.now());
    this.#set(request.key, claims);
    return answer;
  }

  /** Changes claims by their keys; reports those whose holder has none. */
  #change(claims: readonly Claim[], change: (live: KeyClaims, holder: string) => KeyClaims | undefined): ItemFailure[] {
    return claims.flatMap((claim, index) => {
      const changed = change(this.#live(claim.key), claim.holder);
      if (!changed) return [{ index, error: claimLost(claim) }];
      this.#set(claim.key, changed);
      return [];
    });
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
  #live(key: string): KeyClaims {
    return liveClaims(this.#claims.get(key) ?? UNCLAIMED, Date.now());
  }

  #set(key: string, claims: KeyClaims): void {
    if (claims.leases.size === 0) this.#claims.delete(key);
    else this.#claims.set(key, claims, claimsEndAt(claims));
  }
}
