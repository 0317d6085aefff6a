/**
 * Every error class of Lovage, sorted by who must act on it.
 *
 * Each class has a stable `code` (listed in docs/errors.md, held to it by a law test) and says whether trying again
 * can help (`retryable`). A message says what was expected, what came, and what to do.
 */

/** What all errors of Lovage share. Catch it to tell Lovage's failures from your own. */
export class LovageError extends Error {
  /** Stable identifier, for switching on and for looking up in docs/errors.md. */
  readonly code: string = 'LOVAGE';
  /** True when the same call may succeed later with nothing changed. */
  readonly retryable: boolean = false;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
  }
}

/** Whether trying again can help. Errors that are not ours are taken for passing: a network, a disk. */
export function isPassing(error: Error): boolean {
  return !(error instanceof LovageError) || error.retryable;
}

// --- The programmer must act: the code or the configuration is wrong. ---

/** An option, URL or call is wrong. Raised before anything is sent. */
export class ConfigError extends LovageError {
  override readonly code: string = 'CONFIG';
}

/** An optional package that the chosen broker, backend or codec needs is not installed. */
export class MissingPackageError extends ConfigError {
  override readonly code = 'MISSING_PACKAGE';
}

/** A task of this name exists already, or none of this name is registered here. */
export class TaskRegistryError extends ConfigError {
  override readonly code = 'TASK_REGISTRY';
}

/** An option that exists but is not supported by this version, pool or broker. */
export class NotSupportedError extends ConfigError {
  override readonly code = 'NOT_SUPPORTED';
}

// --- The sender must act: the message or the value is wrong. ---

/** A value cannot be written in the chosen serializer. `path` says where in the value. */
export class SerializationError extends LovageError {
  override readonly code: string = 'SERIALIZATION';
}

/** Bytes that came from outside are not what their headers say. */
export class DecodeError extends LovageError {
  override readonly code: string = 'DECODE';
}

/** The content type is not in the accept list (pickle never is). */
export class ContentDisallowedError extends DecodeError {
  override readonly code = 'CONTENT_DISALLOWED';
}

/** A message is larger than the broker or the configuration allows. */
export class MessageTooLargeError extends LovageError {
  override readonly code = 'MESSAGE_TOO_LARGE';
}

/** Arguments do not match the task's parameters or its schema. Never retried. */
export class ArgumentsError extends LovageError {
  override readonly code = 'ARGUMENTS';
}

// --- The operator must act: a server, a file or the network is in trouble. ---

/** A broker or result store could not do what was asked. */
export class StoreError extends LovageError {
  override readonly code: string = 'STORE';
  override readonly retryable: boolean = true;
}

/** A store is held by somebody else for longer than the configured wait. */
export class StoreLockedError extends StoreError {
  override readonly code = 'STORE_LOCKED';
}

/** A store's file or schema is damaged, foreign or from another version. */
export class StoreCorruptError extends StoreError {
  override readonly code = 'STORE_CORRUPT';
  override readonly retryable = false;
}

/** A store may be read but not written. */
export class StoreReadOnlyError extends StoreError {
  override readonly code = 'STORE_READ_ONLY';
  override readonly retryable = false;
}

/**
 * A message is no longer leased to this consumer, or a key no longer claimed by this holder: it was settled or ended, or
 * its lease ran out and somebody else may have it.
 */
export class LeaseLostError extends LovageError {
  override readonly code = 'LEASE_LOST';
}

/** Messages cannot be moved on before somebody decides or stops something. Those under way are in the journal. */
export class MigrationError extends LovageError {
  override readonly code = 'MIGRATION';
}

/** A worker received nothing although messages waited and it had free slots; it stopped, so as to be started again. */
export class WorkerStuckError extends LovageError {
  override readonly code = 'WORKER_STUCK';
  override readonly retryable = true;
}

/** A store refused who we are or what we may do: no credentials, an unknown key, a missing permission. */
export class StoreAccessError extends StoreError {
  override readonly code = 'STORE_ACCESS';
  override readonly retryable = false;
}

/** A queue, table or bucket of a store does not exist, and is not made by use. */
export class StoreMissingError extends StoreError {
  override readonly code = 'STORE_MISSING';
  override readonly retryable = false;
}

