import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { BackendFeatures, JoinStore, ResultBackend, ResultRecord } from '../contracts/backend.ts';
import type { Recipe } from '../contracts/common.ts';
import type { LimitStore } from '../contracts/limits.ts';
import { encodeResult } from '../wire/result.ts';
import { ChildRunner } from './child-runner.ts';
import type { Law } from './runner.ts';

/** One store for one test, as the test of a driver provides it. */
export interface BackendFixture {
  /** A new connection to that store, not started. */
  create(): ResultBackend;
  cleanup(): Promise<void>;
  /** How another process opens the same store; without it the laws about processes are not asked. */
  readonly recipe?: Recipe;
  /** So many times as long as usual the laws wait for what takes many requests, where each is slow. Default 1. */
  readonly patience?: number;
}

/** A law for result backends. */
export type BackendLaw = Law<BackendWorld>;

/** What one law gets to work with: connections, task ids of its own, and child processes; all are closed at the end. */
export class BackendWorld {
  readonly features: BackendFeatures;
  readonly hasJoins: boolean;
  readonly hasLimits: boolean;
  readonly recipe: Recipe | undefined;
  /** By how much a law has to multiply its waiting. */
  readonly patience: number;
  readonly children = new ChildRunner();
  readonly #fixture: BackendFixture;
  readonly #open = new Set<ResultBackend>();
  readonly #prefix = randomUUID().slice(0, 8);

  constructor(fixture: BackendFixture) {
    const backend = fixture.create();
    this.#fixture = fixture;
    this.features = backend.features;
    this.hasJoins = backend.joins !== undefined;
    this.hasLimits = backend.limits !== undefined;
    this.recipe = fixture.recipe;
    this.patience = fixture.patience ?? 1;
  }

  /** A new started connection. */
  async open(): Promise<ResultBackend> {
    const backend = this.#fixture.create();
    this.#open.add(backend);
    await backend.start();
    return backend;
  }

  /** The joins of a new started connection. */
  async openJoins(): Promise<JoinStore> {
    const { joins } = await this.open();
    assert.ok(joins);
    return joins;
  }

  /** The limits of a new started connection. */
  async openLimits(): Promise<LimitStore> {
    const { limits } = await this.open();
    assert.ok(limits);
    return limits;
  }

  /** Stops all connections, as when everything is restarted. */
  async stopAll(): Promise<void> {
    for (const backend of this.#open) await backend.stop();
    this.#open.clear();
  }

  /** A task id, join id or key that no other law uses. */
  id(label: string | number): string {
    return `${this.#prefix}-${label}`;
  }

  /** A record with a document that says the same: text, or bytes with `msgpack`. */
  record(
    label: string | number,
    state: string,
    result: unknown = `${state} of ${label}`,
    serializer = 'json',
  ): ResultRecord {
    const taskId = this.id(label);
    return { taskId, state, document: encodeResult({ taskId, state, result, children: [] }, { serializer }) };
  }

  async close(): Promise<void> {
    this.children.killAll();
    await this.stopAll();
    await this.#fixture.cleanup();
  }
}

/** Stores records and makes sure that none failed. */
export async function storeAll(
  backend: ResultBackend,
  records: readonly ResultRecord[],
  ttlMs?: number,
): Promise<void> {
  assert.deepEqual(await backend.storeMany(records, ttlMs), []);
}
