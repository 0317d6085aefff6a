import type { LovageApp, Running } from '../../app/app.ts';
import type { Config } from '../../app/config.ts';
import { isPassing } from '../../errors.ts';
import { backoffMs } from '../../util/backoff.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { sleep } from '../../util/sleep.ts';

/** After so long without a connection people are told what is waited for. */
const tellAfterMs = 1_000;
/** So long declaring is tried again in any case: where that is the first request (SQS), one that failed means little. */
const patienceMs = 5_000;

/**
 * Opens an application's connections for a worker, and declares its queues. One try waits for a server as long as its
 * driver says (10 s on Redis); with `brokerConnectionRetryOnStartup` more follow. Says what it waits for when that takes a
 * while.
 * @throws StoreError when no try succeeded, ConfigError, and the reason of `signal` when that aborts
 */
export async function firstConnection(
  app: LovageApp,
  queues: readonly string[],
  signal?: AbortSignal,
): Promise<Running> {
  const { logger, config } = app;
  const telling = setTimeout(() => logger.warn({}, `waiting for ${placesOf(app)}`), tellAfterMs);
  const tries = config.brokerConnectionRetryOnStartup ? retryLimit(config) : 0;
  const patientUntil = performance.now() + patienceMs;
  try {
    for (let failures = 0, isOpen = false; ; failures += 1) {
      try {
        const running = await unlessAborted(app.connections(), signal);
        isOpen = true;
        await unlessAborted(running.broker.declareMany(queues.map((name) => ({ name }))), signal);
        return running;
      } catch (error) {
        const isEnough = failures >= tries && !(isOpen && performance.now() < patientUntil);
        if (signal?.aborted || isEnough || !isPassing(error as Error)) throw error;
        logger.warn({ tries: failures + 1 }, `${(error as Error).message}; trying again`);
        await sleep(backoffMs(failures, { startMs: 500, maxMs: 5_000 }), signal);
      }
    }
  } finally {
    clearTimeout(telling);
  }
}

/** How often a lost connection is tried again. */
export function retryLimit({ brokerConnectionMaxRetries: limit }: Pick<Config, 'brokerConnectionMaxRetries'>): number {
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
}

/** The URLs of what an application connects to, masked. */
function placesOf({ config: { broker = 'sqlite://', backend } }: LovageApp): string {
  const urls = [broker, backend || broker].map((place) => (typeof place === 'string' ? maskUrl(place) : place.url));
  return [...new Set(urls)].join(' and ');
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
