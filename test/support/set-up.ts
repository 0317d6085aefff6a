import assert from 'node:assert/strict';
import type { SetupStep, StoreNeeds, StoreSetup } from '../../src/contracts/setup.ts';

/** What an application with nothing special needs. */
export const needs: StoreNeeds = {
  queues: ['celery'],
  maxDeliveries: 20,
  resultTtlMs: 24 * 3600 * 1000,
  timeLimitMs: undefined,
  concurrency: 1,
};

/** Creates what a store needs, as `lovage setup` does, and gives the steps. */
export async function setUp(setup: StoreSetup | undefined): Promise<SetupStep[]> {
  assert.ok(setup);
  const steps = await setup.plan(needs);
  for (const step of steps) await step.apply?.();
  return steps;
}
