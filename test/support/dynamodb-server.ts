import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { dynamodbBackend } from '../../src/backends/dynamodb.ts';
import { setUp } from './set-up.ts';

/** A stand-in for DynamoDB on this machine. */
export interface DynamodbServer extends AsyncDisposable {
  readonly port: number;
  /** Where it answers, such as `http://localhost:4567`. */
  readonly endpoint: string;
  /** A URL of a table that is there, made as `lovage setup` makes it. */
  makeTable(name: string): Promise<string>;
}

export async function startDynamodb(): Promise<DynamodbServer> {
  const worker = new Worker(new URL('./dynamodb-server-thread.ts', import.meta.url), { execArgv: [] });
  const [port] = (await once(worker, 'message')) as [number];
  return {
    port,
    endpoint: `http://localhost:${port}`,
    async makeTable(name) {
      const url = `dynamodb://test:test@localhost:${port}/${name}?request_timeout=80&connect_timeout=80`;
      await setUp(dynamodbBackend(url).setup);
      return url;
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate();
    },
  };
}
