import { chaosLaws } from './pool-laws-chaos.ts';
import { childLaws } from './pool-laws-children.ts';
import { crashLaws } from './pool-laws-crashes.ts';
import { jobLaws } from './pool-laws-jobs.ts';
import { stoppingLaws } from './pool-laws-stopping.ts';
import { type PoolFixture, PoolWorld } from './pool-world.ts';
import { type TestRunner, testLaws } from './runner.ts';

/** Defines the tests that every pool has to pass. What a pool's `features` exclude is not asked of it. */
export function poolConformance(runner: TestRunner, fixture: PoolFixture): void {
  const suites = { jobs: jobLaws, stopping: stoppingLaws, crashes: crashLaws, children: childLaws, chaos: chaosLaws };
  for (const [name, laws] of Object.entries(suites)) {
    runner.describe(`pool: ${name}`, () => testLaws(runner, laws, async () => new PoolWorld(fixture)));
  }
}
