import { StoreError } from '../../errors.ts';
import { inGroups } from '../../util/groups.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { loadPeer } from '../../util/load-peer.ts';
import { awsClientConfig, openAwsClient } from '../aws/client.ts';
import { type ServiceClock, serviceClock } from '../aws/clock.ts';
import { awsError, awsErrorName } from '../aws/errors.ts';
import { partitionOf } from '../aws/partition.ts';
import type { DynamodbLocation } from './url.ts';

// Not as imports: the types, too, are there only where the package is installed.
type Sdk = typeof import('@aws-sdk/client-dynamodb');
type Client = import('@aws-sdk/client-dynamodb').DynamoDBClient;
type WriteRequest = import('@aws-sdk/client-dynamodb').WriteRequest;

/** One value of an item. */
export type Value = import('@aws-sdk/client-dynamodb').AttributeValue;
/** An item, its key `id` included. */
export type Item = Record<string, Value>;

/** When a write is to be done: an expression, and what its `#names` and `:values` stand for. */
export interface Condition {
  readonly expression: string;
  readonly names: Readonly<Record<string, string>>;
  readonly values?: Readonly<Record<string, Value>>;
}

/** Items of one BatchGetItem, and of one BatchWriteItem. */
const GET_MANY = 100;
const WRITE_MANY = 25;
/** Longest key of an item. */
const MAX_KEY_BYTES = 2048;
/** Batches under way at once. */
const BATCHES = 8;

/** The command that makes what is missing. */
const SETUP = 'lovage setup makes it; it is never made by use';

/** One table of DynamoDB with its key `id`. Each method makes one attempt. */
export class DynamodbTable {
  readonly location: DynamodbLocation;
  /** Of the region. */
  readonly clock: ServiceClock;
  readonly #sdk: Sdk;
  readonly #client: Client;
  readonly #region: string;

  constructor(location: DynamodbLocation, { sdk, client, region }: { sdk: Sdk; client: Client; region: string }) {
    this.location = location;
    this.clock = serviceClock(client);
    this.#sdk = sdk;
    this.#client = client;
    this.#region = region;
  }

  /** Writes single items at once, as many as the connections allow. */
  get parallelWrites(): number {
    return this.location.address.maxConnections;
  }

  close(): void {
    this.#client.destroy();
  }

