import type { Logger } from '../../app/logger.ts';
import type { Results } from '../../app/results/results.ts';
import { asksToTerminate, storeRevoked } from '../../app/results/revoke.ts';
import { maxTimerMs } from '../../util/sleep.ts';

export interface RevocationsOptions {
  readonly results: Results;
  /** How often held tasks are looked up: once for each renewal of their leases. */
  readonly everyMs: number;
  /** Ids of tasks that are held, and were so for a time. */
  held(sinceMs: number): readonly string[];
  /** Ends tasks: those that have not begun, and where the value says so those that run. */
  revoke(revoked: ReadonlyMap<string, boolean>): void;
  readonly logger: Logger;
}

/** Revocations that were heard of are remembered up to so many, the latest. */
const maxHeard = 50_000;

/**
 * What a worker knows of revoked tasks. Those in the result backend reach workers that were not up; before a task runs the
 * intake looks there, and while it is held this does. Those that come by remote control are known at once, and stored.
 */
export class Revocations {
  readonly #options: RevocationsOptions;
  readonly #heard = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(options: RevocationsOptions) {
    this.#options = options;
  }

  start(): void {
    if (!this.#options.results.backend) return;
    const onTick = () => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
    };
    this.#timer = setInterval(onTick, Math.min(this.#options.everyMs, maxTimerMs)).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Whether a task was revoked by remote control. */
  has(taskId: string | undefined): boolean {
    return taskId !== undefined && this.#heard.has(taskId);
  }

  /** Takes note of tasks that were revoked by remote control. Resolves when workers that come later know, too. */
  async add(taskIds: readonly string[], terminate: boolean): Promise<void> {
    const { results, revoke, logger } = this.#options;
    for (const id of taskIds) {
      this.#heard.delete(id);
      this.#heard.add(id);
    }
    for (const id of this.#heard) {
      if (this.#heard.size <= maxHeard) break;
      this.#heard.delete(id);
    }
    revoke(new Map(taskIds.map((id) => [id, terminate])));
    if (!results.backend) return;
    await storeRevoked(results, taskIds, terminate).catch((error: Error) => {
      logger.warn({ error, tasks: taskIds.length }, 'revocations could not be stored: only workers that are up know');
    });
  }

  async #look(): Promise<void> {
    const { results, everyMs, held, revoke, logger } = this.#options;
    const ids = held(everyMs);
    if (ids.length === 0) return;
    try {
      const records = await results.required().fetchMany(ids);
      const revoked = records.flatMap((record, i): [string, boolean][] => {
        const id = ids[i];
        if (record?.state !== 'REVOKED' || id === undefined) return [];
        return [[id, asksToTerminate(results.decode(record))]];
      });
      if (revoked.length > 0) revoke(new Map(revoked));
    } catch (error) {
      logger.warn({ error }, 'cannot look for revoked tasks: the result backend does not answer');
    }
  }
}
