import type { BackendFeatures, ResultBackend, ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure, Recipe, Service } from '../contracts/common.ts';
import type { Diagnosis } from '../contracts/diagnosis.ts';
import type { LimitStore } from '../contracts/limits.ts';
import { joinsOf, limitsOf } from '../contracts/opened.ts';
import type { StoreNeeds, StoreSetup } from '../contracts/setup.ts';
import { DynamodbBlobs, MAX_BLOB_BYTES } from '../stores/dynamodb/blobs.ts';
import { diagnoseDynamodb } from '../stores/dynamodb/diagnosis.ts';
import { DynamodbJoins } from '../stores/dynamodb/joins.ts';
import { openS3Large } from '../stores/dynamodb/large-s3.ts';
import { dynamodbLimits } from '../stores/dynamodb/limits.ts';
import { DynamodbResults } from '../stores/dynamodb/results.ts';
import { dynamodbSetup } from '../stores/dynamodb/setup.ts';
import { type DynamodbTable, openTable } from '../stores/dynamodb/table.ts';
import { type DynamodbLocation, type DynamodbOptions, dynamodbLocation } from '../stores/dynamodb/url.ts';
import { dynamodbWatch } from '../stores/dynamodb/watch.ts';
import { Opening } from '../util/opening.ts';

/** Largest result where large ones go to S3: everybody who waits for it reads it whole. */
const MAX_LARGE_BYTES = 64 * 1024 * 1024;

/**
 * A result backend in a table of DynamoDB, in Celery's layout: Python and TypeScript read each other's results. The table
 * is not made by use: `lovage setup` does that.
 * @throws ConfigError for a wrong URL or option
 */
export function dynamodbBackend(url: string, options: DynamodbOptions = {}): ResultBackend {
  const recipe = { module: import.meta.url, factory: 'dynamodbBackend', args: [url, options] };
  return new DynamodbBackend(dynamodbLocation(url, options), recipe);
}

/** What a started backend works with. */
interface Opened {
  readonly table: DynamodbTable;
  /** Where large results go that do not go into the table. */
  readonly bucket: Service | undefined;
  readonly results: DynamodbResults;
  readonly joins: DynamodbJoins;
  readonly limits: LimitStore;
  readonly watch: ReturnType<typeof dynamodbWatch>;
}

class DynamodbBackend implements ResultBackend {
  readonly name = 'dynamodb';
  readonly url: string;
  readonly features: BackendFeatures;
  readonly recipe: Recipe;
  readonly setup: StoreSetup;
  readonly joins = joinsOf(async () => (await this.#opening.get()).joins);
  readonly limits = limitsOf(async () => (await this.#opening.get()).limits);
  readonly #location: DynamodbLocation;
  readonly #opening: Opening<Opened>;

  constructor(location: DynamodbLocation, recipe: Recipe) {
    this.url = location.url;
    const maxDocumentBytes = location.largeResults === 'table' ? MAX_BLOB_BYTES : MAX_LARGE_BYTES;
    this.features = { durable: true, shared: true, maxDocumentBytes };
    this.recipe = recipe;
    this.setup = dynamodbSetup(location);
    this.#location = location;
    this.#opening = new Opening(`the result backend ${location.url}`, () => open(location));
  }

  start(): Promise<void> {
    return this.#opening.start();
  }

  async stop(): Promise<void> {
    const opened = await this.#opening.end();
    opened?.watch.close();
    opened?.table.close();
    await opened?.bucket?.stop();
  }

  async storeMany(records: readonly ResultRecord[], ttlMs?: number): Promise<ItemFailure[]> {
    return (await this.#opening.get()).results.storeMany(records, ttlMs);
  }

  async fetchMany(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    return (await this.#opening.get()).results.fetchMany(taskIds);
  }

  async forgetMany(taskIds: readonly string[]): Promise<void> {
    await (await this.#opening.get()).results.forgetMany(taskIds);
  }

  async watch(taskIds: readonly string[], onReady: (records: ResultRecord[]) => void): Promise<() => Promise<void>> {
    return (await this.#opening.get()).watch.add(taskIds, onReady);
  }

  diagnose(needs: StoreNeeds): Promise<Diagnosis> {
    return diagnoseDynamodb(this.#location, needs);
  }
}

async function open(location: DynamodbLocation): Promise<Opened> {
  const bucket = openS3Large(location);
  await bucket?.start();
  const table = await openTable(location).catch(async (error: unknown) => {
    await bucket?.stop();
    throw error;
  });
  const large = bucket
    ? ({ store: 's3', blobs: bucket, maxBytes: MAX_LARGE_BYTES } as const)
    : ({ store: 'table', blobs: new DynamodbBlobs(table), maxBytes: MAX_BLOB_BYTES } as const);
  const results = new DynamodbResults(table, large);
  return {
    table,
    bucket,
    results,
    joins: new DynamodbJoins(table, large),
    limits: dynamodbLimits(table),
    watch: dynamodbWatch(results, location.pollMs),
  };
}
