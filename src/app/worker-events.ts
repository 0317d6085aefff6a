import { ConfigError } from '../errors.ts';
import { nearest } from '../util/nearest.ts';
import type { Logger } from './logger.ts';

/** Whom a listener of worker events hears from. */
export interface WorkerInfo {
  /** The worker's node name, such as `celery@host`. */
  readonly hostname: string;
  readonly logger: Logger;
  /** True in a child process or thread of a pool. */
  readonly child: boolean;
}

/** Celery's signals of a worker's life, in the order in which they come. */
export const workerEvents = [
  'workerInit',
  'workerProcessInit',
  'workerReady',
  'workerShuttingDown',
  'workerProcessShutdown',
  'workerShutdown',
] as const;

export type WorkerEvent = (typeof workerEvents)[number];
export type WorkerListener = (worker: WorkerInfo) => void | Promise<void>;

/** Who listens to the events of an application's workers. */
export class WorkerListeners {
  readonly #byEvent = new Map<WorkerEvent, WorkerListener[]>();

  /**
   * Returns what ends the listening.
   * @throws ConfigError for an event that does not exist
   */
  add(event: WorkerEvent, listener: WorkerListener): () => void {
    if (!workerEvents.includes(event)) {
      const close = nearest(String(event), workerEvents);
      const hint = close ? `did you mean '${close}'?` : `there are ${workerEvents.join(', ')}`;
      throw new ConfigError(`app.on: there is no event '${String(event)}'; ${hint}`);
    }
    if (typeof listener !== 'function')
      throw new ConfigError(`app.on('${event}'): expected a function, got ${typeof listener}`);
    this.#byEvent.set(event, [...this.of(event), listener]);
    return () => {
      this.#byEvent.set(
        event,
        this.of(event).filter((one) => one !== listener),
      );
    };
  }

  /** In the order in which they were added. */
  of(event: WorkerEvent): readonly WorkerListener[] {
    return this.#byEvent.get(event) ?? [];
  }
}
