import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { s3Backend } from '../../src/backends/s3.ts';
import { setUp } from './set-up.ts';

/** A stand-in for S3 on this machine, with conditional writes as S3 documents them. */
export interface S3Server extends AsyncDisposable {
  /** Where it answers. */
  readonly endpoint: string;
  /** A URL of a bucket and a path in it that is there, made as `lovage setup` makes it. */
  makeBucket(name: string): Promise<string>;
}

/** Not to be taken for silence: a busy machine. */
const PATIENT = 'request_timeout=80&connect_timeout=80';

/** `conditions: false`: a store that ignores If-None-Match and If-Match. */
export async function startS3({ conditions = true } = {}): Promise<S3Server> {
  const script = new URL('./s3-server-thread.ts', import.meta.url);
  const worker = new Worker(script, { execArgv: [], workerData: { conditions } });
  const [{ port }] = (await once(worker, 'message')) as [{ port: number }];
  const endpoint = `http://127.0.0.1:${port}`;
  return {
    endpoint,
    async makeBucket(name) {
      const url = `s3://test:test@${name}?endpoint_url=${encodeURIComponent(endpoint)}&region=us-east-1&${PATIENT}`;
      await setUp(s3Backend(url).setup);
      return url;
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate();
    },
  };
}
