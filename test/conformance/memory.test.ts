import { randomUUID } from 'node:crypto';
import { describe, test } from 'vitest';
import { memoryBackend } from '../../src/backends/memory.ts';
import { memoryBroker } from '../../src/brokers/memory.ts';
import { backendConformance, brokerConformance } from '../../src/testing/index.ts';

brokerConformance({ describe, test }, async () => {
  const url = `memory://${randomUUID()}`;
  return { create: () => memoryBroker(url), cleanup: async () => {} };
});

backendConformance({ describe, test }, async () => {
  const url = `memory://${randomUUID()}`;
  return { create: () => memoryBackend(url), cleanup: async () => {} };
});
