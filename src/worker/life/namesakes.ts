import type { Logger } from '../../app/logger.ts';
import type { Bus } from '../../contracts/bus.ts';
import { countNamed } from '../../control/inspect.ts';

/** How long others may take to answer. */
const waitMs = 1_000;

/**
 * Warns where another worker has the same node name, as Celery does: remote control would reach both, and monitors take
 * them for one. To be called when the worker answers to its name itself. It never throws: nothing hangs on it.
 */
export async function warnOfNamesakes(bus: Bus, hostname: string, logger: Logger, signal: AbortSignal): Promise<void> {
  try {
    const count = await countNamed(bus, hostname, { timeoutMs: waitMs, signal });
    if (count < 2 || signal.aborted) return;
    const others = count === 2 ? 'another worker has' : `${count - 1} other workers have`;
    logger.warn(
      {},
      `${others} the name ${hostname} as well: remote control reaches all of them, and monitors take them for one. Give each a name of its own, such as -n worker2@%h`,
    );
  } catch (error) {
    logger.debug({ error }, `nobody could be asked whether another worker has the name ${hostname}`);
  }
}
