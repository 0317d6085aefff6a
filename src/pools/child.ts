import type { Recipe } from '../contracts/common.ts';
import type { PoolOutput } from '../contracts/pool.ts';
import { ConfigError, WorkerLostError } from '../errors.ts';
import type { ChildJob } from './child-job.ts';
import type { ChildEnd, ChildHandle, ChildKind } from './child-kind.ts';
import type { AboutJob, FromChild, ToChild } from './child-messages.ts';
import { Lines } from './lines.ts';
import { packError, unpackError } from './packed-error.ts';
import { type TryWrite, unsendable } from './packed-value.ts';

/** How many lines that a starting child printed are kept, for the error where it dies. */
const keptLines = 20;

export interface PoolChildOptions {
  readonly recipe: Recipe;
  readonly maxMemoryKiB: number;
  readonly startTimeoutMs: number;
  readonly closeTimeoutMs: number;
}

/** What a pool hears of one of its children. */
export interface PoolChildEvents<Request> {
  onReady(child: PoolChild<Request>): void;
  /** A message about a job that this child has. */
  onJob(child: PoolChild<Request>, entry: ChildJob<Request>, message: AboutJob): void;
  /** A job could not be sent. */
  onUnsendable(child: PoolChild<Request>, entry: ChildJob<Request>, error: Error): void;
  /** It has grown too large. */
  onGrown(child: PoolChild<Request>): void;
  /** It takes no more jobs. */
  onLeaving(child: PoolChild<Request>): void;
  onOutput(output: PoolOutput): void;
  /** Once, after everything else. */
  onEnd(child: PoolChild<Request>, end: ChildEnd): void;
}

/** One thread or process, as its pool sees it. */
export class PoolChild<Request> {
  /** What it was sent and has not ended, in order. */
  readonly jobs = new Map<string, ChildJob<Request>>();
  /** How many jobs it was sent in its life. */
  taken = 0;
  /** It takes over when this one is used up. */
  heir: PoolChild<Request> | undefined;
  /** Why it did not become ready. */
  startError: Error | undefined;
  /** It has begun a job, so it is of use. */
  hasProved = false;
  readonly #handle: ChildHandle;
  readonly #tryWrite: TryWrite;
  readonly #options: PoolChildOptions;
  readonly #events: PoolChildEvents<Request>;
  readonly #raw: { readonly stdout: Lines; readonly stderr: Lines };
  #state: 'starting' | 'ready' | 'leaving' = 'starting';
  #timer: NodeJS.Timeout | undefined;
  #printed: string[] = [];
  #outbox: ToChild[] = [];
  /** The last one that began. */
  #begun: ChildJob<Request> | undefined;