  /** The item, as it is now; with `only` some of its attributes. */
  async get(id: string, only?: readonly string[]): Promise<Item | undefined> {
    const names = Object.fromEntries((only ?? []).map((name, i) => [`#n${i}`, name]));
    const command = new this.#sdk.GetItemCommand({
      TableName: this.location.table,
      Key: { id: { S: id } },
      ConsistentRead: true,
      ...(only && { ProjectionExpression: Object.keys(names).join(), ExpressionAttributeNames: names }),
    });
    const { Item: item } = await this.#send('GetItem', () => this.#client.send(command));
    return item;
  }

  /** Items by their keys; those that are not there are left out. `consistent`: as they are now, at twice the price. */
  async getMany(ids: readonly string[], { consistent }: { consistent: boolean }): Promise<Map<string, Item>> {
    const found = new Map<string, Item>();
    await inParallel(inGroups(usable(ids), GET_MANY), BATCHES, async (group) => {
      for (const item of await this.#getGroup(group, consistent))
        if (item.id?.S !== undefined) found.set(item.id.S, item);
    });
    return found;
  }

  /** Whether it was written; `false`: the condition does not hold. */
  async put(item: Item, condition?: Condition): Promise<boolean> {
    const command = new this.#sdk.PutItemCommand({
      TableName: this.location.table,
      Item: item,
      ...expressionOf(condition),
    });
    return (await this.#conditional('PutItem', () => this.#client.send(command))) !== undefined;
  }

  /** The item after the change, or `undefined` where the condition does not hold. */
  async update(id: string, change: string, condition: Condition): Promise<Item | undefined> {
    const command = new this.#sdk.UpdateItemCommand({
      TableName: this.location.table,
      Key: { id: { S: id } },
      UpdateExpression: change,
      ReturnValues: 'ALL_NEW',
      ...expressionOf(condition),
    });
    const done = await this.#conditional('UpdateItem', () => this.#client.send(command));
    return done && (done.Attributes ?? {});
  }

  /** Whether the condition held. */
  async remove(id: string, condition: Condition): Promise<boolean> {
    const command = new this.#sdk.DeleteItemCommand({
      TableName: this.location.table,
      Key: { id: { S: id } },
      ...expressionOf(condition),
    });
    return (await this.#conditional('DeleteItem', () => this.#client.send(command))) !== undefined;
  }

  /** Writes items whatever was there before. */
  putMany(items: readonly Item[]): Promise<void> {
    return this.#writeMany(items.map((item) => ({ PutRequest: { Item: item } })));
  }

  removeMany(ids: readonly string[]): Promise<void> {
    return this.#writeMany(usable(ids).map((id) => ({ DeleteRequest: { Key: { id: { S: id } } } })));
  }

  async #getGroup(ids: readonly string[], consistent: boolean): Promise<Item[]> {
    const { table } = this.location;
    const items: Item[] = [];
    let keys: Item[] = ids.map((id) => ({ id: { S: id } }));
    while (keys.length > 0) {
      const command = new this.#sdk.BatchGetItemCommand({
        RequestItems: { [table]: { Keys: keys, ConsistentRead: consistent } },
      });
      const answer = await this.#send('BatchGetItem', () => this.#client.send(command));
      for (const item of answer.Responses?.[table] ?? []) items.push(item);
      // What is left over is the rest of a long answer, which is asked for as long as it gets shorter.
      const left = answer.UnprocessedKeys?.[table]?.Keys ?? [];
      if (left.length === keys.length) throw this.#throttled('BatchGetItem');
      keys = left;
    }
    return items;
  }

  async #writeMany(requests: readonly WriteRequest[]): Promise<void> {
    const { table } = this.location;
    await inParallel(inGroups(requests, WRITE_MANY), BATCHES, async (group) => {
      for (let left = group; left.length > 0; ) {
        const command = new this.#sdk.BatchWriteItemCommand({ RequestItems: { [table]: left } });
        const answer = await this.#send('BatchWriteItem', () => this.#client.send(command));
        const unprocessed = answer.UnprocessedItems?.[table] ?? [];
        if (unprocessed.length === left.length) throw this.#throttled('BatchWriteItem');
        left = unprocessed;
      }
    });
  }

  /** `undefined` where the condition does not hold. */
  async #conditional<T>(action: string, send: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#send(action, send);
    } catch (error) {
      if (awsErrorName((error as Error).cause) === 'ConditionalCheckFailedException') return undefined;
      throw error;
    }
  }

  async #send<T>(action: string, send: () => Promise<T>): Promise<T> {
    const { url, table } = this.location;
    try {
      return await send();
    } catch (error) {
      throw awsError(error, {
        url,
        region: this.#region,
        action: `dynamodb:${action}`,
        on: `table '${table}'`,
        arn: tableArn(this.#region, table),
        whenMissing: SETUP,
      });
    }
  }

  #throttled(action: string): StoreError {
    const { url, table } = this.location;
    return new StoreError(
      `dynamodb:${action} on table '${table}' of ${url} was throttled by AWS: nothing of it was done`,
    );
  }
}

/** Opens a table, without a request to it. */
export async function openTable(location: DynamodbLocation): Promise<DynamodbTable> {
  const sdk = await loadDynamodb();
  const client = new sdk.DynamoDBClient(awsClientConfig(location.address));
  try {
    const region = await openAwsClient(client, location.address, location.url);
    return new DynamodbTable(location, { sdk, client, region });
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** The SDK's package. */
export function loadDynamodb(): Promise<Sdk> {
  return loadPeer('@aws-sdk/client-dynamodb', 'dynamodb:// result backends', () => import('@aws-sdk/client-dynamodb'));
}

/** As a policy names the table, of whichever account unless one is given. */
export function tableArn(region: string, table: string, account = '*'): string {
  return `arn:${partitionOf(region)}:dynamodb:${region}:${account}:table/${table}`;
}

/** A number, as items have them. */
export function num(value: number): Value {
  return { N: String(value) };
}

/** A number of an item; NaN where there is none. */
export function numberOf(item: Item | undefined, name: string): number {
  return Number(item?.[name]?.N ?? Number.NaN);
}

/** Each once, without those that no item can have: one of them would spoil its batch. */
function usable(ids: readonly string[]): string[] {
  return [...new Set(ids)].filter((id) => Buffer.byteLength(id) <= MAX_KEY_BYTES);
}

function expressionOf(condition: Condition | undefined) {
  if (condition === undefined) return {};
  const { expression, names, values = {} } = condition;
  return {
    ...(expression !== '' && { ConditionExpression: expression }),
    ExpressionAttributeNames: { ...names },
    ...(Object.keys(values).length > 0 && { ExpressionAttributeValues: { ...values } }),
  };
}