/** Some messages of a batch were not sent; the others were. */
export class PublishError extends StoreError {
  override readonly code = 'PUBLISH';
  /** Position in the batch, and why. */
  readonly failures: readonly { readonly index: number; readonly error: Error }[];
  /** The ids of the whole batch, in its order: those that are not among the failures were sent. */
  readonly taskIds: readonly string[];

  constructor(failures: readonly { readonly index: number; readonly error: Error }[], taskIds: readonly string[]) {
    const [first] = failures;
    super(
      `${failures.length} of ${taskIds.length} messages were not sent; the first, number ${first?.index}: ${first?.error.message}`,
      { cause: first?.error },
    );
    this.failures = failures;
    this.taskIds = taskIds;
  }
}

// --- The caller of a result must act: a task ended otherwise than by success. ---

/** `get()` waited as long as it was told to. The task itself goes on. */
export class TimeoutError extends LovageError {
  override readonly code = 'TIMEOUT';
  override readonly retryable = true;
}

/** What a task raised in another process, where its class is not registered here. */
export class RemoteTaskError extends LovageError {
  override readonly code = 'REMOTE_TASK';
  /** The class name where it was raised, such as `ValueError`. */
  readonly type: string;
  /** The module where that class lives, such as `builtins`; empty if unknown. */
  readonly module: string;
  /** The constructor arguments, as they came over the wire. */
  readonly args: readonly unknown[];
  /** The stack or Python traceback of the process that raised it, where it was sent. */
  remoteStack: string | undefined;

  constructor(type: string, module: string, args: readonly unknown[]) {
    const text = args.length === 0 ? '' : args.map((a) => (typeof a === 'string' ? a : JSON.stringify(a))).join(', ');
    super(text === '' ? type : `${type}: ${text}`);
    this.type = type;
    this.module = module;
    this.args = args;
  }
}

/** The task was revoked, before it ran or while it did, or it expired (`message` says which). */
export class TaskRevokedError extends LovageError {
  override readonly code = 'TASK_REVOKED';
}

/** A worker met a task name that it does not have. */
export class NotRegisteredError extends LovageError {
  override readonly code = 'NOT_REGISTERED';
}

/** A task asked to be retried more often than its `maxRetries` allows. */
export class MaxRetriesExceededError extends LovageError {
  override readonly code = 'MAX_RETRIES_EXCEEDED';
}

/** Thrown by a task to fail for good: no automatic retry, whatever `autoretryFor` says. Give the reason as `cause`. */
export class NonRetryableError extends LovageError {
  override readonly code = 'NON_RETRYABLE';
}

/** A message was delivered more often than `maxDeliveries`: its workers probably died of it. */
export class DeliveryLimitError extends LovageError {
  override readonly code = 'DELIVERY_LIMIT';
}

/** A member of a chord did not succeed, so its body will not run. */
export class ChordError extends LovageError {
  override readonly code = 'CHORD';
}

/** A task ran longer than its hard time limit and was stopped. */
export class TimeLimitExceeded extends LovageError {
  override readonly code = 'TIME_LIMIT_EXCEEDED';
  /** As Celery's class has them. */
  readonly args: readonly unknown[];

  /** `limit` in seconds, or a text of one's own. */
  constructor(limit: number | string) {
    super(typeof limit === 'number' ? `the task ran longer than its hard time limit of ${limit} s` : limit);
    this.args = [limit];
  }
}

/** Why `signal` aborts at the soft time limit: the task should tidy up and end before the hard one stops it. */
export class SoftTimeLimitExceeded extends LovageError {
  override readonly code = 'SOFT_TIME_LIMIT_EXCEEDED';
  /** As Celery's class has them; its own workers send none. */
  readonly args: readonly unknown[];

  /** `limit` in seconds, or a text of one's own. */
  constructor(limit?: number | string) {
    const told = limit === undefined ? '' : ` of ${limit} s`;
    super(typeof limit === 'string' ? limit : `the task ran longer than its soft time limit${told}`);
    this.args = limit === undefined ? [] : [limit];
  }
}

/** The thread or process that ran the task died under it: killed, crashed or out of memory. */
export class WorkerLostError extends LovageError {
  override readonly code = 'WORKER_LOST';
  override readonly retryable = true;
  /** With which it exited; `null` where a signal ended it or it is not known. */
  readonly exitCode: number | null;
  /** The name of the signal that ended it, such as `SIGKILL`; `null` where none did. */
  readonly signal: string | null;

