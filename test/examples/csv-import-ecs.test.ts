/**
 * The whole story on one machine: web process, S3, SQS, dispatcher, ECS tasks as processes, a table of rows; with refused
 * starts, killed containers, copies of messages, and messages that are none of its own. `CSV_UPLOADS` says how many uploads; 500 take some minutes.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { dsvFormat } from 'd3-dsv';
import { expect, onTestFinished, test } from 'vitest';
import type { SqsRecord } from '../../src/aws/dispatch/sqs-event.ts';
import type { FaultAnswer } from '../support/aws-server/faults.ts';
import { Yard } from '../support/ecs-yard.ts';
import { until } from '../support/workplace.ts';

const root = join(import.meta.dirname, '..', '..');
const uploads = Number(process.env.CSV_UPLOADS ?? 8);
/** Containers at once: as many as a small machine runs. */
const atOnce = 5;
const files = ['github.csv', 'airports.csv', 'stocks.csv', 'us-employment.csv', 'seattle-weather.csv', 'weather.csv'];

/** Random, but the same at every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

/** A refusal of RunTask, of three kinds, in turn. */
const refusals: readonly FaultAnswer[] = [
  {
    body: {
      tasks: [],
      failures: [{ arn: 'arn:x', reason: 'Capacity is unavailable at this time. Please try again later' }],
    },
  },
  { error: 'ThrottlingException', message: 'Rate exceeded' },
  { error: 'InvalidParameterException', message: 'Unexpected EC2 error: Rate exceeded (ErrorCode: Throttling)' },
];

