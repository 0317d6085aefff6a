/**
 * Measures how much of what a stand-in for SQS can do (fauxqs, in a process of its own) Lovage gets out of it: messages a
 * second through bare batched calls of the AWS SDK, and through Lovage, in turn. `node bench/sqs.ts [repeats] [messages]`,
 * defaults 3 and 5000; prints each run, and medians. It says nothing about the speed of SQS itself.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { Lovage, Worker } from '../src/index.ts';

const [repeats = 3, count = 5_000] = process.argv.slice(2).map(Number);
/** Requests at once, as many as Lovage makes. */
const atOnce = 10;
/** A task message without arguments has about as many characters in SQS. */
const body = 'x'.repeat(1_100);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

const server = fork(join(import.meta.dirname, 'sqs-server.ts'));
const [port] = (await once(server, 'message')) as [number];
const client = new SQSClient({
  region: 'us-east-1',
  endpoint: `http://127.0.0.1:${port}`,
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
});

async function inTurn(next: () => Promise<boolean>): Promise<void> {
  const loop = async () => {
    while (await next());
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
}

async function rate(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (count / (performance.now() - started)) * 1000;
}

async function bare(queue: string) {
  const { QueueUrl } = await client.send(new CreateQueueCommand({ QueueName: queue }));
  let batches = Math.ceil(count / 10);
  const send = await rate(() =>
    inTurn(async () => {
      if (batches-- <= 0) return false;
      const Entries = Array.from({ length: 10 }, (_, i) => ({ Id: String(i), MessageBody: body }));
      await client.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
      return true;
    }),
  );
  let left = count;
  const receive = await rate(() =>
    inTurn(async () => {
      if (left <= 0) return false;
      const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10 }));
      if (Messages.length === 0) return left > 0;
      const Entries = Messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }));
      await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
      left -= Messages.length;
      return true;
    }),
  );
  return { send, receive };
}

async function lovage(queue: string) {
  const app = new Lovage('bench', {
    broker: `sqs://test:test@127.0.0.1:${port}//?is_secure=false&createMissing=true`,
    backend: false,
    taskDefaultQueue: queue,
    logger: quiet,
  });
  const noop = app.task('bench.noop', { ignoreResult: true }, () => {});
  await (await app.broker()).declareMany([{ name: queue }]);
  const calls = Array.from({ length: count }, (): [] => []);
  const send = await rate(async () => void (await noop.applyMany(calls)));
  const worker = new Worker(app, { concurrency: 100 });
  await worker.start();
  const receive = await rate(async () => {
    while (worker.counts.succeeded < count) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  await worker.stop();
  await app.close();
  return { send, receive };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
console.log(`node ${process.version}, load average ${loadavg()[0]?.toFixed(2)} at the start, ${count} messages`);
const rows: Record<string, number>[] = [];
// One round that does not count: code gets warm, connections are opened.
for (let i = 0; i <= repeats; i += 1) {
  const raw = await bare(`bare-${i}`);
  const own = await lovage(`lovage-${i}`);
  if (i === 0) continue;
  rows.push({
    'bare send/s': Math.round(raw.send),
    'Lovage send/s': Math.round(own.send),
    'send, ratio': Number((own.send / raw.send).toFixed(2)),
    'bare receive and delete/s': Math.round(raw.receive),
    'Lovage receive, run, delete/s': Math.round(own.receive),
    'receive, ratio': Number((own.receive / raw.receive).toFixed(2)),
  });
}
console.table(rows);
const ratio = (name: string) => median(rows.map((row) => row[name] ?? Number.NaN)).toFixed(2);
console.log(`medians of the ratios: send ${ratio('send, ratio')}, receive ${ratio('receive, ratio')}`);
client.destroy();
server.disconnect();
