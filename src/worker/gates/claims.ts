import type { Logger } from '../../app/logger.ts';
import type { ResultBackend } from '../../contracts/backend.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import type { Claim, ClaimAnswer, ClaimRequest, LimitStore } from '../../contracts/limits.ts';
import type { Delivery, Lease } from '../../contracts/message.ts';
import { LeaseLostError, StoreError } from '../../errors.ts';
import { sibling } from '../../util/sibling.ts';
import { LeaseKeeper } from '../leases/lease-keeper.ts';
import { renewClaims } from './claim-renewer.ts';

export interface ClaimsOptions {
  readonly backend: ResultBackend;
  readonly limits: LimitStore;
  /** How long a claim lasts unless it is renewed. */
  readonly leaseMs: number;
  /** How long a finished key refuses everybody. */
  readonly finishedMs: number;
  /** Called with messages whose claim could not be kept: somebody else may have it. */
  readonly onLost: (delivery: Delivery, error: LeaseLostError) => void;
  readonly logger: Logger;
}

/** A claim as the keeper of leases knows it. */
interface ClaimLease extends Lease {
  readonly delivery: Delivery;
}

/**
 * The claims of one worker: asked for, renewed for as long as their messages are held, and ended. They are renewed like
 * the leases of messages, by a thread of their own; it starts with the first task that needs it.
 */
export class Claims {
  readonly leaseMs: number;
  readonly #options: ClaimsOptions;
  readonly #keeper: LeaseKeeper<ClaimLease>;
  readonly #kept = new Map<string, ClaimLease>();
  #started: Promise<void> | undefined;

  constructor(options: ClaimsOptions) {
    const { backend, limits, leaseMs, onLost, logger } = options;
    this.#options = options;
    this.leaseMs = leaseMs;
    const { recipe } = backend;
    const module = sibling(import.meta.url, 'claim-renewer').href;
    this.#keeper = new LeaseKeeper<ClaimLease>({
      broker: {
        extendMany: (leases, ms) => renewClaims(limits, leases, ms),
        ...(recipe && { recipe: { module, factory: 'claimRenewer', args: [recipe] } }),
      },
      leaseMs,
      logger,
      onLost: ({ delivery, queue }) =>
        onLost(delivery, new LeaseLostError(`the claim '${queue}' could not be kept; another worker may have it now`)),
    });
  }

  /** The store itself, for what needs no care. */
  get limits(): LimitStore {
    return this.#options.limits;
  }

  start(): Promise<void> {
    this.#started ??= this.#keeper.start().catch((error) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  async stop(): Promise<void> {
    await this.#started?.catch(() => {});
    await this.#keeper.stop();
  }

  async claimMany(requests: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    await this.start();
    try {
      return await this.limits.claimMany(requests);
    } catch (error) {
      // Those that were granted all the same end with their leases where this fails, too.
      await this.limits.releaseMany(requests).catch(() => {});
      throw error;
    }
  }

  /** Renews claims from now on, for as long as their message is held. */
  keep(claims: readonly Claim[], delivery: Delivery): void {
    const leases = claims.map(({ key, holder }) => ({ queue: key, tag: holder, delivery }));
    for (const lease of leases) this.#kept.set(nameOf({ key: lease.queue, holder: lease.tag }), lease);
    if (leases.length > 0) this.#keeper.addMany(leases);
  }

  /** Ends keys for good. One that was lost meanwhile is claimed anew, unless somebody else has it: then that one ends it. */
  async finishMany(claims: readonly Claim[]): Promise<ItemFailure[]> {
    const failures = await this.limits.finishMany(claims, this.#options.finishedMs);
    const lost = failures.filter(({ error }) => error instanceof LeaseLostError);
    const others = failures.filter(({ error }) => !(error instanceof LeaseLostError));
    const anew = await this.markMany(lost.flatMap(({ index }) => claims[index] ?? []));
    const failedAnew = anew.flatMap(({ index, error }) => {
      const place = lost[index]?.index;
      return place === undefined || error instanceof HeldError ? [] : [{ index: place, error }];
    });
    return [...others, ...failedAnew];
  }

  /** Ends keys for good that nobody need hold now. Fails for those that somebody else does. */
  async markMany(claims: readonly Claim[]): Promise<ItemFailure[]> {
    if (claims.length === 0) return [];
    const { leaseMs } = this;
    const answers = await this.limits.claimMany(claims.map(({ key, holder }) => ({ key, holder, leaseMs })));
    const failures: ItemFailure[] = [];
    const granted: number[] = [];
    answers.forEach((answer, index) => {
      if (answer.granted) granted.push(index);
      else if (!answer.done)
        failures.push({ index, error: new HeldError(`'${claims[index]?.key}' is claimed by ${answer.holder}`) });
    });
    const mine = granted.flatMap((index) => claims[index] ?? []);
    const unfinished = mine.length > 0 ? await this.limits.finishMany(mine, this.#options.finishedMs) : [];
    for (const { index, error } of unfinished) failures.push({ index: granted[index] ?? index, error });
    return failures;
  }

  /** Ends claims, so that others may have them. What fails here ends with its lease. */
  async releaseMany(claims: readonly Claim[]): Promise<void> {
    if (claims.length === 0) return;
    await this.limits.releaseMany(claims).catch((error: Error) => {
      this.#options.logger.warn(
        { error, claims: claims.length },
        'claims could not be released; they end by themselves',
      );
    });
  }

  /** Renews claims no longer. */
  async forget(claims: readonly Claim[]): Promise<void> {
    const leases = claims.flatMap((claim) => {
      const name = nameOf(claim);
      const lease = this.#kept.get(name);
      this.#kept.delete(name);
      return lease ?? [];
    });
    if (leases.length > 0) await this.#keeper.removeMany(leases);
  }
}

/** A key that somebody else holds for the time being. */
class HeldError extends StoreError {}

function nameOf({ key, holder }: Claim): string {
  return `${holder}\0${key}`;
}
