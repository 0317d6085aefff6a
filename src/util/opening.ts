import { ConfigError } from '../errors.ts';

/** What a driver opens with `start`, uses in every call, and closes with `stop`. */
export class Opening<T> {
  readonly #what: string;
  readonly #open: () => Promise<T>;
  #opening: Promise<T> | undefined;

  /** `what` begins the sentence that it is not started, such as `the broker sqlite:///a.db`. */
  constructor(what: string, open: () => Promise<T>) {
    this.#what = what;
    this.#open = open;
  }

  /** Opens it once. After a failure the next call tries again. */
  async start(): Promise<void> {
    this.#opening ??= this.#open();
    const opening = this.#opening;
    try {
      await opening;
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined;
      throw error;
    }
  }

  /** @throws ConfigError before `start` and after `end` */
  get(): Promise<T> {
    if (this.#opening) return this.#opening;
    return Promise.reject(new ConfigError(`${this.#what} is not started: await start() first`));
  }

  /** Hands over what is open, if anything, to be closed; from now on there is nothing. */
  async end(): Promise<T | undefined> {
    const opening = this.#opening;
    this.#opening = undefined;
    return opening?.catch(() => undefined);
  }
}
