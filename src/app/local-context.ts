import { ConfigError, Snooze } from '../errors.ts';
import { newId } from '../util/ids.ts';
import type { Logger } from './logger.ts';
import type { TaskContext } from './tasks/current-task.ts';
import type { RetryOptions } from './tasks/retry-options.ts';

/** The context of a bound task that is called directly, as in a unit test: it has an id, no broker, and states and checkpoints go nowhere. */
export function localContext(task: string, logger: Logger): TaskContext {
  const id = newId();
  return {
    request: {
      id,
      task,
      args: [],
      kwargs: {},
      retries: 0,
      deliveries: 0,
      rootId: id,
      parentId: undefined,
      groupId: undefined,
      queue: '',
      priority: 0,
      eta: undefined,
      expires: undefined,
      hostname: 'local',
      headers: {},
      stamps: {},
      origin: undefined,
      lang: 'ts',
      isEager: false,
    },
    signal: new AbortController().signal,
    logger,
    retry(options?: RetryOptions): never {
      // Without a broker there is no later: the error itself is the honest end.
      throw options?.error ?? new ConfigError(`${task} asked for a retry, but it was called directly, not by a worker`);
    },
    snooze(when) {
      throw new Snooze(when);
    },
    replace(): never {
      throw new ConfigError(`${task} has itself replaced, but it was called directly, not by a worker`);
    },
    addToChord() {
      return Promise.reject(new ConfigError(`${task} is no member of a chord: it was called directly`));
    },
    updateState: async () => {},
    checkpoint: async () => {},
    lastCheckpoint: async () => undefined,
  };
}
