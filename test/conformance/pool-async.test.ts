import { describe, test } from 'vitest';
import { AsyncPool } from '../../src/pools/async.ts';
import { poolConformance } from '../../src/testing/pool-conformance.ts';

poolConformance({ describe, test }, { create: (options) => new AsyncPool(options) });
