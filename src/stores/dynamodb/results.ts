import type { ResultRecord } from '../../contracts/backend.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import { StoreError } from '../../errors.ts';
import { asDocument, mayReplace } from '../result-documents.ts';
import { storeEach } from '../store-each.ts';
import {
  celeryKey,
  cleanKey,
  documentOf,
  fitsItem,
  isExpired,
  itemState,
  lawCondition,
  toItem,
  toPointerItem,
  unchangedCondition,
} from './items.ts';
import { fetchLarge, keepLarge, type LargeResults } from './large.ts';
import type { Condition, DynamodbTable, Item } from './table.ts';

/** How often a write that others overtake is tried: each of them stored a result of this task meanwhile. */
const ATTEMPTS = 10;

/** The results of a table, as Celery keeps them: an item per task with its meta map. */
export class DynamodbResults {
  readonly #table: DynamodbTable;
  readonly #large: LargeResults;

  constructor(table: DynamodbTable, large: LargeResults) {
    this.#table = table;
    this.#large = large;
  }

  storeMany(records: readonly ResultRecord[], ttlMs: number | undefined): Promise<ItemFailure[]> {
    const keepMs = this.#table.location.ttlMs ?? ttlMs;
    return storeEach(records, this.#table.parallelWrites, (record) => this.#store(record, keepMs));
  }

  /** As they are now, under either key. */
  async fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    return this.#fetch(taskIds, { consistent: true, clean: true });
  }

  /** As they were a moment ago, at half the price. `clean`: also under the key that Celery meant. */
  look(taskIds: readonly string[], { clean }: { clean: boolean }): Promise<(ResultRecord | undefined)[]> {
    return this.#fetch(taskIds, { consistent: false, clean });
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    await this.#table.removeMany(taskIds.flatMap((id) => [celeryKey(id), cleanKey(id)]));
  }

  async #store(record: ResultRecord, ttlMs: number | undefined): Promise<void> {
    const item = await this.#itemOf(record, ttlMs);
    let condition: Condition | undefined = lawCondition(record.state, this.#table.clock.now());
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (await this.#table.put(item, condition)) return;
      condition = await this.#nextCondition(record);
      if (!condition) return;
    }
    throw new StoreError(
      `the result of task ${record.taskId} is stored by others all the time: ${ATTEMPTS} writes were overtaken`,
    );
  }

  /** After a write was refused: how it may be done, or `undefined` where it must not be. */
  async #nextCondition({ taskId, state }: ResultRecord): Promise<Condition | undefined> {
    const now = this.#table.clock.now();
    const stored = await this.#table.get(celeryKey(taskId), ['state', 'until', 'ttl']);
    if (!stored || isExpired(stored, now)) return lawCondition(state, now);
    if (stored.state) return mayReplace(state, stored.state.S ?? '') ? lawCondition(state, now) : undefined;
    // An item of Celery. What is no document gives way to any result.
    const whole = (await this.#table.get(celeryKey(taskId))) ?? {};
    return mayReplace(state, itemState(whole) ?? '') ? unchangedCondition(whole) : undefined;
  }

  async #itemOf(record: ResultRecord, ttlMs: number | undefined): Promise<Item> {
    const now = this.#table.clock.now();
    const { taskId, document } = record;
    if (fitsItem(taskId, document)) return toItem(record, now, ttlMs);
    return toPointerItem(record, await keepLarge(this.#large, record, ttlMs), now, ttlMs);
  }

  async #fetch(
    taskIds: readonly string[],
    { consistent, clean }: { consistent: boolean; clean: boolean },
  ): Promise<(ResultRecord | undefined)[]> {
    const both = clean && this.#table.location.cleanKeys;
    const [celerys, cleans] = await Promise.all([
      this.#live(taskIds, celeryKey, consistent),
      // What somebody else wrote is not sooner there for who asks twice as much for it.
      both ? this.#live(taskIds, cleanKey, false) : [],
    ]);
    const found = new Map([...cleans, ...celerys]);
    const records = await this.#recordsOf(found);
    return taskIds.map((id) => records.get(id));
  }

  /** Items of tasks whose time is not over, by task. */
  async #live(
    taskIds: readonly string[],
    keyOf: (id: string) => string,
    consistent: boolean,
  ): Promise<Map<string, Item>> {
    const items = await this.#table.getMany(taskIds.map(keyOf), { consistent });
    const now = this.#table.clock.now();
    return new Map(
      taskIds.flatMap((id) => {
        const item = items.get(keyOf(id));
        return item && !isExpired(item, now) ? [[id, item] as const] : [];
      }),
    );
  }

  async #recordsOf(items: ReadonlyMap<string, Item>): Promise<Map<string, ResultRecord>> {
    const documents = await fetchLarge(this.#large, items);
    return new Map(
      [...items].map(([taskId, item]) => {
        const document = asDocument(documents.get(taskId) ?? documentOf(item));
        return [taskId, { taskId, state: itemState(item) ?? 'FAILURE', document }];
      }),
    );
  }
}