  constructor(kind: ChildKind, options: PoolChildOptions, events: PoolChildEvents<Request>) {
    this.#tryWrite = kind.tryWrite;
    this.#options = options;
    this.#events = events;
    this.#raw = {
      stdout: new Lines((line) => this.#print('stdout', line, this.#runningId)),
      stderr: new Lines((line) => this.#print('stderr', line, this.#runningId)),
    };
    this.#handle = kind.start({
      onMessages: (messages) => {
        for (const message of messages) this.#take(message);
      },
      onRaw: (stream, chunk) => this.#raw[stream].write(chunk),
      onEnd: (end) => this.#ended(end),
    });
    this.#timer = setTimeout(() => this.#tooSlow(), options.startTimeoutMs);
    this.#post({ kind: 'open', recipe: options.recipe, maxMemoryKiB: options.maxMemoryKiB });
  }

  get title(): string {
    return this.#handle.title;
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  get isStarting(): boolean {
    return this.#state === 'starting';
  }

  send(entry: ChildJob<Request>): void {
    const { id, request } = entry.job;
    entry.child = this;
    this.taken += 1;
    this.jobs.set(id, entry);
    this.#post({ kind: 'run', id, request });
  }

  cancel(id: string, reason: Error): void {
    this.#post({ kind: 'cancel', id, reason: packError(reason) });
  }

  /** Lets it end by itself, after what it has begun; the rest comes back. One that is not ready yet is killed. */
  close(): void {
    if (this.#state === 'starting') {
      this.kill();
    } else {
      this.#leave();
      this.#post({ kind: 'close' });
    }
  }

  kill(): void {
    this.#state = 'leaving';
    clearTimeout(this.#timer);
    this.#handle.kill();
  }

  #take(message: FromChild): void {
    if (message.kind === 'ready') this.#ready();
    else if (message.kind === 'unfit') this.startError = unpackError(message.error);
    else if (message.kind === 'output') this.#print(message.stream, message.line, message.id);
    else if (message.kind === 'grown') this.#events.onGrown(this);
    else if (message.kind === 'leaving') {
      this.#leave();
      this.#events.onLeaving(this);
    } else {
      const entry = this.jobs.get(message.id);
      // It has its outcome already.
      if (!entry) return;
      if (message.kind === 'begun') this.#begun = entry;
      this.#events.onJob(this, entry, message);
    }
  }

  #ready(): void {
    if (this.#state !== 'starting') return;
    clearTimeout(this.#timer);
    this.#state = 'ready';
    this.#printed = [];
    this.#events.onReady(this);
  }

  #leave(): void {
    this.#state = 'leaving';
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#handle.kill(), this.#options.closeTimeoutMs);
  }

  get #runningId(): string | undefined {
    const id = this.#begun?.job.id;
    return id !== undefined && this.jobs.has(id) ? id : undefined;
  }

  #print(stream: 'stdout' | 'stderr', line: string, jobId: string | undefined): void {
    if (this.#state === 'starting' && this.#printed.push(line) > keptLines) this.#printed.shift();
    // Also what a job printed before it was killed is still its own.
    const job = jobId !== undefined && this.#begun?.job.id === jobId ? this.#begun.job : undefined;
    this.#events.onOutput({ jobId, label: job?.label, stream, line });
  }

  #tooSlow(): void {
    const { startTimeoutMs } = this.#options;
    this.startError = new ConfigError(
      `it was not ready within ${startTimeoutMs / 1000} s. Load less in the module, or allow more (startTimeoutMs).`,
    );
    this.kill();
  }

  #ended(end: ChildEnd): void {
    clearTimeout(this.#timer);
    this.#raw.stdout.flush();
    this.#raw.stderr.flush();
    if (this.#state === 'starting') this.startError ??= lostError(this.title, end, this.#printed);
    this.#state = 'leaving';
    this.#events.onEnd(this, end);
  }

  /** What is said in one turn goes out together. */
  #post(message: ToChild): void {
    if (this.#outbox.push(message) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const messages = this.#outbox;
    this.#outbox = [];
    try {
      this.#handle.post(messages);
    } catch {
      for (const message of messages) this.#postAlone(message);
    }
  }

  #postAlone(message: ToChild): void {
    try {
      this.#handle.post([message]);
    } catch (cause) {
      const entry = message.kind === 'run' ? this.jobs.get(message.id) : undefined;
      if (!entry) throw cause;
      this.jobs.delete(entry.job.id);
      this.#events.onUnsendable(
        this,
        entry,
        unsendable('the request of a job', entry.job.request, this.#tryWrite, cause),
      );
    }
  }
}

/** Tells how a child died. */
export function lostError(
  title: string,
  { exitCode, signal, error }: ChildEnd,
  printed: readonly string[] = [],
): WorkerLostError {
  const how = error
    ? `ended with: ${error.message}`
    : signal !== null
      ? `was ended by ${signal}${hints.get(signal) ?? ''}`
      : `exited with code ${exitCode}`;
  const last = printed.length > 0 ? `. It printed:\n${printed.join('\n')}` : '';
  return new WorkerLostError(`the ${title} ${how}${last}`, { exitCode, signal, cause: error });
}

const hints: ReadonlyMap<string, string> = new Map([
  ['SIGKILL', ' (by somebody, or because memory ran out)'],
  ['SIGABRT', ' (by native code, or because its heap was full)'],
]);
