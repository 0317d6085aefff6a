import type { Broker } from '../../contracts/broker.ts';
import type { ItemFailure, Recipe, Service } from '../../contracts/common.ts';
import type { LimitStore } from '../../contracts/limits.ts';
import type { Lease } from '../../contracts/message.ts';
import { claimRenewer, renewClaims } from '../../worker/gates/claim-renewer.ts';
import { fromRecipe } from '../../worker/leases/from-recipe.ts';
import type { Renewer } from '../../worker/leases/lease-book.ts';

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

/** What renews a message and the claim that goes with it, in another thread. */
export function receiptRenewer(
  broker: Recipe,
  backend: Recipe | undefined,
  claim: JobTag | undefined,
): Renewer & Service {
  const gate = backend && claim && jobRenewer(backend);
  let opened: Broker | undefined;
  return {
    async start() {
      await gate?.start();
      opened = await fromRecipe<Broker>(broker);
      await opened.start();
    },
    async stop() {
      await opened?.stop();
      await gate?.stop();
    },
    async extendMany(leases, leaseMs) {
      const lost = (await gate?.extendMany([{ queue: '', tag: claim }], leaseMs)) ?? [];
      if (lost[0]) return leases.map((_, index) => ({ index, error: lost[0]?.error as Error }));
      return (await opened?.extendMany(leases, leaseMs)) ?? [];
    },
  };
}
