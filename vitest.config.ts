import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Two workers: the suites start processes of their own, and small CI machines have two cores.
    maxWorkers: 2,
    // Generous: many tests start processes, and a busy machine is slow; none waits for time to pass.
    testTimeout: 90_000,
    hookTimeout: 90_000,
  },
});
