import { afterAll, beforeAll, describe, test, vi } from 'vitest';
import { dynamodbBackend } from '../../src/backends/dynamodb.ts';
import { backendConformance } from '../../src/testing/index.ts';
import { type DynamodbServer, startDynamodb } from '../support/dynamodb-server.ts';

let server: DynamodbServer;
let url: string;

// Some laws take ten thousand requests.
vi.setConfig({ testTimeout: 600_000 });

beforeAll(async () => {
  server = await startDynamodb();
  url = await server.makeTable('celery');
});
afterAll(() => server[Symbol.asyncDispose]());

backendConformance({ describe, test }, async () => {
  const module = new URL('../../src/backends/dynamodb.ts', import.meta.url).href;
  const recipe = { module, factory: 'dynamodbBackend', args: [url] };
  return { create: () => dynamodbBackend(url), cleanup: async () => {}, recipe, patience: 6 };
});
