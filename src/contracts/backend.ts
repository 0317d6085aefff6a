import type { ItemFailure, Recipe, Service } from './common.ts';
import type { Diagnosable } from './diagnosis.ts';
import type { LimitStore } from './limits.ts';
import type { StoreSetup } from './setup.ts';

/** The state of one task, ready to store. `document` is Celery's meta map, already serialized. */
export interface ResultRecord {
  readonly taskId: string;
  /** `SUCCESS`, `FAILURE`, `REVOKED`, `STARTED`, `RETRY` or a name of the application's own. */
  readonly state: string;
  readonly document: string | Uint8Array;
}

/**
 * The task id under which a saved group is stored: one that no task has. A driver that keeps Celery's layout writes it
 * where Celery keeps saved groups (`celery-taskset-meta-<id>`, see {@link savedGroupOf}); for others it is an id like any.
 */
export function savedGroupKey(groupId: string): string {
  return GROUP + groupId;
}

/** The group of an id that {@link savedGroupKey} made; `undefined` for a task's. */
export function savedGroupOf(taskId: string): string | undefined {
  return taskId.startsWith(GROUP) ? taskId.slice(GROUP.length) : undefined;
}

const GROUP = 'group:';

/** A state that will not change again by itself (`SUCCESS`, `FAILURE`, `REVOKED`). */
export function isFinished(state: string): boolean {
  return state === 'SUCCESS' || state === 'FAILURE' || state === 'REVOKED';
}

export interface BackendFeatures {
  /** Results survive a restart of everything. */
  readonly durable: boolean;
  /** Other processes see the same results. */
  readonly shared: boolean;
  /** Largest document the store takes. */
  readonly maxDocumentBytes: number;
}

/** Where results wait to be read. */
export interface ResultBackend extends Service, Partial<Diagnosable> {
  /** The URL scheme, such as `sqlite`. */
  readonly name: string;
  /** The URL with secrets masked. */
  readonly url: string;
  readonly features: BackendFeatures;
  /** Present where the store can count the members of a chord. */
  readonly joins?: JoinStore;
  /** Present where the store can keep claims and rates. */
  readonly limits?: LimitStore;
  /** Present where another thread or process can open the same store. */
  readonly recipe?: Recipe;
  /** Present where something has to be created, or allowed, before the first use. */
  readonly setup?: StoreSetup;

  /**
   * Keeps records for `ttlMs` (`undefined`: for ever). SUCCESS is never replaced, and no finished state by an unfinished
   * one; such a write is no failure, it changes nothing. Of two records of one task in a call the later wins, by the same rule.
   */
  storeMany(records: readonly ResultRecord[], ttlMs?: number): Promise<ItemFailure[]>;
  /** `undefined` for a task of which nothing is stored, or whose record has expired. */
  fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]>;
  forgetMany(taskIds: readonly string[]): Promise<void>;
  /**
   * Calls `onReady` once for each task when it has finished, also for those that had before. Resolves once watching
   * has begun; call what it returns to stop.
   */
  watch(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>>;
}

/** One member of a join that has arrived. */
export interface JoinPart {
  /** Who it is: a part that arrives twice counts once. */
  readonly key: string;
  /** Where it stands among the others. */
  readonly index: number;
  /** Celery's meta map of the member. A store need not keep more of it than task id (the key), state and result. */
  readonly document: string | Uint8Array;
}

export interface JoinProgress {
  /** Distinct parts so far. */
  readonly count: number;
  /** `undefined` until `setSize` was called. */
  readonly size: number | undefined;
}

/**
 * All that a backend knows of workflows: an atomic "N of M have arrived". What follows from it is decided by the core. A
 * join lives for `ttlMs` at least from each call that gives one; no call shortens its life.
 */
export interface JoinStore {
  /** Says how many parts there will be. */
  setSize(joinId: string, size: number, ttlMs?: number): Promise<JoinProgress>;
  /** Adds parts and tells the count after them. The first document of a key stays. */
  addMany(joinId: string, parts: readonly JoinPart[], ttlMs?: number): Promise<JoinProgress>;
  /** Has one part more to come, told by its key: a key counts once, and none any more once the join has ended. */
  grow(joinId: string, key: string, ttlMs?: number): Promise<JoinProgress>;
  /** The parts in order of index; `undefined` for a join that is unknown or has ended. */
  read(joinId: string): Promise<JoinPart[] | undefined>;
  /** Ends the join: exactly one caller gets the parts, in order of index; all others `undefined`. */
  take(joinId: string): Promise<JoinPart[] | undefined>;
}
