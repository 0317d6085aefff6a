import type { JoinPart, JoinProgress, JoinStore } from '../../contracts/backend.ts';
import { toMember, toPart } from './joins-member.ts';
import { ADD_MANY, GROW, READ, SET_SIZE, TAKE } from './joins-scripts.ts';
import { resultPrefix, toArgument } from './results.ts';
import type { RedisScript, RedisStore } from './store.ts';

// How long a finished join is remembered, so that a part that comes late or twice does not start it anew.
const REMEMBER_MS = 24 * 3600 * 1000;

/**
 * The joins of a Redis, in the keys of Celery's chords (wire SPEC 6.3): workers in Python and in TypeScript may finish
 * members of one chord. Celery's own end of a chord, which deletes those keys, is understood as well.
 */
export class RedisJoins implements JoinStore {
  readonly #store: RedisStore;
  readonly #prefix: string;

  constructor(store: RedisStore) {
    this.#store = store;
    this.#prefix = `${resultPrefix(store.location.keyPrefix)}celery-taskset-meta-`;
  }

  async setSize(joinId: string, size: number, ttlMs?: number): Promise<JoinProgress> {
    return toProgress(await this.#store.script(SET_SIZE, [...this.#keys(joinId), toTtl(ttlMs), size]));
  }

  async addMany(joinId: string, parts: readonly JoinPart[], ttlMs?: number): Promise<JoinProgress> {
    const args: (string | number | Buffer)[] = [...this.#keys(joinId), toTtl(ttlMs)];
    for (const { key, index, document } of parts) args.push(index, key, toArgument(toMember(document)));
    return toProgress(await this.#store.script(ADD_MANY, args));
  }

  async grow(joinId: string, key: string, ttlMs?: number): Promise<JoinProgress> {
    return toProgress(await this.#store.script(GROW, [...this.#keys(joinId), toTtl(ttlMs), key]));
  }

  read(joinId: string): Promise<JoinPart[] | undefined> {
    return this.#parts(READ, this.#keys(joinId));
  }

  take(joinId: string): Promise<JoinPart[] | undefined> {
    return this.#parts(TAKE, [...this.#keys(joinId), REMEMBER_MS]);
  }

  async #parts(script: RedisScript, args: readonly (string | number)[]): Promise<JoinPart[] | undefined> {
    // Not by its hash: once for a chord, the text of a script is nothing.
    const reply = (await this.#store.commandBuffer('EVAL', script.text, 0, ...args)) as Buffer[] | null;
    return reply?.flatMap((member, i) => (i % 2 === 0 ? [toPart(member, toPlace(reply[i + 1]))] : []));
  }

  /** As the scripts want them. */
  #keys(joinId: string): string[] {
    return ['.j', '.t', '.s', '.ended'].map((suffix) => this.#prefix + joinId + suffix);
  }
}

function toTtl(ttlMs: number | undefined): string | number {
  return ttlMs === undefined ? '' : Math.ceil(ttlMs);
}

function toProgress(reply: unknown): JoinProgress {
  const [count, size] = reply as [number, number | null | undefined];
  return { count, size: size ?? undefined };
}

/** Celery puts members without a place last. */
function toPlace(score: Buffer | undefined): number {
  const text = String(score);
  return text === 'inf' ? Number.POSITIVE_INFINITY : Number(text);
}
