/** The worker process of the floor, started by `worker-process.ts`. It keeps two commands under way: one takes, one is done. */
import { Redis } from 'ioredis';
import { BATCH, DONE, type FloorMessage, QUEUE, RESULT, TAKE } from './floor.ts';
import { beWorker } from './worker-process.ts';

const { url } = beWorker();
const client = new Redis(url, { protocol: 2 });
const waiting = client.duplicate();
process.once('SIGTERM', () => process.exit(0));

const takeSha = String(await client.script('LOAD', TAKE));
const doneSha = String(await client.script('LOAD', DONE));
const take = () => client.evalsha(takeSha, 2, QUEUE, 'unacked', BATCH) as Promise<string[]>;

for (let coming = take(); ; ) {
  const taken = await coming;
  if (taken.length === 0) {
    // Leaves the list as it was.
    await waiting.blmove(QUEUE, QUEUE, 'RIGHT', 'RIGHT', 20);
    coming = take();
    continue;
  }
  // The next ones come while these are worked on.
  coming = take();
  await client.evalsha(doneSha, 1, 'unacked', ...taken.flatMap(done));
}

/** Runs the no-op task of a message; what {@link DONE} is told of it. */
function done(envelope: string): [key: string, result: string, tag: string] {
  const { body, headers, properties }: FloorMessage = JSON.parse(envelope);
  const [[result]] = JSON.parse(Buffer.from(body, 'base64').toString());
  const document = {
    task_id: headers.id,
    status: 'SUCCESS',
    result,
    traceback: null,
    children: [],
    date_done: new Date().toISOString(),
  };
  return [RESULT + headers.id, JSON.stringify(document), properties.delivery_tag];
}
