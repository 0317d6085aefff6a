import type { AddressInfo } from 'node:net';
import dynalite from 'dynalite';
import { dynamodbBackend } from '../../src/backends/dynamodb.ts';
import { setUp } from './set-up.ts';

/** A stand-in for DynamoDB in this process. */
export interface DynamodbServer extends AsyncDisposable {
  readonly port: number;
  /** Where it answers, such as `http://localhost:4567`. */
  readonly endpoint: string;
  /** A URL of a table that is there, made as `lovage setup` makes it. */
  makeTable(name: string): Promise<string>;
}

export async function startDynamodb(): Promise<DynamodbServer> {
  const server = dynalite({ createTableMs: 0 });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    endpoint: `http://localhost:${port}`,
    async makeTable(name) {
      const url = `dynamodb://test:test@localhost:${port}/${name}?request_timeout=80&connect_timeout=80`;
      await setUp(dynamodbBackend(url).setup);
      return url;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections?.();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
