import { loadSerializers } from '../wire/serializers.ts';
import { claimLaws } from './backend-laws-claims.ts';
import { joinLaws } from './backend-laws-joins.ts';
import { limitProcessLaws } from './backend-laws-limits-processes.ts';
import { rateLaws } from './backend-laws-rates.ts';
import { resultLaws } from './backend-laws-results.ts';
import { watchLaws } from './backend-laws-watch.ts';
import { type BackendFixture, BackendWorld } from './backend-world.ts';
import { type TestRunner, testLaws } from './runner.ts';

/**
 * Defines the tests that every result backend has to pass. `factory` makes a store for one test; each `create()` of it
 * is one more connection to that store. What a backend's `features` exclude is not asked of it.
 */
export function backendConformance(runner: TestRunner, factory: () => Promise<BackendFixture>): void {
  const makeWorld = async () => {
    await loadSerializers(['yaml', 'msgpack']);
    return new BackendWorld(await factory());
  };
  const suites = {
    results: resultLaws,
    watch: watchLaws,
    joins: joinLaws,
    claims: claimLaws,
    rates: rateLaws,
    'limits between processes': limitProcessLaws,
  };
  for (const [name, laws] of Object.entries(suites)) {
    runner.describe(`result backend: ${name}`, () => testLaws(runner, laws, makeWorld));
  }
}
