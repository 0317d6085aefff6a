import { describe, test } from 'vitest';
import { SoloPool } from '../../src/pools/solo.ts';
import { poolConformance } from '../../src/testing/pool-conformance.ts';

poolConformance({ describe, test }, { create: (options) => new SoloPool(options) });
