import type { LovageApp } from '../../app/app.ts';
import type { Config } from '../../app/config.ts';
import type { TaskHost } from '../../app/host.ts';
import type { Logger } from '../../app/logger.ts';
import { AsyncResult } from '../../app/results/result.ts';
import { resultHandle } from '../../app/results/result-handle.ts';
import { Results, type WaitOptions } from '../../app/results/results.ts';
import { sendCanvas } from '../../app/sending/canvas-sender.ts';
import type { Preparer } from '../../app/sending/prepare.ts';
import { Publisher } from '../../app/sending/publisher.ts';
import type { TaskDefinition } from '../../app/tasks/task.ts';
import type { CallOptions, EagerOptions, Sendable } from '../../app/tasks/task-options.ts';
import type { Sent } from '../../canvas/canvas.ts';
import { Signature } from '../../canvas/signature.ts';
import { isFinished } from '../../contracts/backend.ts';
import type { Outgoing } from '../../contracts/message.ts';
import { TimeoutError } from '../../errors.ts';
import type { ResultNode } from '../../wire/result-tuple.ts';
import type { ResultMeta } from '../../wire/task-message.ts';

/** The results of an eager run: they are there, or they will never come. */
class EagerResults extends Results {
  override async wait(taskId: string, options: WaitOptions = {}): Promise<ResultMeta> {
    const meta = await this.fetch(taskId);
    if (meta && isFinished(meta.state)) return super.wait(taskId, options);
    throw new TimeoutError(
      `task ${taskId} has no result: in an eager run there is none to wait for where the task threw Ignore, or has not run yet`,
    );
  }
}

/**
 * Stands in for the application in an eager run: what is sent there is kept here, to be run next, and results are in a
 * backend of the run's own. All else is the application's.
 */
export class EagerHost implements TaskHost {
  readonly config: Config;
  readonly own: Results;
  readonly publisher: Publisher;
  readonly #app: LovageApp;
  #sent: Outgoing[] = [];

  constructor(app: LovageApp, backend: Results['backend']) {
    this.#app = app;
    // What follows stays in the messages: to keep it elsewhere is for messages that travel.
    this.config = { ...app.config, canvasStorage: 'message' };
    this.own = new EagerResults(backend, this.config);
    const features = { maxDelayMs: Number.POSITIVE_INFINITY, maxMessageBytes: Number.POSITIVE_INFINITY };
    this.publisher = new Publisher(
      {
        features,
        declareMany: async () => {},
        publishMany: async (messages) => {
          this.#sent.push(...messages);
          return [];
        },
      },
      this.config,
    );
  }

  /** What was sent since the last call, in its order. */
  takeSent(): readonly Outgoing[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  get logger(): Logger {
    return this.#app.logger;
  }

  get tasks(): ReadonlyMap<string, TaskDefinition> {
    return this.#app.tasks;
  }

  get preparer(): Preparer {
    return this.#app.preparer;
  }

  get errorClasses(): LovageApp['errorClasses'] {
    return this.#app.errorClasses;
  }

  get tellsHeaders(): boolean {
    return this.#app.tellsHeaders;
  }

  nearestTask(name: string): string | undefined {
    return this.#app.nearestTask(name);
  }

  async results(): Promise<Results> {
    return this.own;
  }

  async connections(): Promise<{ readonly publisher: Publisher; readonly results: Results }> {
    return { publisher: this.publisher, results: this.own };
  }

  result<R = unknown>(taskId: string): AsyncResult<R> {
    return new AsyncResult<R>(taskId, this);
  }

  handle(node: ResultNode): ReturnType<typeof resultHandle> {
    return resultHandle(node, this);
  }

  /** What has run cannot be skipped any more. */
  async revoke(): Promise<void> {}

  async sendSignature<R>(
    { task }: Sendable & { readonly task: string },
    args: readonly unknown[],
    options: CallOptions,
  ): Promise<AsyncResult<R>> {
    return (await this.sendCanvas(new Signature(this, task, args, options), [], {})) as AsyncResult<R>;
  }

  sendCanvas(canvas: Sendable, args: readonly unknown[], options: CallOptions): Promise<Sent> {
    return sendCanvas(this, canvas, args, options);
  }

  applyCanvas(canvas: Sendable, args: readonly unknown[], options: EagerOptions): Promise<Sent> {
    return this.#app.applyCanvas(canvas, args, options);
  }
}
