import type { ResultBackend } from '../../contracts/backend.ts';
import type { ItemFailure, Recipe, Service } from '../../contracts/common.ts';
import type { LimitStore } from '../../contracts/limits.ts';
import type { Lease } from '../../contracts/message.ts';
import { ConfigError } from '../../errors.ts';
import { fromRecipe } from '../leases/from-recipe.ts';
import type { Renewer } from '../leases/lease-book.ts';

/** Writes a claim as a lease: its key in place of the queue, its holder as the tag. */
export function renewClaims(limits: LimitStore, leases: readonly Lease[], leaseMs: number): Promise<ItemFailure[]> {
  return limits.renewMany(
    leases.map(({ queue, tag }) => ({ key: queue, holder: String(tag) })),
    leaseMs,
  );
}

/** What the lease thread renews claims with: a result backend of its own, made from a recipe. */
export function claimRenewer(recipe: Recipe): Renewer & Service {
  let backend: ResultBackend | undefined;
  return {
    async start() {
      backend = await fromRecipe<ResultBackend>(recipe);
      await backend.start();
    },
    async stop() {
      await backend?.stop();
    },
    async extendMany(leases, leaseMs) {
      if (!backend?.limits) throw new ConfigError(`${recipe.module} makes no result backend that keeps claims`);
      return renewClaims(backend.limits, leases, leaseMs);
    },
  };
}
