import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { Lovage } from '../../src/index.ts';
import { startRedis } from '../../test/support/redis-server.ts';
import { startSqs } from '../../test/support/sqs-server.ts';

/** What is tried. */
export interface MigrationOptions {
  /** Messages in all; every tenth of them is delayed by an hour. */
  readonly tasks: number;
  /** How often the command is killed, spread over its way. */
  readonly kills: number;
  /** Hears how far it is. */
  readonly log: (line: string) => void;
}

/** What came of it. */
export interface MigrationOutcome {
  readonly tasks: number;
  readonly kills: number;
  readonly lost: number;
  readonly doubled: number;
  /** Messages of which nobody knows. */
  readonly strange: number;
  /** Delayed messages that say when they are due. */
  readonly delayed: number;
  readonly leftAtSource: number;
  /** What the command said at its end. */
  readonly answer: { readonly moved: number; readonly resumed: number; readonly done: boolean };
  readonly seconds: number;
}

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const LATER_S = 3600;

/** Fills a Redis of its own, moves all to a stand-in for SQS with `lovage migrate`, which is killed on its way, and counts. */
export async function runMigration({ tasks, kills, log }: MigrationOptions): Promise<MigrationOutcome> {
  const redis = await startRedis();
  const sqs = await startSqs();
  const folder = mkdtempSync(join(tmpdir(), 'lovage-migration-'));
  try {
    log(`fills a Redis with ${tasks} tasks`);
    const sent = await fill(redis.url, tasks);
    // Delayed messages come into sight after a second, so that they can be counted.
    const to = `${sqs.url}&hop_time=1`;
    await lovage(folder, ['setup', '-b', to, '--result-backend', 'disabled']);
    const start = performance.now();
    for (let kill = 1; kill <= kills; kill++) {
      const at = Math.floor((tasks * kill) / (kills + 2));
      const { moved, looked } = await killedAt(folder, [redis.url, to], at);
      log(`${looked ? 'looked for messages that may have arrived; ' : ''}killed at ${moved} of ${tasks}`);
    }
    const answer = JSON.parse(await lovage(folder, ['migrate', redis.url, to, '--json']));
    const seconds = (performance.now() - start) / 1000;
    log(`counts what is in SQS`);
    const { ids, delayed } = await receiveAll(sqs.endpoint, sent.size);
    const counts = Map.groupBy(ids, (id) => id);
    return {
      tasks,
      kills,
      lost: [...sent].filter((id) => !counts.has(id)).length,
      doubled: [...counts.values()].filter(({ length }) => length > 1).length,
      strange: [...counts.keys()].filter((id) => !sent.has(id)).length,
      delayed,
      leftAtSource: await waitingIn(redis.url),
      answer,
      seconds,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await sqs[Symbol.asyncDispose]();
    await redis[Symbol.asyncDispose]();
  }
}

async function fill(url: string, tasks: number): Promise<Set<string>> {
  const app = new Lovage('migration', { broker: url, backend: false });
  const delayed = Math.floor(tasks / 10);
  const calls = (count: number) => Array.from({ length: count }, (_, i) => [i]);
  const results = [
    ...(await app.sendMany('shop.add', calls(tasks - delayed))),
    ...(await app.sendMany('shop.later', calls(delayed), { countdown: LATER_S })),
  ];
  await app.close();
  return new Set(results.map(({ id }) => id));
}

/** Runs the command until it has moved so many, and kills it. */
async function killedAt(
  folder: string,
  [from = '', to = '']: readonly string[],
  count: number,
): Promise<{ moved: number; looked: boolean }> {
  const child = command(folder, ['migrate', from, to]);
  const ended = once(child, 'exit');
  let said = '';
  for await (const chunk of child.stderr ?? []) {
    said += chunk;
    const moved = Number([...said.matchAll(/^(\d+) of \d+ messages$/gm)].at(-1)?.[1] ?? 0);
    if (moved < count) continue;
    // Somewhere in the next batch: being received, taken or sent.
    await setTimeout(Math.random() * 300);
    child.kill('SIGKILL');
    const [status] = await ended;
    if (status !== null) break;
    return { moved, looked: said.includes('looks through queue') };
  }
  throw new Error(`it ended before it was killed: ${said}`);
}

async function lovage(folder: string, args: readonly string[]): Promise<string> {
  const child = command(folder, args);
  const closed = once(child, 'close');
  let [out, err] = ['', ''];
  child.stdout?.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  const [status] = await closed;
  if (status !== 0) throw new Error(`lovage ${args.join(' ')} ended with ${status}: ${out}${err}`);
  return out;
}

function command(folder: string, args: readonly string[]): ChildProcess {
  const env = { PATH: process.env.PATH, HOME: folder };
  return spawn(process.execPath, [main, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Takes all there is, with the SDK alone. */
async function receiveAll(endpoint: string, expected: number): Promise<{ ids: string[]; delayed: number }> {
  const client = new SQSClient({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const request = new ReceiveMessageCommand({
    QueueUrl: `${endpoint}/000000000000/celery`,
    MaxNumberOfMessages: 10,
    VisibilityTimeout: 43_000,
    WaitTimeSeconds: 2,
    MessageAttributeNames: ['All'],
  });
  const ids: string[] = [];
  let delayed = 0;
  for (let empty = 0; empty < (ids.length < expected ? 3 : 1); ) {
    const { Messages = [] } = await client.send(request);
    empty = Messages.length > 0 ? 0 : empty + 1;
    for (const { Body = '', MessageAttributes = {} } of Messages) {
      const due = Number(MessageAttributes['lovage.due']?.StringValue ?? 0);
      if (due > Date.now()) delayed += 1;
      ids.push(JSON.parse(Buffer.from(Body, 'base64').toString()).headers.id);
    }
  }
  client.destroy();
  return { ids, delayed };
}

async function waitingIn(url: string): Promise<number> {
  const app = new Lovage('migration', { broker: url, backend: false });
  const broker = await app.broker();
  const depths = await broker.countMany(await broker.listQueues());
  await app.close();
  return depths.reduce((sum, depth) => sum + (depth ? depth.ready + depth.delayed + depth.inFlight : 0), 0);
}
