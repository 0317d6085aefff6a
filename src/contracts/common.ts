/** One item of a batch that did not succeed. An empty list means all did; the call itself rejects only when nothing was attempted. */
export interface ItemFailure {
  /** Position in the array that was passed in. */
  readonly index: number;
  readonly error: Error;
}

/** Something with connections or timers. Both methods may be called again without harm; after `stop` nothing is left open. */
export interface Service {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * How to make the same driver again in another thread or process: import `module` and call its export `factory` with
 * `args`. Everything in it survives structured cloning and JSON.
 */
export interface Recipe {
  /** A `file:` URL or a package specifier. */
  readonly module: string;
  /** Name of the exported factory. */
  readonly factory: string;
  readonly args: readonly unknown[];
}
