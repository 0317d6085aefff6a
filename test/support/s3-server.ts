import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startFauxqs } from 'fauxqs';
import { s3Backend } from '../../src/backends/s3.ts';
import { setUp } from './set-up.ts';

/** A stand-in for S3 in this process, with conditional writes as S3 documents them. */
export interface S3Server extends AsyncDisposable {
  /** Where it answers. */
  readonly endpoint: string;
  /** The same without conditional writes: If-None-Match and If-Match are ignored. */
  readonly unconditionalEndpoint: string;
  /** A URL of a bucket that is there, made as `lovage setup` makes it. */
  makeBucket(name: string, query?: string): Promise<string>;
}

/**
 * fauxqs keeps the objects. In front of it stands what it does not know: a PUT with If-None-Match or If-Match is let through
 * where the condition holds, one at a time for each key, and is answered 412 where it does not.
 */
export async function startS3(): Promise<S3Server> {
  const fauxqs = await startFauxqs({ port: 0, logger: false });
  const turns = new Map<string, Promise<void>>();
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url?.split('?')[0] ?? '';
    if (incoming.method !== 'PUT') return void forward(incoming, outgoing, fauxqs.port);
    const turn = (turns.get(path) ?? Promise.resolve()).then(() => conditional(incoming, outgoing, fauxqs.port));
    turns.set(path, turn);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    endpoint,
    unconditionalEndpoint: `http://127.0.0.1:${fauxqs.port}`,
    async makeBucket(name, query = '') {
      const url = `s3://test:test@${name}?endpoint_url=${encodeURIComponent(endpoint)}&region=us-east-1${query}`;
      await setUp(s3Backend(url).setup);
      return url;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await fauxqs.stop();
    },
  };
}

async function conditional(incoming: IncomingMessage, outgoing: ServerResponse, port: number): Promise<void> {
  const { 'if-none-match': absent, 'if-match': seen } = incoming.headers;
  if (absent !== undefined || seen !== undefined) {
    const etag = await currentEtag(incoming.url ?? '', port);
    const missing = seen !== undefined && etag === undefined;
    if (missing || (absent === '*' && etag !== undefined) || (seen !== undefined && seen !== etag)) {
      incoming.resume();
      const [status, code] = missing ? [404, 'NoSuchKey'] : [412, 'PreconditionFailed'];
      outgoing.writeHead(status, { 'content-type': 'application/xml' });
      outgoing.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
      return;
    }
  }
  await forward(incoming, outgoing, port);
}

function currentEtag(path: string, port: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const head = request(
      { port, host: '127.0.0.1', method: 'HEAD', path: path.split('?')[0], headers: auth },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200 ? answer.headers.etag : undefined);
      },
    );
    head.on('error', reject).end();
  });
}

/** It is told the region, and checks nothing. */
const auth = { authorization: 'AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request' };

function forward(incoming: IncomingMessage, outgoing: ServerResponse, port: number): Promise<void> {
  return new Promise((resolve) => {
    const { method, url, headers } = incoming;
    const onward = request({ port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing).on('close', resolve);
    });
    onward.on('error', () => {
      outgoing.destroy();
      resolve();
    });
    incoming.pipe(onward);
  });
}