  constructor(
    message: string,
    {
      exitCode = null,
      signal = null,
      cause,
    }: { exitCode?: number | null; signal?: string | null; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.exitCode = exitCode;
    this.signal = signal;
  }
}

/** A task called `process.exit()`: that task fails, the worker goes on. */
export class TaskExitError extends LovageError {
  override readonly code = 'TASK_EXIT';
}

/** Why `signal` aborts when a worker stops: the task will be run again elsewhere. */
export class WorkerShutdownError extends LovageError {
  override readonly code = 'WORKER_SHUTDOWN';
  override readonly retryable = true;
}

/** A resource of the application could not be opened, so its worker does not start. */
export class ResourceError extends LovageError {
  override readonly code = 'RESOURCE';
  override readonly retryable = true;
}

// --- Raised inside a task to say how it should end; the worker catches them. ---

/** Run this task again later. Thrown by `self.retry()`. */
export class Retry extends LovageError {
  override readonly code = 'RETRY';
  /** Milliseconds since the epoch when the next run is due. */
  readonly dueAt: number;

  constructor(message: string, dueAt: number, cause?: unknown) {
    super(message, { cause });
    this.dueAt = dueAt;
  }
}

/**
 * Run this task again after so many seconds, at a Date, or when the header `Retry-After` of an HTTP answer says. It counts
 * as a retry. When none is left the task fails with `cause`, where one is given.
 * @throws ConfigError for a time that is none
 */
export class RetryAfter extends LovageError {
  override readonly code = 'RETRY_AFTER';
  /** Milliseconds since the epoch when the next run is due. */
  readonly dueAt: number;

  constructor(when: number | string | Date, options?: { cause?: unknown }) {
    const dueAt = instantOf(when, 'RetryAfter');
    super(`retry in ${secondsUntil(dueAt)} s`, options);
    this.dueAt = dueAt;
  }
}

/**
 * Run this task again after so many seconds, or at a Date, as if this run had not been: it does not count as a retry.
 * Thrown by `self.snooze()`.
 * @throws ConfigError for a time that is none
 */
export class Snooze extends LovageError {
  override readonly code = 'SNOOZE';
  /** Milliseconds since the epoch when the next run is due. */
  readonly dueAt: number;

  constructor(when: number | Date) {
    const dueAt = instantOf(when, 'snooze');
    super(`snoozed for ${secondsUntil(dueAt)} s`);
    this.dueAt = dueAt;
  }
}

/** End this run without storing a result. */
export class Ignore extends LovageError {
  override readonly code = 'IGNORE';
}

/** A signature as it travels. */
export interface SignatureMap {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly subtask_type: null | string;
  readonly immutable: boolean;
  readonly [extra: string]: unknown;
}

/** Another signature runs in place of this task, with its id. Thrown by `self.replace()`. */
export class Replaced extends LovageError {
  override readonly code = 'REPLACED';
  /** Celery's six-key map of it. */
  readonly signature: SignatureMap;
  /** Put in front of its own arguments. */
  readonly args: readonly unknown[];

  constructor(signature: SignatureMap, args: readonly unknown[] = []) {
    super(`replaced by ${signature.task}`);
    this.signature = signature;
    this.args = args;
  }
}

/** Refuse the message: to the dead letters, or back to the queue with `{ requeue: true }`. */
export class Reject extends LovageError {
  override readonly code = 'REJECT';
  readonly requeue: boolean;

  constructor(reason = 'rejected by the task', options: { requeue?: boolean } = {}) {
    super(reason);
    this.requeue = options.requeue ?? false;
  }
}

/** Seconds from now, a Date, or the text of a `Retry-After` header, as milliseconds since the epoch. */
function instantOf(when: number | string | Date, where: string): number {
  const seconds = typeof when === 'string' && /^\s*\d+\s*$/.test(when) ? Number(when) : when;
  const instant =
    typeof seconds === 'number'
      ? Date.now() + (seconds >= 0 ? seconds : Number.NaN) * 1000
      : new Date(seconds).getTime();
  if (Number.isFinite(instant)) return instant;
  const text = typeof when === 'string' ? JSON.stringify(when) : String(when);
  throw new ConfigError(`${where}: expected 0 or more seconds, or a Date, got ${text}`);
}

function secondsUntil(instant: number): string {
  return Math.max(0, (instant - Date.now()) / 1000).toFixed(1);
}
