// Tests that every broker, result backend and pool has to pass, and small helpers to write more.

export { backendConformance } from './backend-conformance.ts';
export type { BackendFixture } from './backend-world.ts';
export { brokerConformance } from './broker-conformance.ts';
export type { BrokerFixture } from './broker-world.ts';
export { eventually } from './eventually.ts';
export { testMessage } from './message.ts';
export { poolConformance } from './pool-conformance.ts';
export type { PoolFixture } from './pool-world.ts';
export type { TestRunner } from './runner.ts';
