import { afterAll, beforeAll, describe, test, vi } from 'vitest';
import { s3Backend } from '../../src/backends/s3.ts';
import { backendConformance } from '../../src/testing/index.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';

let server: S3Server;
let url: string;

// Some laws take ten thousand requests.
vi.setConfig({ testTimeout: 600_000 });

beforeAll(async () => {
  server = await startS3();
  url = await server.makeBucket('results/conformance');
});
afterAll(() => server[Symbol.asyncDispose]());

backendConformance({ describe, test }, async () => {
  const module = new URL('../../src/backends/s3.ts', import.meta.url).href;
  const recipe = { module, factory: 's3Backend', args: [url] };
  return { create: () => s3Backend(url), cleanup: async () => {}, recipe, patience: 6 };
});
