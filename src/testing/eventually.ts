import { setTimeout } from 'node:timers/promises';

/** Waits until `check` passes and gives its value; fails with its last error after `ms`. For tests that wait on a condition. */
export async function eventually<T>(check: () => T | Promise<T>, ms = 10_000): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await setTimeout(10);
  }
}

/** Waits until somewhat more than `ms` have passed, by any clock of this machine. For tests of what ends by itself. */
export async function passes(ms: number): Promise<void> {
  await setTimeout(ms + 20);
}
