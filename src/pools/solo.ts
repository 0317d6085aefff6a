import { AsyncPool, type AsyncPoolOptions } from './async.ts';

/** Runs one task at a time, in this process: for debugging, and for code that must never run beside itself. */
export class SoloPool<Request, Outcome> extends AsyncPool<Request, Outcome> {
  override readonly name = 'solo';

  constructor(options: AsyncPoolOptions<Request, Outcome>) {
    super({ ...options, slots: 1 });
  }

  /** It stays at one, whatever is asked for. */
  override resize(): void {}
}
