/** Who is to be allowed something: a program that sends tasks and reads results, a worker, or whoever runs `lovage setup`. */
export type Role = 'producer' | 'worker' | 'setup';

/** What an application wants of its stores. The core reads it from the configuration. */
export interface StoreNeeds {
  /** The queues it knows of, by the names that tasks know: no prefix, no suffix. The default queue first. */
  readonly queues: readonly string[];
  /** A message delivered more often than this is given up. */
  readonly maxDeliveries: number;
  /** How long results are kept, in milliseconds; `undefined`: for ever. */
  readonly resultTtlMs: number | undefined;
  /** The longest hard time limit of a task, in milliseconds; `undefined` where a task may take any time. */
  readonly timeLimitMs: number | undefined;
  /** Runs at once in one worker. */
  readonly concurrency: number;
  /** How often a worker without work counts its queues, in milliseconds; `undefined`: never. */
  readonly countEveryMs?: number | undefined;
  /** The account that owns the store, where it was given by hand: names of resources on AWS contain it. */
  readonly account?: string;
}

/** One thing that a role has to be allowed, and no more than that. */
export interface Permission {
  /** As the platform writes it, such as `sqs:SendMessage`. */
  readonly action: string;
  /** The full name of the one resource, or of all with a beginning (`arn:...:bucket/prefix*`). `*` alone only where the action knows no resources. */
  readonly resource: string;
  /** When only, as the platform writes it: by operator and key. */
  readonly condition?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
}

/** One thing that has to be there before the store can be used, compared with what is there. */
export interface SetupStep {
  /** What kind of thing, in lower case: `queue`, `dead-letter queue`, `table`, `lifecycle rule`. */
  readonly kind: string;
  /** The name under which it is found at the platform. */
  readonly name: string;
  /**
   * - `exists`: as it should be
   * - `missing`: `apply` creates it
   * - `differs`: `apply` changes what can be changed without loss
   */
  readonly state: 'exists' | 'missing' | 'differs';
  /** For people: what it is created with, or what differs and will be changed, such as `visibility timeout 30 s -> 1800 s`. */
  readonly details: readonly string[];
  /**
   * Creates or changes it. May be called again: what is there by then is no error. Not there where nothing is to be
   * done, and where somebody has to do it by hand (`differs`; `details` say what).
   */
  apply?(): Promise<void>;
}

/**
 * What a store needs before its first use, for `lovage setup` and `lovage iam`. Neither method needs the store to be
 * started; both open and close what they need. A store without it needs nothing created, and has no permissions of its own.
 */
export interface StoreSetup {
  /**
   * Compares what is there with what is needed, and changes nothing. Steps are in the order in which they are to be
   * applied; a later one may need an earlier one (a queue its dead-letter queue).
   * @throws StoreError, ConfigError
   */
  plan(needs: StoreNeeds): Promise<SetupStep[]>;
  /**
   * All that a role has to be allowed, by the names that this configuration uses.
   * @throws ConfigError where a name cannot be known, and says how to give it
   */
  permissions(role: Role, needs: StoreNeeds): Promise<Permission[]>;
}
