import { busLaws } from './broker-laws-bus.ts';
import { deadLetterLaws } from './broker-laws-dead-letters.ts';
import { delayLaws } from './broker-laws-delays.ts';
import { leaseLaws } from './broker-laws-leases.ts';
import { messageLaws } from './broker-laws-messages.ts';
import { movingLaws } from './broker-laws-moving.ts';
import { processLaws } from './broker-laws-processes.ts';
import { queueLaws } from './broker-laws-queues.ts';
import { type BrokerFixture, BrokerWorld } from './broker-world.ts';
import { type TestRunner, testLaws } from './runner.ts';

/**
 * Defines the tests that every broker has to pass. `factory` makes a store for one test; each `create()` of it is one
 * more connection to that store. What a broker's `features` exclude is not asked of it.
 */
export function brokerConformance(runner: TestRunner, factory: () => Promise<BrokerFixture>): void {
  const makeWorld = async () => new BrokerWorld(await factory());
  const suites = {
    messages: messageLaws,
    leases: leaseLaws,
    delays: delayLaws,
    queues: queueLaws,
    moving: movingLaws,
    'dead letters': deadLetterLaws,
    bus: busLaws,
    processes: processLaws,
  };
  for (const [name, laws] of Object.entries(suites)) {
    runner.describe(`broker: ${name}`, () => testLaws(runner, laws, makeWorld));
  }
}
