import type { LovageApp } from '../app/app.ts';
import type { Publisher } from '../app/publisher.ts';
import type { Results } from '../app/results.ts';
import type { JoinPart, JoinStore } from '../contracts/backend.ts';
import type { ItemFailure } from '../contracts/common.ts';
import { ChordError, ConfigError } from '../errors.ts';
import { derivedId } from '../util/ids.ts';
import { encodeError } from '../wire/remote-error.ts';
import { saferepr } from '../wire/saferepr.ts';
import type { ResultMeta, TaskMessage, WireSignature } from '../wire/task-message.ts';
import { afterFailure, fromWire } from './follow-ups.ts';

/** A member of a chord that has finished. */
export interface Arrival {
  readonly joinId: string;
  readonly part: JoinPart;
  readonly message: TaskMessage;
  readonly body: WireSignature;
}

/** Counts members of chords, and sends the body when the last one is there. */
export class Chords {
  readonly #app: LovageApp;
  readonly #results: Results;
  readonly #publisher: Publisher;

  constructor(app: LovageApp, results: Results, publisher: Publisher) {
    this.#app = app;
    this.#results = results;
    this.#publisher = publisher;
  }

  /** Adds members to their joins. One that fails is to be added again: it counts once. */
  async arrive(arrivals: readonly Arrival[]): Promise<ItemFailure[]> {
    const joins = this.#results.backend?.joins;
    const failures: ItemFailure[] = [];
    const byJoin = Map.groupBy(
      arrivals.map((arrival, index) => ({ arrival, index })),
      ({ arrival }) => arrival.joinId,
    );
    for (const [joinId, members] of byJoin) {
      try {
        if (!joins)
          throw new ConfigError('this result backend cannot count the members of chords, so the body will not run');
        await this.#count(
          joins,
          joinId,
          members.map(({ arrival }) => arrival),
        );
      } catch (error) {
        for (const { index } of members) failures.push({ index, error: error as Error });
      }
    }
    return failures;
  }

  async #count(joins: JoinStore, joinId: string, arrivals: readonly Arrival[]): Promise<void> {
    const { ttlMs } = this.#results;
    const { count, size } = await joins.addMany(
      joinId,
      arrivals.map(({ part }) => part),
      ttlMs,
    );
    const [arrival] = arrivals;
    if (size === undefined || count < size || !arrival) return;
    const parts = await joins.read(joinId);
    if (!parts) return;
    await this.#complete(arrival, parts);
    // Only now: a crash before it sends the body again, with the same id; a join ended earlier would be lost.
    await joins.take(joinId);
  }

  async #complete({ joinId, body, message }: Arrival, parts: readonly JoinPart[]): Promise<void> {
    const members = parts.map(({ key, document }) => this.#results.decode({ taskId: key, state: '', document }));
    const id = typeof body.options.task_id === 'string' ? body.options.task_id : derivedId(joinId, 'body');
    const failed = members.find(({ state }) => state !== 'SUCCESS');
    const values = members.map(({ result }) => result);
    const prepared = fromWire(this.#app, body, [values], message, id);
    if (!failed) return this.#publisher.publishMany([prepared], { retry: false });
    const error = new ChordError(`Dependency ${failed.taskId} raised ${describe(failed)}`);
    await this.#results.store({
      taskId: id,
      state: 'FAILURE',
      result: encodeError(error),
      children: [],
      dateDone: Date.now(),
    });
    const errbacks = afterFailure(this.#app, prepared.message);
    if (errbacks.length > 0) await this.#publisher.publishMany(errbacks, { retry: false });
  }
}

/** An error in Python's notation, as Celery writes it here. */
function describe({ result }: ResultMeta): string {
  if (typeof result !== 'object' || result === null || !('exc_type' in result)) return saferepr(result);
  const args = 'exc_message' in result && Array.isArray(result.exc_message) ? result.exc_message : [];
  return `${String(result.exc_type)}(${args.map((arg) => saferepr(arg)).join(', ')})`;
}
