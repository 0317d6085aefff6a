import { Lovage, type LovageOptions, Worker, type WorkerOptions } from '../../src/index.ts';

export const quiet = { debug() {}, info() {}, warn() {}, error() {} };
let count = 0;

/** An application on a memory broker of its own, with a worker in the same process; both end with the test. */
export class Playground implements AsyncDisposable {
  readonly app: Lovage;
  readonly #options: WorkerOptions;
  #worker: Worker | undefined;

  constructor(options: LovageOptions = {}, worker: WorkerOptions = {}) {
    this.app = new Lovage('test', {
      broker: `memory://test-${process.pid}-${count++}`,
      logger: quiet,
      workerBlockWarning: 0,
      ...options,
    });
    this.#options = worker;
  }

  /** Starts the worker; tasks are registered before. */
  async work(): Promise<Worker> {
    this.#worker = new Worker(this.app, this.#options);
    await this.#worker.start();
    return this.#worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.stop({ now: true });
    await this.app.close();
  }
}
