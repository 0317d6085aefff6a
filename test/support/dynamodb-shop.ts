/** A table of a stand-in for DynamoDB, seen by a backend through a proxy that counts and breaks requests, and by the SDK itself. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { dynamodbBackend } from '../../src/backends/dynamodb.ts';
import type { ResultBackend, ResultRecord } from '../../src/contracts/backend.ts';
import type { DynamodbOptions } from '../../src/stores/dynamodb/url.ts';
import { encodeResult } from '../../src/wire/result.ts';
import { type AwsProxy, startAwsProxy } from './aws-proxy.ts';
import { type DynamodbServer, startDynamodb } from './dynamodb-server.ts';

export class DynamodbShop implements AsyncDisposable {
  readonly server: DynamodbServer;
  readonly proxy: AwsProxy;
  /** Past the proxy. */
  readonly raw: DynamoDBClient;
  readonly #backends: ResultBackend[] = [];
  #tables = 0;

  private constructor(server: DynamodbServer, proxy: AwsProxy) {
    this.server = server;
    this.proxy = proxy;
    this.raw = new DynamoDBClient({
      endpoint: server.endpoint,
      region: 'us-east-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
  }

  static async open(): Promise<DynamodbShop> {
    const server = await startDynamodb();
    return new DynamodbShop(server, await startAwsProxy(server.port));
  }

  /** A new table, by its name. */
  async table(): Promise<string> {
    this.#tables += 1;
    const name = `table${this.#tables}`;
    await this.server.makeTable(name);
    return name;
  }

  /** A started backend on a table, through the proxy. */
  async backend(table: string, options: DynamodbOptions = {}): Promise<ResultBackend> {
    const backend = dynamodbBackend(this.url(table), options);
    await backend.start();
    this.#backends.push(backend);
    return backend;
  }

  url(table: string): string {
    return `dynamodb://test:test@localhost:${this.proxy.port}/${table}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#backends) await backend.stop();
    this.raw.destroy();
    await this.proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

export function record(taskId: string, state: string, result: unknown = 1): ResultRecord {
  return { taskId, state, document: encodeResult({ taskId, state, result, children: [] }, { serializer: 'json' }) };
}
