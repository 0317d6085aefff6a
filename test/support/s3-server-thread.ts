/**
 * The stand-in for S3, in a thread of its own so that it does not share the loop of its clients. fauxqs keeps the objects;
 * before it writes, what it does not know is done here: a PUT with If-None-Match or If-Match is answered 412 where the
 * condition does not hold. Both happen in one turn, so that nothing comes between.
 */
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { buildApp } from 'fauxqs';

const app = buildApp({ logger: false });
/** The ETag of each object, by its path. */
const etags = new Map<string, string>();
const pathOf = (url: string) => decodeURIComponent(url.split('?')[0] ?? '');

if (workerData.conditions) {
  app.addHook('preHandler', (request, reply, done) => {
    const { 'if-none-match': absent, 'if-match': seen } = request.headers;
    if (request.method !== 'PUT' || (absent === undefined && seen === undefined)) return done();
    const etag = etags.get(pathOf(request.url));
    const isGone = seen !== undefined && etag === undefined;
    if (!isGone && (seen === undefined ? etag === undefined : seen === etag)) return done();
    const code = isGone ? 'NoSuchKey' : 'PreconditionFailed';
    reply.code(isGone ? 404 : 412).type('application/xml');
    reply.send(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
  });
}
app.addHook('onSend', (request, reply, payload, done) => {
  const etag = reply.getHeader('etag');
  if (request.method === 'PUT' && typeof etag === 'string') etags.set(pathOf(request.url), etag);
  if (request.method === 'POST' && request.url.includes('delete')) {
    const bucket = pathOf(request.url).replace(/\/$/, '');
    for (const [, key] of String(request.body).matchAll(/<Key>([^<]*)<\/Key>/g)) etags.delete(`${bucket}/${key}`);
  }
  done(null, payload);
});

await app.listen({ port: 0, host: '127.0.0.1' });
parentPort?.postMessage({ port: (app.server.address() as AddressInfo).port });
