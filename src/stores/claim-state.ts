import type { ClaimAnswer, ClaimRequest } from '../contracts/limits.ts';

/** Who has the claim of a key, at some moment. */
export interface KeyClaims {
  /** Finished: its one holder is who finished it, and the lease the time for which that is remembered. */
  readonly done: boolean;
  /** When the lease of each holder ends. */
  readonly leases: ReadonlyMap<string, number>;
}

/** A key that nobody has. */
export const UNCLAIMED: KeyClaims = { done: false, leases: new Map() };

/** Without the leases that have ended. */
export function liveClaims({ done, leases }: KeyClaims, now: number): KeyClaims {
  const live = new Map([...leases].filter(([, until]) => until > now));
  return live.size === 0 ? UNCLAIMED : { done, leases: live };
}

/** When nothing is left of them. */
export function claimsEndAt({ leases }: KeyClaims): number {
  return Math.max(0, ...leases.values());
}

/** Asks for a claim: what it comes to, and the claims after it. Takes live claims, as all of these do. */
export function askClaim(
  claims: KeyClaims,
  { holder, leaseMs, slots = 1 }: ClaimRequest,
  now: number,
): { readonly claims: KeyClaims; readonly answer: ClaimAnswer } {
  const { done, leases } = claims;
  if (!done && (leases.has(holder) || leases.size < slots)) {
    return { claims: withLease(claims, holder, now + leaseMs), answer: { granted: true } };
  }
  const [first, ends] = [...leases].reduce((a, b) => (b[1] < a[1] ? b : a));
  return { claims, answer: { granted: false, holder: first, done, waitMs: Math.ceil(ends - now) } };
}

/** `undefined` where this holder has no claim. */
export function renewClaim(claims: KeyClaims, holder: string, until: number): KeyClaims | undefined {
  return claims.done || !claims.leases.has(holder) ? undefined : withLease(claims, holder, until);
}

/** `undefined` where this holder has no claim. */
export function releaseClaim({ done, leases }: KeyClaims, holder: string): KeyClaims | undefined {
  if (done || !leases.has(holder)) return undefined;
  return { done, leases: new Map([...leases].filter(([name]) => name !== holder)) };
}

/** `undefined` where this holder has no claim; the same claims where it finished them before. */
export function finishClaim(claims: KeyClaims, holder: string, until: number): KeyClaims | undefined {
  if (!claims.leases.has(holder)) return undefined;
  return claims.done ? claims : { done: true, leases: new Map([[holder, until]]) };
}

function withLease({ done, leases }: KeyClaims, holder: string, until: number): KeyClaims {
  return { done, leases: new Map(leases).set(holder, until) };
}
