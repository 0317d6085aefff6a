/**
 * The values that go over the wire, in our own spelling. What they are called in bytes is known to `protocol.ts`,
 * `result.ts` and `remote-error.ts` only.
 */

/** A task call that can be sent later: Celery's six-key map, kept in its own spelling because it travels inside bodies. */
export interface WireSignature {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly subtask_type: null | string;
  readonly immutable: boolean;
  readonly [extra: string]: unknown;
}

/** One request to run a task, decoded. Instants are epoch milliseconds. */
export interface TaskMessage {
  readonly task: string;
  readonly id: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** `ts` for our own producers, `py` for Python's. */
  readonly lang: string;
  /** Earliest run. */
  readonly eta?: number;
  /** Not to be run after this. */
  readonly expires?: number;
  /** Retries before this run. */
  readonly retries: number;
  readonly rootId: string;
  readonly parentId?: string;
  readonly groupId?: string;
  readonly groupIndex?: number;
  /** Name to show in its place. */
  readonly shadow?: string;
  /** Seconds. */
  readonly timeLimit?: number;
  /** Seconds. */
  readonly softTimeLimit?: number;
  readonly ignoreResult: boolean;
  /** Arguments for display, in Python's notation. Made from the arguments where absent. */
  readonly argsRepr?: string;
  readonly kwargsRepr?: string;
  /** `gen<pid>@<host>` of the sender. */
  readonly origin?: string;
  readonly replacedTaskNesting: number;
  readonly stampedHeaders?: readonly string[];
  readonly stamps?: Readonly<Record<string, unknown>>;
  /** Sent with the return value when the task succeeds. */
  readonly link?: readonly WireSignature[];
  /** Sent with the task id when it fails. */
  readonly linkError?: readonly WireSignature[];
  /** The steps that follow, the next one LAST (as on the wire). */
  readonly chain?: readonly WireSignature[];
  /** The body of the chord this task is a member of. */
  readonly chord?: WireSignature;
  /** The sender's own headers. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly replyTo: string;
  /** 0 (most urgent, the default) to 9. */
  readonly priority: number;
}

/** An exception as Celery writes it. */
export interface WireError {
  readonly exc_type: string;
  readonly exc_message: readonly unknown[];
  readonly exc_module: string;
}

/** What is stored about a task, decoded (wire SPEC 6.1). */
export interface ResultMeta {
  readonly taskId: string;
  readonly state: string;
  /** The return value; a {@link WireError} for FAILURE, RETRY and REVOKED; whatever `updateState` was given otherwise. */
  readonly result: unknown;
  readonly traceback?: string;
  /** Result tuples of tasks sent by this one: `[[id, parent], null]`. */
  readonly children: readonly unknown[];
  /** Epoch milliseconds, when finished. */
  readonly dateDone?: number;
  readonly groupId?: string;
  readonly parentId?: string;
  /** With `resultExtended`. */
  readonly name?: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly worker?: string;
  readonly retries?: number;
  readonly queue?: string;
  readonly stamps?: Readonly<Record<string, unknown>>;
}
