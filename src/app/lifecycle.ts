import type { LovageApp } from './app.ts';
import { dispose } from './resource.ts';
import type { WorkerEvent, WorkerInfo } from './worker-events.ts';

export interface LifecycleOptions {
  /** The worker's node name. */
  readonly hostname: string;
  /** True in a child process or thread of a pool, which has resources of its own but no life as a worker. */
  readonly child?: boolean;
}

/** After the end of the grace time, listeners and resources may take so long to end. */
const lastMs = 500;

/**
 * The life of one process of a worker, as the application sees it: its task files are loaded, its listeners told, its
 * resources opened and closed. A worker calls `start`, `ready`, `stopping` and `stop`; a pool's child `start` and `stop`.
 */
export class Lifecycle {
  readonly #app: LovageApp;
  readonly #info: WorkerInfo;
  #stopping: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(app: LovageApp, { hostname, child = false }: LifecycleOptions) {
    this.#app = app;
    this.#info = { hostname, child, logger: app.logger };
  }

  /**
   * Before anything else: loads task files, opens resources. A listener that throws here keeps the worker from starting.
   * @throws ResourceError, or whatever a listener or a task file throws; then call `abandon`
   */
  async start(): Promise<void> {
    const { resources, taskInstances } = this.#app;
    await this.#app.loadTasks();
    if (!this.#info.child) await this.#tell('workerInit');
    await resources.hold(this);
    taskInstances.hold(this);
    await this.#tell('workerProcessInit');
  }

  /** Closes what is open, and tells nobody: for a start that failed. */
  async abandon(): Promise<void> {
    await this.#app.resources.release(this);
    for (const task of this.#app.taskInstances.release(this)) await this.#dispose(task);
  }

  /** The worker takes messages. */
  async ready(): Promise<void> {
    await this.#inform('workerReady');
  }

  /** The worker takes no more messages; it does not wait for those who hear of it. */
  stopping(): void {
    this.#stopping ??= this.#info.child ? Promise.resolve() : this.#inform('workerShuttingDown');
  }

  /**
   * After the last task: tells listeners, then closes resources and disposes of instances of task classes. Never throws.
   * When `hurry` aborts, it waits only a moment longer.
   */
  async stop(hurry: AbortSignal): Promise<void> {
    this.#stopped ??= this.#stop();
    const tooLong = Promise.withResolvers<void>();
    let timer: NodeJS.Timeout | undefined;
    const onHurry = () => {
      timer = setTimeout(() => {
        this.#app.logger.warn({}, 'listeners or resources did not end within the grace time; they are left behind');
        tooLong.resolve();
      }, lastMs);
    };
    if (hurry.aborted) onHurry();
    else hurry.addEventListener('abort', onHurry, { once: true });
    await Promise.race([this.#stopped, tooLong.promise]);
    hurry.removeEventListener('abort', onHurry);
    clearTimeout(timer);
  }

  async #stop(): Promise<void> {
    this.stopping();
    await this.#stopping;
    await this.#inform('workerProcessShutdown');
    if (!this.#info.child) await this.#inform('workerShutdown');
    await this.abandon();
  }

  async #dispose(task: { readonly name: string }): Promise<void> {
    try {
      await dispose(task);
    } catch (error) {
      this.#app.logger.error({ task: task.name, error }, 'the instance of a task class could not be disposed of');
    }
  }

  async #tell(event: WorkerEvent): Promise<void> {
    for (const listener of this.#app.listeners.of(event)) await listener(this.#info);
  }

  /** Listeners that can stop nothing any more: each is told, whatever the others do. */
  async #inform(event: WorkerEvent): Promise<void> {
    for (const listener of this.#app.listeners.of(event)) {
      try {
        await listener(this.#info);
      } catch (error) {
        this.#app.logger.error({ event, error }, 'a listener threw');
      }
    }
  }
}
