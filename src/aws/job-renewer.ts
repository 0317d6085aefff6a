import type { Lease } from '../contracts/broker.ts';
import type { ItemFailure, Recipe, Service } from '../contracts/common.ts';
import type { LimitStore } from '../contracts/limits.ts';
import { claimRenewer, renewClaims } from '../worker/gates/claim-renewer.ts';
import type { Renewer } from '../worker/lease-book.ts';

/** What stands for the lease of a job: the claim that its ECS task has. */
export interface JobTag {
  readonly key: string;
  readonly holder: string;
}

/** Renews the claims of jobs, as leases. */
export function renewJobs(limits: LimitStore, leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
  return renewClaims(limits, leases.map(claimOf), leaseMs);
}

/** The same for another thread: with a result backend of its own, made from a recipe. */
export function jobRenewer(recipe: Recipe): Renewer & Service {
  const renewer = claimRenewer(recipe);
  return {
    start: () => renewer.start(),
    stop: () => renewer.stop(),
    extendMany: (leases, leaseMs) => renewer.extendMany(leases.map(claimOf), leaseMs),
  };
}

function claimOf({ tag }: Lease): Lease {
  const { key, holder } = tag as JobTag;
  return { queue: key, tag: holder };
}
