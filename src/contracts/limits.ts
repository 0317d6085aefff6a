import type { ItemFailure } from './common.ts';

/** The right of one holder to a key, for the time of a lease. Both names are any text. */
export interface Claim {
  /** What is claimed, such as `once:<task id>`. */
  readonly key: string;
  /** Who claims it: the same name asks again, renews, and ends the claim. */
  readonly holder: string;
}

/** A claim that is asked for. */
export interface ClaimRequest extends Claim {
  /** How long it lasts unless it is renewed. Above 0. */
  readonly leaseMs: number;
  /** How many holders the key may have at once, by this request. Default 1. */
  readonly slots?: number;
}

/** What a request for a claim comes to. */
export type ClaimAnswer =
  | { readonly granted: true }
  | {
      readonly granted: false;
      /** The holder whose lease ends first, or who finished the key. */
      readonly holder: string;
      /** The key is finished: nobody gets it before its time is over. */
      readonly done: boolean;
      /** Until that lease, or that time, ends. At least 1. */
      readonly waitMs: number;
    };

/** Asks when something of a limited rate may happen. */
export interface RateRequest {
  /** What is limited. */
  readonly key: string;
  /** Who asks: the same name has one reservation. */
  readonly id: string;
  /** From one moment to the next. Above 0; need not be whole. */
  readonly intervalMs: number;
  /** How many may go at once after a rest. From 1. */
  readonly burst: number;
}

/**
 * Claims and rates that all processes share that use one result backend. Time is the store's own: no client's clock
 * counts where the store has one.
 *
 * Every call may be repeated after an error; what was done before stays done. Wrong numbers are a `ConfigError`.
 */
export interface LimitStore {
  /**
   * Asks for claims, one after the other, and answers in this order. For who has the claim already it is a renewal, and
   * always granted while the key is not finished. A claim ends by itself with its lease: nobody has to clean up after a crash.
   */
  claimMany(claims: readonly ClaimRequest[]): Promise<ClaimAnswer[]>;
  /** Has claims last for `leaseMs` from now. Fails with `LeaseLostError` where the claim has ended. */
  renewMany(claims: readonly Claim[], leaseMs: number): Promise<ItemFailure[]>;
  /** Ends claims, so that others may have them. For a claim that has ended it does nothing. */
  releaseMany(claims: readonly Claim[]): Promise<void>;
  /**
   * Ends the claims of a key for good, those of other holders too: for `ttlMs` every request for it is refused as done,
   * to everybody. Only a holder may, others fail with `LeaseLostError`; who comes too late may claim anew and finish
   * then. Who finishes again is no failure, and changes nothing.
   */
  finishMany(claims: readonly Claim[], ttlMs: number): Promise<ItemFailure[]>;
  /**
   * Reserves for each id the next free moment of its rate, and tells the milliseconds until then; 0: go now, the
   * reservation is used up. An id that asks again before has the same moment, whatever the rate is by then; so a message
   * may be parked for that long and ask again, and nobody spins.
   *
   * Who comes late may still go, but those who come late together do not all go at once: at most one more than `burst`,
   * or than the rate has in a second, whichever is more. The others are given new moments. A reservation is kept for an
   * hour after its moment; where nobody comes for it, that moment is lost and nothing else. The rate of the last request
   * counts: when it becomes faster, those who ask from then on wait less.
   */
  reserveMany(requests: readonly RateRequest[]): Promise<number[]>;
}
