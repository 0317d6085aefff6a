import type { Recipe, Service } from './common.ts';

/** What a pool can do. The core and the conformance suite ask; nobody checks a pool's name. */
export interface PoolFeatures {
  /** Jobs compute at the same time, each on a core of its own. */
  readonly parallel: boolean;
  /** A running job can be killed: `cancel(..., 'hard')`, and time limits that hold against any code. */
  readonly kill: boolean;
  /** What a job has for itself: nothing, a heap and globals (a crash of native code still ends all), or a process. */
  readonly isolation: 'none' | 'heap' | 'process';
}

/** One run of a task. `request` is plain data, so that a pool may send it to a thread or a process. */
export interface PoolJob<Request> {
  /** No two unfinished jobs have the same. */
  readonly id: string;
  readonly request: Request;
  /** What people call it, such as the name of its task: it comes back with the output of the job. */
  readonly label?: string;
  /**
   * Milliseconds after its start at which the job is killed. Where the pool cannot kill, the signal aborts and the job
   * has its outcome, but its body may go on unseen.
   */
  readonly timeLimitMs?: number;
  /** Milliseconds after its start at which its signal aborts with {@link SoftTimeLimitExceeded}. */
  readonly softTimeLimitMs?: number;
}

/** Why a job has no outcome of its own. */
export interface PoolFailure {
  /**
   * - `error`: by its own doing: it threw where nobody caught, called `process.exit()`, or returned what cannot be sent
   * - `timeLimit`: {@link TimeLimitExceeded}
   * - `lost`: {@link WorkerLostError}: the thread or process that ran it died
   * - `cancelled`: the reason given to `cancel`: it was killed, or had not begun
   */
  readonly kind: 'error' | 'timeLimit' | 'lost' | 'cancelled';
  readonly error: Error;
}

/** How a job ended. */
export interface PoolOutcome<Request, Outcome> {
  readonly job: PoolJob<Request>;
  readonly outcome: Outcome;
}

/**
 * Runs one request. Whatever goes wrong should be an outcome; what is thrown becomes a failure of the pool. `signal`
 * aborts when the job should stop, with the reason.
 */
export type PoolRun<Request, Outcome> = (request: Request, signal: AbortSignal) => Outcome | Promise<Outcome>;

/** What every pool is made with. */
export interface PoolOptions<Request, Outcome> {
  /** How many jobs run at once; at least 1. */
  readonly slots: number;
  /** Gets each job once, with its outcome, in batches. */
  onOutcomes(outcomes: readonly PoolOutcome<Request, Outcome>[]): void;
  /** The outcome of a job that could not make one itself. */
  failed(job: PoolJob<Request>, failure: PoolFailure): Outcome;
}

/** Where task bodies run. */
export interface Pool<Request> extends Service {
  /** The name on the command line, such as `async`. */
  readonly name: string;
  readonly features: PoolFeatures;
  /** How many jobs may run at once. */
  readonly slots: number;
  /** How many more jobs would begin at once. */
  readonly free: number;
  /** Jobs that have a slot and no outcome yet. */
  readonly running: number;
  /** Jobs that wait for a slot. */
  readonly waiting: number;
  /** Runs jobs, those beyond the free slots later, in order; each ends in exactly one outcome. */
  submit(jobs: readonly PoolJob<Request>[]): void;
  /**
   * Stops a job. `soft` (the default) aborts its signal with `reason`, and its outcome is what it makes of that. `hard`
   * kills it: its outcome is the failure `cancelled`, at once. A job that has not begun ends so in either mode. Returns
   * false, and does nothing, where no such job is unfinished, or where it would have to be killed and the pool cannot.
   */
  cancel(jobId: string, reason: Error, mode?: 'soft' | 'hard'): boolean;
  /** Takes back those of these jobs that wait for a slot: each ends as the failure `cancelled`. Those that have one go on. */
  withdraw(jobIds: ReadonlySet<string>, reason: Error): void;
  /** Changes how many jobs may run at once. Nothing that runs is stopped. */
  resize(slots: number): void;
  /** Resolves when nothing runs and nothing waits. */
  drained(): Promise<void>;
}

/** A line that a task printed in a thread or process. */
export interface PoolOutput {
  /** The job that ran when it was printed; `undefined` between jobs. */
  readonly jobId: string | undefined;
  /** The label of that job. */
  readonly label: string | undefined;
  readonly stream: 'stdout' | 'stderr';
  /** Without its line end. */
  readonly line: string;
}

/** What a child of a pool runs jobs with: made there by a {@link Recipe}, once. */
export interface PoolRunner<Request, Outcome> {
  readonly run: PoolRun<Request, Outcome>;
  /** Called before the child ends, where it ends by its own or its parent's will. */
  close?(): void | Promise<void>;
}

/** What pools of threads and processes are made with. */
export interface ChildPoolOptions<Request, Outcome> extends PoolOptions<Request, Outcome> {
  /** Makes the {@link PoolRunner} in each child. Its factory may be asynchronous. */
  readonly recipe: Recipe;
  /** How long a child may take to load the module and make its runner, in milliseconds. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** How long `close` of a runner may take before its child is killed, in milliseconds. Default 5,000. */
  readonly closeTimeoutMs?: number;
  /** A child is replaced after so many jobs. Default: never. */
  readonly maxTasksPerChild?: number;
  /** A child that uses more memory after a job is replaced, in KiB: resident set of a process, heap of a thread. Default: never. */
  readonly maxMemoryPerChild?: number;
  /** The most a child's heap may grow to, in MiB; one that wants more dies, and its job is lost. Default: Node's. */
  readonly maxHeapMiB?: number;
  /**
   * How many jobs beyond the one it runs are sent to a child ahead, while others wait for a slot. It saves very short jobs
   * a round trip; a long one holds up those behind it. Default 0.
   */
  readonly lookAhead?: number;
  /** Gets what children print. Default: it goes to the same stream of this process as it came. */
  onOutput?(output: PoolOutput): void;
  /** A child of a started pool died before it was ready; another is tried after `retryMs`. */
  onTrouble?(error: Error, retryMs: number): void;
  /** `free` has grown otherwise than by an outcome. */
  onRoom?(): void;
}
