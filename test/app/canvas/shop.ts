/** The tasks of the workflow tests, on a memory broker with a worker in this process. */
import type { FailedRequest, LovageOptions, Task } from '../../../src/index.ts';
import { Playground } from '../../support/in-memory.ts';

export class CanvasShop extends Playground {
  /** What errbacks and others were told, in order. */
  readonly told: unknown[] = [];
  readonly add: Task<[x: number, y: number], number>;
  readonly mul: Task<[x: number, y: number], number>;
  /** Of lists in lists, too. */
  readonly sum: Task<[numbers: readonly unknown[]], number>;
  readonly list: Task<[value: unknown], unknown>;
  readonly fail: Task<[why?: unknown], number>;
  /** Errbacks of both calling conventions. */
  readonly onError: Task<[id: string], void>;
  readonly onErrorNew: Task<[request: FailedRequest, error: unknown, traceback: string | undefined], void>;

  constructor(options: LovageOptions = {}) {
    super(options);
    const { app } = this;
    this.add = app.task('c.add', (x: number, y: number) => x + y);
    this.mul = app.task('c.mul', (x: number, y: number) => x * y);
    this.sum = app.task('c.sum', (numbers: readonly unknown[]) =>
      (numbers.flat(9) as number[]).reduce((a, b) => a + b, 0),
    );
    this.list = app.task('c.list', (value: unknown) => value);
    this.fail = app.task('c.fail', (_why?: unknown): number => {
      throw new TypeError('no');
    });
    this.onError = app.task('c.onError', (id: string) => void this.told.push(id));
    this.onErrorNew = app.task(
      'c.onErrorNew',
      (request: FailedRequest, error: unknown, traceback: string | undefined) =>
        void this.told.push([request.id, String(error), typeof traceback]),
    );
  }

  static async open(options: LovageOptions = {}): Promise<CanvasShop> {
    const shop = new CanvasShop(options);
    await shop.work();
    return shop;
  }
}

export const soon = { timeout: 5 };
