import type { ItemFailure } from '../contracts/common.ts';
import type { Claim, ClaimAnswer, ClaimRequest, LimitStore, RateRequest } from '../contracts/limits.ts';
import { StoreCorruptError } from '../errors.ts';
import { askRate, KEEP_RESERVED_MS, type RateState, restsAt } from '../util/gcra.ts';
import { inParallel } from '../util/in-parallel.ts';
import { Cas, type CasDecision, type CasStore } from './cas.ts';
import {
  askClaim,
  claimsEndAt,
  finishClaim,
  type KeyClaims,
  liveClaims,
  releaseClaim,
  renewClaim,
  UNCLAIMED,
} from './claim-state.ts';
import { checkClaims, checkMs, checkRates, claimLost } from './limits.ts';
import { nameOf } from './names.ts';

/** Moments that are reserved, each under a name of its own: they change with their owner only, and need no condition. */
export interface Reservations {
  /** `undefined` where there is none, or its time is over. */
  getMany(names: readonly string[]): Promise<(number | undefined)[]>;
  setMany(
    reserved: readonly { readonly name: string; readonly moment: number; readonly until: number }[],
  ): Promise<void>;
  removeMany(names: readonly string[]): Promise<void>;
}

/** Claims and rates in a store that can compare and set. A key costs one write for each step, and seldom a read. */
export class CasLimits implements LimitStore {
  readonly #cas: Cas;
  readonly #reservations: Reservations;
  readonly #parallel: number;

  /** `parallel`: keys that are changed at once. */
  constructor(store: CasStore, reservations: Reservations, parallel: number) {
    this.#cas = new Cas(store);
    this.#reservations = reservations;
    this.#parallel = parallel;
  }

  async claimMany(claims: readonly ClaimRequest[]): Promise<ClaimAnswer[]> {
    checkClaims(claims);
    return this.#changeMany(claims, { probablyNew: true }, (live, request, now) => askClaim(live, request, now));
  }

  async renewMany(claims: readonly Claim[], leaseMs: number): Promise<ItemFailure[]> {
    checkMs('leaseMs', leaseMs);
    return this.#endMany(claims, (live, { holder }, now) => renewClaim(live, holder, now + leaseMs));
  }

  async releaseMany(claims: readonly Claim[]): Promise<void> {
    await this.#endMany(claims, (live, { holder }) => releaseClaim(live, holder));
  }

  async finishMany(claims: readonly Claim[], ttlMs: number): Promise<ItemFailure[]> {
    checkMs('ttlMs', ttlMs);
    return this.#endMany(claims, (live, { holder }, now) => finishClaim(live, holder, now + ttlMs));
  }

  async reserveMany(requests: readonly RateRequest[]): Promise<number[]> {
    checkRates(requests);
    return this.#byKey(requests, (key, group) => this.#reserve(key, group));
  }

  /** Changes that a holder's claim is needed for; reports where there is none. */
  async #endMany(
    claims: readonly Claim[],
    change: (live: KeyClaims, claim: Claim, now: number) => KeyClaims | undefined,
  ): Promise<ItemFailure[]> {
    const held = await this.#changeMany(claims, { probablyNew: false }, (live, claim, now) => {
      const changed = change(live, claim, now);
      return { claims: changed ?? live, answer: changed !== undefined };
    });
    return claims.flatMap((claim, index) => (held[index] ? [] : [{ index, error: claimLost(claim) }]));
  }

  /** One after the other for each key, different keys at the same time. */
  #changeMany<C extends Claim, A>(
    claims: readonly C[],
    guess: { readonly probablyNew: boolean },
    change: (live: KeyClaims, claim: C, now: number) => { readonly claims: KeyClaims; readonly answer: A },
  ): Promise<A[]> {
    return this.#byKey(claims, (key, group) => {
      const decide = (value: string | undefined, now: number): CasDecision<A[]> => {
        const before = liveClaims(readClaims(key, value), now);
        let after = before;
        const answer = group.map((claim) => {
          const changed = change(after, claim, now);
          after = changed.claims;
          return changed.answer;
        });
        return after === before ? { answer } : { answer, value: writeClaims(after), until: claimsEndAt(after) };
      };
      return this.#cas.change(nameOf('lovage-claim-', key), decide, guess);
    });
  }

  async #reserve(key: string, group: readonly RateRequest[]): Promise<number[]> {
    const names = group.map(({ id }) => nameOf('lovage-reserved-', JSON.stringify([key, id])));
    const moments = await this.#reservations.getMany(names);
    const before = new Map(names.map((name, i) => [name, moments[i]]));
    const decide = (value: string | undefined, now: number) => {
      const after = new Map(before);
      let state = readRate(key, value);
      const waits = group.map(({ intervalMs, burst }, i) => {
        const name = names[i] ?? '';
        const asked = askRate(state, after.get(name), { intervalMs, burst }, now);
        state = asked.state;
        after.set(name, asked.moment > now ? asked.moment : undefined);
        return Math.max(0, Math.ceil(asked.moment - now));
      });
      return { answer: { waits, after }, value: JSON.stringify(state), until: state ? restsAt(state) : 0 };
    };
    const { waits, after } = await this.#cas.change(nameOf('lovage-rate-', key), decide, { probablyNew: true });
    await this.#keep(before, after);
    return waits;
  }

  /** Only now: a crash before it loses moments, which nothing else comes of. */
  async #keep(
    before: ReadonlyMap<string, number | undefined>,
    after: ReadonlyMap<string, number | undefined>,
  ): Promise<void> {
    const changed = [...after].filter(([name, moment]) => moment !== before.get(name));
    const set = changed.flatMap(([name, moment]) =>
      moment === undefined ? [] : [{ name, moment, until: moment + KEEP_RESERVED_MS }],
    );
    const gone = changed.flatMap(([name, moment]) => (moment === undefined ? [name] : []));
    if (set.length > 0) await this.#reservations.setMany(set);
    if (gone.length > 0) await this.#reservations.removeMany(gone);
  }

  async #byKey<T extends { readonly key: string }, A>(
    items: readonly T[],
    ask: (key: string, group: readonly T[]) => Promise<readonly A[]>,
  ): Promise<A[]> {
    const groups = [...Map.groupBy(items.keys(), (index) => items[index]?.key ?? '')];
    const answers = new Array<A>(items.length);
    await inParallel(groups, this.#parallel, async ([key, indexes]) => {
      const group = indexes.map((index) => items[index] as T);
      const got = await ask(key, group);
      indexes.forEach((index, i) => {
        answers[index] = got[i] as A;
      });
    });
    return answers;
  }
}

function writeClaims({ done, leases }: KeyClaims): string {
  return JSON.stringify({ done, leases: [...leases] });
}

function readClaims(key: string, value: string | undefined): KeyClaims {
  if (value === undefined) return UNCLAIMED;
  const { done, leases } = readObject(key, value) as { done: boolean; leases: [string, number][] };
  return { done, leases: new Map(leases) };
}

function readRate(key: string, value: string | undefined): RateState | undefined {
  return value === undefined ? undefined : (readObject(key, value) as RateState);
}

function readObject(key: string, value: string): unknown {
  try {
    return JSON.parse(value);
  } catch (cause) {
    throw new StoreCorruptError(`what is stored of the limit '${key}' is not what Lovage writes`, { cause });
  }
}
