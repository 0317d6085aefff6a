import type { BackendFeatures, ResultBackend, ResultRecord } from '../contracts/backend.ts';
import type { ItemFailure, Recipe } from '../contracts/common.ts';
import type { Diagnosis } from '../contracts/diagnosis.ts';
import type { LimitStore } from '../contracts/limits.ts';
import { joinsOf, limitsOf } from '../contracts/opened.ts';
import type { StoreNeeds, StoreSetup } from '../contracts/setup.ts';
import { openBucket, type S3Bucket } from '../stores/s3/bucket.ts';
import { S3Joins } from '../stores/s3/joins.ts';
import { s3Limits } from '../stores/s3/limits.ts';
import { MAX_DOCUMENT_BYTES, S3Results } from '../stores/s3/results.ts';
import { diagnoseS3, s3Setup } from '../stores/s3/setup.ts';
import { type S3Location, type S3Options, s3Location } from '../stores/s3/url.ts';
import { s3Watch } from '../stores/s3/watch.ts';
import { Opening } from '../util/opening.ts';

/**
 * A result backend in a bucket of S3, in Celery's layout: Python and TypeScript read each other's results. The bucket is
 * not made by use: `lovage setup` does that.
 * @throws ConfigError for a wrong URL or option
 */
export function s3Backend(url: string, options: S3Options = {}): ResultBackend {
  const recipe = { module: import.meta.url, factory: 's3Backend', args: [url, options] };
  return new S3Backend(s3Location(url, options), recipe);
}

/** What a started backend works with. */
interface Opened {
  readonly bucket: S3Bucket;
  readonly results: S3Results;
  readonly joins: S3Joins;
  readonly limits: LimitStore;
  readonly watch: ReturnType<typeof s3Watch>;
}

class S3Backend implements ResultBackend {
  readonly name = 's3';
  readonly url: string;
  readonly features: BackendFeatures = { durable: true, shared: true, maxDocumentBytes: MAX_DOCUMENT_BYTES };
  readonly recipe: Recipe;
  readonly setup: StoreSetup;
  readonly joins = joinsOf(async () => (await this.#opening.get()).joins);
  readonly limits = limitsOf(async () => (await this.#opening.get()).limits);
  readonly #location: S3Location;
  readonly #opening: Opening<Opened>;

  constructor(location: S3Location, recipe: Recipe) {
    this.url = location.url;
    this.recipe = recipe;
    this.setup = s3Setup(location);
    this.#location = location;
    this.#opening = new Opening(`the result backend ${location.url}`, () => open(location));
  }

  start(): Promise<void> {
    return this.#opening.start();
  }

  async stop(): Promise<void> {
    const opened = await this.#opening.end();
    opened?.watch.close();
    opened?.bucket.close();
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
    return diagnoseS3(this.#location, needs);
  }
}

async function open(location: S3Location): Promise<Opened> {
  const bucket = await openBucket(location);
  const results = new S3Results(bucket);
  return {
    bucket,
    results,
    joins: new S3Joins(bucket),
    limits: s3Limits(bucket),
    watch: s3Watch(results, location.pollMs),
  };
}
