import { createHash } from 'node:crypto';
import type { JoinPart, JoinProgress, JoinStore } from '../../contracts/backend.ts';
import { MessageTooLargeError, StoreCorruptError, StoreError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { nameOf } from '../names.ts';
import { asDocument } from '../result-documents.ts';
import { documentOf, fitsItem, isExpired, pointerAttribute } from './items.ts';
import { fetchLarge, keepLarge, type LargeResults } from './large.ts';
import { type Condition, type DynamodbTable, type Item, num, numberOf, type Value } from './table.ts';

// How long a finished join is remembered, so that a part that comes late or twice does not start it anew.
const REMEMBER_MS = 24 * 3600 * 1000;
// A join lives on with each part that comes; the parts before must not be removed meanwhile.
const PART_SLACK_MS = 7 * 24 * 3600 * 1000;
/** The set of those that arrived is in one item, of 400 KB. */
const MAX_PARTS = 40_000;
/**
 * How many parts a join may get on top of its size: each takes room in that item twice, for it is to come, and arrives.
 * More where the size is known to be small.
 */
const MAX_GROWN = 2_000;
const SMALL = 5_000;
const MAX_GROWN_OF_SMALL = 18_000;
/** `until` of what has no end. */
const FOREVER = 9e15;
/** How often a change is tried that another one overtakes. */
const ATTEMPTS = 10;

/** What a call changes of a join. */
interface Change {
  readonly ttlMs: number | undefined;
  readonly size?: number;
  /** Parts that are stored, by the hashes of their keys. */
  readonly arrived?: readonly Buffer[];
  /** A part that is to come on top of its size, likewise. */
  readonly grown?: Buffer;
}

const NAMES = { '#until': 'until', '#ended': 'ended' };

/**
 * The joins of a table. A part is an item of its own, written first. That it arrived is an entry in a set of the join's
 * item: adding to a set is atomic, may be repeated, and tells the whole set, so that no part counts twice or never,
 * whenever a worker dies. Parts that the join grows by are a second set.
 */
export class DynamodbJoins implements JoinStore {
  readonly #table: DynamodbTable;
  readonly #large: LargeResults;

  constructor(table: DynamodbTable, large: LargeResults) {
    this.#table = table;
    this.#large = large;
  }

  async setSize(joinId: string, size: number, ttlMs?: number): Promise<JoinProgress> {
    if (size > MAX_PARTS) {
      throw new MessageTooLargeError(
        `a chord of ${size} members: DynamoDB can count up to ${MAX_PARTS}. Split it in two levels`,
      );
    }
    return this.#change(joinId, { ttlMs, size });
  }

  async addMany(joinId: string, parts: readonly JoinPart[], ttlMs?: number): Promise<JoinProgress> {
    const first = new Map<string, JoinPart>();
    for (const part of parts) if (!first.has(part.key)) first.set(part.key, part);
    await inParallel([...first.values()], this.#table.parallelWrites, (part) => this.#put(joinId, part, ttlMs));
    return this.#change(joinId, { ttlMs, arrived: [...first.keys()].map(hashOf) });
  }

  async grow(joinId: string, key: string, ttlMs?: number): Promise<JoinProgress> {
    return this.#change(joinId, { ttlMs, grown: hashOf(key) });
  }

  async read(joinId: string): Promise<JoinPart[] | undefined> {
    const join = await this.#table.get(joinKey(joinId));
    if (!join || join.ended || isExpired(join, this.#table.clock.now())) return undefined;
    return this.#parts(joinId, join);
  }

  async take(joinId: string): Promise<JoinPart[] | undefined> {
    const now = this.#table.clock.now();
    const until = now + REMEMBER_MS;
    const join = await this.#table.update(joinKey(joinId), 'SET #ended = :true, #until = :until, #ttl = :ttl', {
      expression: '#until > :now AND attribute_not_exists(#ended)',
      names: { ...NAMES, '#ttl': 'ttl' },
      values: { ':true': { BOOL: true }, ':now': num(now), ':until': num(until), ':ttl': num(Math.ceil(until / 1000)) },
    });
    return join && this.#parts(joinId, join, { removeEndless: true });
  }

  /** The first document of a key stays, unless it is of an earlier join of this name. */
  async #put(joinId: string, { key, index, document }: JoinPart, ttlMs: number | undefined): Promise<void> {
    const now = this.#table.clock.now();
    const keptMs = ttlMs === undefined ? undefined : 2 * ttlMs + PART_SLACK_MS;
    const isSmall = fitsItem(key, document);
    const item: Item = {
      id: { S: partKey(joinId, hashOf(key)) },
      key: { S: key },
      // A part without a place is the last one: infinite, which no number of DynamoDB is.
      ...(Number.isFinite(index) && { index: num(index) }),
      ...(isSmall
        ? { result: { B: typeof document === 'string' ? Buffer.from(document) : document } }
        : { blob: pointerAttribute(await keepLarge(this.#large, { taskId: key, state: '', document }, keptMs)) }),
      ...(ttlMs !== undefined && {
        until: num(Math.ceil(now + ttlMs)),
        ttl: num(Math.ceil((now + (keptMs ?? 0)) / 1000)),
      }),
    };
    await this.#table.put(item, {
      expression: 'attribute_not_exists(#id) OR #until <= :now',
      names: { '#id': 'id', '#until': 'until' },
      values: { ':now': num(now) },
    });
  }

  async #change(joinId: string, change: Change): Promise<JoinProgress> {
    const id = joinKey(joinId);
    let prolongs = change.ttlMs !== undefined;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const now = this.#table.clock.now();
      const { expression, condition } = toUpdate(change, prolongs, now);
      if (expression !== '') {
        const join = await this.#table.update(id, expression, condition);
        if (join) return progressOf(join);
      }
      const join = await this.#table.get(id);
      if (join && isExpired(join, now)) {
        const over = { expression: '#until <= :now', names: { '#until': 'until' }, values: { ':now': num(now) } };
        await this.#table.remove(id, over);
      } else if (join?.ended || (join && expression === '')) return progressOf(join);
      else if (join && change.grown && !hasRoom(join, change.grown)) throw tooManyGrown(joinId, join);
      prolongs = change.ttlMs !== undefined && !(join && numberOf(join, 'until') > now + change.ttlMs);
    }
    throw new StoreError(`the join ${joinId} is changed by others all the time: ${ATTEMPTS} writes were overtaken`);
  }

  async #parts(joinId: string, join: Item, { removeEndless = false } = {}): Promise<JoinPart[]> {
    const ids = hashesOf(join).map((hash) => partKey(joinId, hash));
    const items = await this.#table.getMany(ids, { consistent: true });
    if (items.size < ids.length) {
      throw new StoreCorruptError(
        `the join ${joinId} has ${ids.length} parts, of which ${ids.length - items.size} are not there any more`,
      );
    }
    const byKey = new Map([...items.values()].map((item) => [item.key?.S ?? '', item]));
    const large = await fetchLarge(this.#large, byKey);
    const parts = [...byKey].map(([key, item]): JoinPart => {
      const document = asDocument(large.get(key) ?? documentOf(item));
      return { key, index: item.index ? numberOf(item, 'index') : Number.POSITIVE_INFINITY, document };
    });
    if (removeEndless) await this.#table.removeMany(ids.filter((id) => !items.get(id)?.ttl));
    return parts.sort((a, b) => (a.index === b.index ? 0 : a.index - b.index));
  }
}

/** How a change is written. `prolongs`: the join is to live for `ttlMs` from now, and would not without. */
function toUpdate({ ttlMs, size, arrived = [], grown }: Change, prolongs: boolean, now: number) {
  const sets: string[] = [];
  const adds: string[] = [];
  const names: Record<string, string> = { ...NAMES };
  const values: Record<string, Value> = { ':now': num(now) };
  let lives = '#until > :now';
  if (ttlMs === undefined) {
    sets.push('#until = if_not_exists(#until, :forever)');
    values[':forever'] = num(FOREVER);
    lives = `(attribute_not_exists(#until) OR ${lives})`;
  } else if (prolongs) {
    sets.push('#until = :until, #ttl = :ttl');
    names['#ttl'] = 'ttl';
    values[':until'] = num(Math.ceil(now + ttlMs));
    values[':ttl'] = num(Math.ceil((now + ttlMs) / 1000));
    lives = `(attribute_not_exists(#until) OR (${lives} AND #until <= :until))`;
  }
  if (size !== undefined) {
    sets.push('#size = :size');
    names['#size'] = 'size';
    values[':size'] = num(size);
  }
  if (arrived.length > 0) {
    adds.push('#arrived :arrived');
    names['#arrived'] = 'arrived';
    values[':arrived'] = { BS: [...arrived] };
  }
  if (grown) {
    adds.push('#grown :grown');
    Object.assign(names, { '#grown': 'grown', '#size': 'size' });
    Object.assign(values, { ':grown': { BS: [grown] }, ':one': { B: grown }, ...ROOM });
    lives += ` AND ${HAS_ROOM}`;
  }
  const set = sets.length > 0 ? `SET ${sets.join(', ')}` : '';
  const add = adds.length > 0 ? `ADD ${adds.join(', ')}` : '';
  const condition: Condition = { expression: `${lives} AND attribute_not_exists(#ended)`, names, values };
  return { expression: `${set} ${add}`.trim(), condition };
}

function progressOf(join: Item): JoinProgress {
  return { count: hashesOf(join).length, size: join.size ? numberOf(join, 'size') + grownOf(join).length : undefined };
}

function grownOf(join: Item): Uint8Array[] {
  return join.grown?.BS ?? [];
}

const HAS_ROOM =
  '(attribute_not_exists(#grown) OR contains(#grown, :one) OR size(#grown) < :few OR (#size <= :small AND size(#grown) < :many))';
const ROOM = { ':few': num(MAX_GROWN), ':small': num(SMALL), ':many': num(MAX_GROWN_OF_SMALL) };

/** What {@link HAS_ROOM} says, of an item that was read. */
function hasRoom(join: Item, hash: Buffer): boolean {
  const grown = grownOf(join);
  return grown.length < maxGrown(join) || grown.some((one) => hash.equals(one));
}

function maxGrown(join: Item): number {
  return numberOf(join, 'size') <= SMALL ? MAX_GROWN_OF_SMALL : MAX_GROWN;
}

function tooManyGrown(joinId: string, join: Item): MessageTooLargeError {
  return new MessageTooLargeError(
    `the chord ${joinId} has grown by ${maxGrown(join)} members: DynamoDB can count no more of one that began with ${numberOf(join, 'size')}. Begin another chord, or send the tasks without adding them`,
  );
}

function hashesOf(join: Item): Uint8Array[] {
  return join.arrived?.BS ?? [];
}

/** Eight bytes: among 40,000 members two with one hash are less likely than a failing disk. */
function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest().subarray(0, 8);
}

function joinKey(joinId: string): string {
  return nameOf('lovage-join-', joinId);
}

function partKey(joinId: string, hash: Uint8Array): string {
  return `${nameOf('lovage-part-', joinId)}#${Buffer.from(hash).toString('base64url')}`;
}
