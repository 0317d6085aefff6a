import type { Service } from './common.ts';

/** One run of a task. `request` is plain data, so that a pool may send it to a thread or a process. */
export interface PoolJob<Request> {
  readonly id: string;
  readonly request: Request;
}

/** How a job ended. */
export interface PoolOutcome<Request, Outcome> {
  readonly job: PoolJob<Request>;
  readonly outcome: Outcome;
}

/** Where task bodies run. It is made with a function that runs one request and with a listener for what comes of it. */
export interface Pool<Request> extends Service {
  /** The name on the command line, such as `async`. */
  readonly name: string;
  /** How many runs may go on at once. */
  readonly slots: number;
  /** How many more jobs it would start at once. */
  readonly free: number;
  readonly running: number;
  /** Starts jobs; each ends in exactly one outcome. */
  submit(jobs: readonly PoolJob<Request>[]): void;
  /** Asks a running job to stop, with the reason its task gets to see. Returns false where no such job runs. */
  cancel(jobId: string, reason: Error): boolean;
  resize(slots: number): void;
  /** Resolves when nothing runs. */
  drained(): Promise<void>;
}
