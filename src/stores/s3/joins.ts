import { createHash } from 'node:crypto';
import type { JoinPart, JoinProgress, JoinStore } from '../../contracts/backend.ts';
import { StoreCorruptError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { Cas, type CasDecision } from '../cas.ts';
import { nameOf } from '../names.ts';
import { asDocument } from '../result-documents.ts';
import type { S3Bucket } from './bucket.ts';
import { s3Cas } from './limits.ts';

// How long a finished join is remembered, so that a part that comes late or twice does not start it anew.
const REMEMBER_MS = 24 * 3600 * 1000;
/** `until` of what has no end. */
const FOREVER = Number.MAX_SAFE_INTEGER;

/** What is known of a join, as its object has it. */
interface Join {
  readonly until: number;
  readonly size?: number;
  /** Hashes of the keys of the parts that arrived. */
  readonly arrived: readonly string[];
  /** The same of those that were to come on top of its size. */
  readonly grown?: readonly string[];
  readonly ended?: true;
}

/**
 * The joins of a bucket. A part is an object of its own, written first. Which parts arrived is in the object of the join,
 * which is compared and set: a part counts once, whenever a worker dies.
 */
export class S3Joins implements JoinStore {
  readonly #bucket: S3Bucket;
  readonly #cas: Cas;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
    this.#cas = new Cas(s3Cas(bucket));
  }

  setSize(joinId: string, size: number, ttlMs?: number): Promise<JoinProgress> {
    return this.#change(joinId, ttlMs, (join) => ({ ...join, size }), { probablyNew: true });
  }

  async addMany(joinId: string, parts: readonly JoinPart[], ttlMs?: number): Promise<JoinProgress> {
    const first = new Map<string, JoinPart>();
    for (const part of parts) if (!first.has(part.key)) first.set(part.key, part);
    await inParallel([...first.values()], this.#bucket.parallel, (part) => this.#put(joinId, part, ttlMs));
    const hashes = [...first.keys()].map(hashOf);
    return this.#change(joinId, ttlMs, (join) => {
      const known = new Set(join.arrived);
      const added = hashes.filter((hash) => !known.has(hash));
      return added.length === 0 ? join : { ...join, arrived: [...join.arrived, ...added] };
    });
  }

  grow(joinId: string, key: string, ttlMs?: number): Promise<JoinProgress> {
    const hash = hashOf(key);
    return this.#change(joinId, ttlMs, (join) => {
      const { grown = [] } = join;
      return grown.includes(hash) ? join : { ...join, grown: [...grown, hash] };
    });
  }

  async read(joinId: string): Promise<JoinPart[] | undefined> {
    const join = await this.#cas.change(joinKey(joinId), (value) => ({ answer: readJoin(joinId, value) }));
    return join && !join.ended ? this.#parts(joinId, join) : undefined;
  }

  async take(joinId: string): Promise<JoinPart[] | undefined> {
    const join = await this.#cas.change(joinKey(joinId), (value, now): CasDecision<Join | undefined> => {
      const join = readJoin(joinId, value);
      if (!join || join.ended) return { answer: undefined };
      const until = now + REMEMBER_MS;
      return { answer: join, value: JSON.stringify({ ...join, until, ended: true }), until };
    });
    if (!join) return undefined;
    const parts = await this.#parts(joinId, join);
    await this.#bucket.removeMany(join.arrived.map((hash) => this.#partKey(joinId, hash)));
    return parts;
  }

  #change(
    joinId: string,
    ttlMs: number | undefined,
    change: (join: Join) => Join,
    guess: { readonly probablyNew?: boolean } = {},
  ): Promise<JoinProgress> {
    const decide = (value: string | undefined, now: number): CasDecision<JoinProgress> => {
      const old = readJoin(joinId, value);
      if (old?.ended) return { answer: progressOf(old) };
      const wanted = ttlMs === undefined ? (old?.until ?? FOREVER) : Math.ceil(now + ttlMs);
      const until = Math.max(old?.until ?? 0, wanted);
      const join = change(old && old.until === until ? old : { ...(old ?? { arrived: [] }), until });
      return join === old
        ? { answer: progressOf(join) }
        : { answer: progressOf(join), value: JSON.stringify(join), until };
    };
    return this.#cas.change(joinKey(joinId), decide, guess);
  }

  /** The first document of a key stays, unless it is of an earlier join of this name. */
  async #put(joinId: string, { key, index, document }: JoinPart, ttlMs: number | undefined): Promise<void> {
    const now = this.#bucket.clock.now();
    // A part without a place is the last one: infinite, for which JSON has null.
    const head = `${JSON.stringify([key, index])}\n`;
    const part = {
      key: this.#partKey(joinId, hashOf(key)),
      data: Buffer.concat([Buffer.from(head), Buffer.from(document as Uint8Array)]),
      until: ttlMs === undefined ? undefined : now + ttlMs,
    };
    if ((await this.#bucket.put(part, { absent: true })) !== undefined) return;
    const old = await this.#bucket.get(part.key);
    if (old && old.until <= now) await this.#bucket.put(part, { etag: old.etag });
  }

  async #parts(joinId: string, { arrived }: Join): Promise<JoinPart[]> {
    const parts = await inParallel(arrived, this.#bucket.parallel, async (hash) => {
      const key = this.#partKey(joinId, hash);
      const object = await this.#bucket.get(key);
      if (object) return readPart(object.data);
      throw new StoreCorruptError(`a part of the join ${joinId}, ${key}, is not in the bucket any more`);
    });
    return parts.sort((a, b) => (a.index === b.index ? 0 : a.index - b.index));
  }

  #partKey(joinId: string, hash: string): string {
    return `${this.#bucket.location.basePath}${nameOf('lovage-part-', joinId)}/${hash}`;
  }
}

function readPart(data: Buffer): JoinPart {
  const end = data.indexOf(0x0a);
  const [key, index] = JSON.parse(data.toString('utf8', 0, end)) as [string, number | null];
  return { key, index: index ?? Number.POSITIVE_INFINITY, document: asDocument(data.subarray(end + 1)) };
}

function readJoin(joinId: string, value: string | undefined): Join | undefined {
  try {
    return value === undefined ? undefined : (JSON.parse(value) as Join);
  } catch (cause) {
    throw new StoreCorruptError(`what is stored of the join ${joinId} is not what Lovage writes`, { cause });
  }
}

function progressOf({ arrived, size, grown = [] }: Join): JoinProgress {
  return { count: arrived.length, size: size === undefined ? undefined : size + grown.length };
}

function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 12);
}

function joinKey(joinId: string): string {
  return nameOf('lovage-join-', joinId);
}
