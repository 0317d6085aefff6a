import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // On two cores: many suites wait for stores that count in seconds, so that three at once leave no core idle.
    maxWorkers: 3,
    // Generous: many tests start processes, and a busy machine is slow; none waits for time to pass.
    testTimeout: 90_000,
    hookTimeout: 90_000,
  },
});
