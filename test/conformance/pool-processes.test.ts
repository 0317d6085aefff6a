import { describe, test } from 'vitest';
import { processPool } from '../../src/pools/processes.ts';
import { poolConformance } from '../../src/testing/pool-conformance.ts';

poolConformance(
  { describe, test },
  {
    create: processPool,
    recipe: { module: new URL('../../src/pools/processes.ts', import.meta.url).href, factory: 'processPool', args: [] },
  },
);