test(
  `${uploads} uploads: each is imported once, whatever is refused, killed or delivered twice`,
  async () => {
    await using yard = await Yard.open({ lease: 20 });
    const random = randomFrom(7);
    const env = {
      LOVAGE_BROKER: yard.sqs.url,
      LOVAGE_BACKEND: yard.env.TEST_BACKEND ?? '',
      CSV_IMPORT_LOCAL: 'yes',
      CSV_IMPORT_LEASE: '20',
      CSV_IMPORT_DB: join(yard.folder, 'import.db'),
      AWS_ENDPOINT_URL_S3: yard.sqs.endpoint,
      AWS_REGION: 'us-east-1',
    };
    Object.assign(process.env, env);
    const s3 = new S3Client({ endpoint: yard.sqs.endpoint, region: 'us-east-1', forcePathStyle: true });
    onTestFinished(() => s3.destroy());
    await s3.send(new CreateBucketCommand({ Bucket: 'csv-import' }));
    await yard.queue('ecs');
    yard.aws.ecs.registerTaskDefinition({
      family: 'csv-import',
      awsvpc: true,
      container: {
        name: 'app',
        command: [
          process.execPath,
          join(root, 'src/cli/main.ts'),
          '-A',
          join(root, 'examples/csv-import/ecs/app.ts'),
          'run-one',
        ],
        environment: env,
      },
    });
    const { app } = await import('../../examples/csv-import/ecs/app.ts');
    const { webServer } = await import('../../examples/csv-import/ecs/web.ts');
    onTestFinished(() => app.close());
    const web = webServer().listen(0, '127.0.0.1');
    await once(web, 'listening');
    onTestFinished(() => void web.close());
    const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;

    // 30 % of RunTask calls are refused.
    let refused = 0;
    for (const [i, answer] of refusals.entries())
      yard.aws.fail({
        action: 'RunTask',
        when: () => {
          const isRefused = random() < 0.1 / (1 - 0.1 * i);
          if (isRefused) refused += 1;
          return isRefused;
        },
        answer,
      });
    // 10 % of containers are killed, some time after they began.
    let killed = 0;
    yard.aws.ecs.onTaskStateChange(({ detail: { lastStatus, taskArn } }) => {
      if (lastStatus !== 'RUNNING' || random() >= 0.1) return;
      killed += 1;
      const reason = 'Essential container in task exited';
      setTimeout(
        () => yard.aws.ecs.killTask(String(taskArn), 'EssentialContainerExited', reason),
        300 + random() * 2_000,
      ).unref();
    });
    // Messages are delivered twice: to two calls at once, or once more as another message.
    let copies = 0;
    let receives = 0;
    const old: SqsRecord[] = [];
    const calls = (records: readonly SqsRecord[]) => {
      // Not of a task that nobody has: a copy of what became a dead letter begins anew.
      const known = records.filter(({ body }) => !Buffer.from(body, 'base64').includes('csv.gone'));
      const twice = known.filter(() => random() < 0.3);
      const late = old.filter(() => random() < 0.05);
      old.push(...known);
      for (const { attributes } of records) receives = Math.max(receives, Number(attributes?.ApproximateReceiveCount));
      copies += twice.length + late.length;
      for (const { body } of twice.filter(() => random() < 0.3)) {
        copies += 1;
        void yard.sendRaw('ecs', body);
      }
      return [records, twice, late].filter((some) => some.length > 0);
    };
    const ecs = yard.aws.ecs.tasks;
    const running = () => [...ecs.values()].filter(({ status }) => status !== 'STOPPED').length;
    const handler = yard.dispatcher({ app, taskDefinition: 'csv-import' });
    await using reconciler = yard.reconcile({}, app);
    await using _ = yard.poll('ecs', handler, calls, () => running() < atOnce);

    // What is no task message, and a task that nobody has.
    const poison = ['hello', '{"que_id": 7}'];
    for (const body of poison) await yard.sendRaw('ecs', body);
    await app.sendTask('csv.gone', [], { queue: 'ecs' });
    const began = Date.now();
    const sent = new Map<string, string>();
    for (let i = 0; i < uploads; i++) {
      const file = files[i % files.length] ?? '';
      const data = readFileSync(join(root, 'node_modules/vega-datasets/data', file));
      const answer = await fetch(`${url}/uploads?name=${file}`, { method: 'POST', body: data });
      expect(answer.status).toBe(202);
      const { id } = (await answer.json()) as { id: string };
      sent.set(id, file);
    }
    const states = new Map<string, string>();
    const seen = new Set<string>();
    await until(
      async () => {
        for (const id of sent.keys()) {
          if (states.get(id) === 'SUCCESS') continue;
          const { state } = (await (await fetch(`${url}/uploads/${id}`)).json()) as { state: string };
          seen.add(state);
          states.set(id, state);
        }
        await new Promise((resolve) => setTimeout(resolve, 250));
        return [...states.values()].every((state) => state === 'SUCCESS' || state === 'FAILURE');
      },
      120_000 + uploads * 10_000,
    );
    const seconds = (Date.now() - began) / 1000;

    expect(new Set(states.values())).toEqual(new Set(['SUCCESS']));
    expect(yard.thrown).toEqual([]);
    expect(seen).toContain('QUEUED');
    // Every row is there, once, and is what the file says.
    using db = new DatabaseSync(env.CSV_IMPORT_DB) as DatabaseSync & Disposable;
    const rowsOf = db.prepare('SELECT row, cells FROM rows WHERE file = ? ORDER BY row');
    const rows = new Map(files.map((file) => [file, readRows(file)]));
    for (const [id, file] of sent) {
      const stored = rowsOf.all(id).map(({ row, cells }) => [row, JSON.parse(String(cells))]);
      expect(stored, file).toEqual(rows.get(file));
    }
    // Nothing is left, anywhere: copies that come late find that all is done.
    await until(() => running() === 0, 60_000);
    await until(async () => (await yard.depth('ecs')) === 0, 120_000);
    await until(async () => (await reconciler.sweep()).alive === 0, 60_000);
    const letters = await (await app.broker()).deadLetters.list({ queue: 'ecs', limit: 10_000 });
    const text = new TextDecoder();
    const given = letters.map(({ message: { headers, body } }) => headers.task ?? text.decode(body));
    expect(new Set(given)).toEqual(new Set([...poison, 'csv.gone']));
    // Waiting for capacity led no message nearer to the dead letters, where the queue has them after 10 receives.
    expect(receives).toBeLessThan(10);
    const chunks = db.prepare('SELECT count(*) AS runs, count(DISTINCT file || first) AS chunks FROM runs').get();
    console.log(
      JSON.stringify({
        uploads,
        seconds,
        runTask: yard.aws.inputs('RunTask').length,
        refused,
        ecsTasks: ecs.size,
        killed,
        copies,
        chunks,
      }),
    );
  },
  300_000 + uploads * 20_000,
);

/** The rows of a file, with their numbers, as the example stores them. */
function readRows(file: string): [number, string[]][] {
  const text = readFileSync(join(root, 'node_modules/vega-datasets/data', file), 'utf8').replace(/^\uFEFF/, '');
  return dsvFormat(',')
    .parseRows(text)
    .map((cells, i): [number, string[]] => [i, cells])
    .slice(1)
    .filter(([, cells]) => cells.length > 1 || cells[0] !== '');
}
