import type { Sent } from '../canvas/canvas.ts';
import type { ResultBackend } from '../contracts/backend.ts';
import { Opening } from '../util/opening.ts';
import { checkOptions } from '../util/options.ts';
import type { LovageApp } from './app.ts';
import type { Config } from './config.ts';
import { type Drivers, makeStores } from './connections.ts';
import { Results } from './results/results.ts';
import { type CallOptions, type EagerOptions, eagerOptionTable, type Sendable } from './tasks/task-options.ts';

/** Runs a signature here and now: the worker's own code does it, which stands above the application. */
export type EagerRunner = (
  app: LovageApp,
  canvas: Sendable,
  args: readonly unknown[],
  options: EagerOptions,
) => Promise<Sent>;

/** Where eager runs keep results: for themselves, and by `taskStoreEagerResult` in the application's result backend. */
export class EagerStores {
  readonly #drivers: Drivers;
  readonly #config: () => Config;
  readonly #kept: Opening<Results>;

  constructor(drivers: Drivers, config: () => Config) {
    this.#drivers = drivers;
    this.#config = config;
    this.#kept = new Opening('the result backend of eager runs', () => this.#start());
  }

  /** A started result backend for one run and for the handles that come of it. */
  async own(): Promise<ResultBackend> {
    const backend = (await this.#drivers.ownBackend())();
    await backend.start();
    return backend;
  }

  /** The application's result backend without its broker, which an eager run does not need. */
  async kept(): Promise<Results> {
    await this.#kept.start();
    return this.#kept.get();
  }

  async close(): Promise<void> {
    await (await this.#kept.end())?.backend?.stop();
  }

  async #start(): Promise<Results> {
    const config = this.#config();
    const { backend } = await makeStores(config, this.#drivers);
    await backend?.start();
    return new Results(backend, config);
  }
}

/**
 * What of the options of a call is in its signature, and what is about the run. How to send means nothing here.
 * @throws ConfigError for an option that does not exist, or a wrong value of one
 */
export function eagerParts(options: EagerOptions): { readonly own: CallOptions; readonly run: EagerOptions } {
  checkOptions(eagerOptionTable, options, 'apply');
  const { throw: raises, signal, retry: _retry, retryPolicy: _policy, ...own } = options;
  return { own, run: { ...(raises !== undefined && { throw: raises }), ...(signal && { signal }) } };
}
