import { describe, test } from 'vitest';
import { threadPool } from '../../src/pools/threads.ts';
import { poolConformance } from '../../src/testing/pool-conformance.ts';

poolConformance({ describe, test }, { create: threadPool });
