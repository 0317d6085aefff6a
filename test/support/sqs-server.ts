/** SQS (and S3) in this process, for tests: a stand-in, which keeps everything in memory. */
import { type FauxqsServer, startFauxqs } from 'fauxqs';

/** A queue of the stand-in, as far as it is mended here. */
interface StandInQueue {
  getAllAttributes(names: readonly string[]): Record<string, string>;
  processTimers(): void;
}

let mended: Promise<void> | undefined;

/** The stand-in looks for leases that are over only when somebody receives; in SQS counts go down by themselves. */
async function mend(): Promise<void> {
  const file = new URL('sqs/sqsStore.js', import.meta.resolve('fauxqs')).href;
  const { SqsQueue }: { SqsQueue: { prototype: StandInQueue } } = await import(file);
  const { getAllAttributes } = SqsQueue.prototype;
  SqsQueue.prototype.getAllAttributes = function (names) {
    this.processTimers();
    return getAllAttributes.call(this, names);
  };
}

/** Starts it on a free port. */
export async function startSqs(): Promise<SqsServer> {
  mended ??= mend();
  await mended;
  return new SqsServer(await startFauxqs({ port: 0, logger: false }));
}

export class SqsServer implements AsyncDisposable {
  readonly server: FauxqsServer;

  constructor(server: FauxqsServer) {
    this.server = server;
  }

  get port(): number {
    return this.server.port;
  }

  /** As Celery writes it for a stand-in. */
  get url(): string {
    return `sqs://test:test@127.0.0.1:${this.port}//?is_secure=false`;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}
