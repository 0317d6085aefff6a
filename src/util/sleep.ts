/** The longest time that a timer can wait: one for longer would fire at once. About 25 days. */
export const maxTimerMs = 2 ** 31 - 1;

/** Resolves after `ms`, or at once when `signal` aborts; it never rejects. Returns whether the whole time passed. */
export function sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(false);
    const onAbort = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener('abort', onAbort);
        resolve(true);
      },
      Math.min(ms, maxTimerMs),
    );
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
