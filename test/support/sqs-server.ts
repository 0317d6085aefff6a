/** SQS (and S3) in this process, for tests: a stand-in, which keeps everything in memory. */
import { type FauxqsServer, startFauxqs } from 'fauxqs';

/** Starts it on a free port. */
export async function startSqs(): Promise<SqsServer> {
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
