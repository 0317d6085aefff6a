/**
 * Real worker processes as ECS tasks of the test server: they follow the backlog, and lose no work to it.
 * `SCALE_IN_SECONDS` says how long the job takes during which a service is scaled in.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ECSClient, RunTaskCommand } from '@aws-sdk/client-ecs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Lovage } from '../../src/index.ts';
import { Place } from '../cli/lovage.ts';
import { type AwsServerOptions, startAwsServer } from '../support/aws-server/server.ts';
import { quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

const appFile = fileURLToPath(new URL('fixtures/app.ts', import.meta.url));
const jobMs = Number(process.env.SCALE_IN_SECONDS ?? 8) * 1000;
const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

interface Setting extends AwsServerOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly workerOptions?: readonly string[];
}

/** A cluster with a service of workers, and a store in a folder. */
async function start({ environment = {}, workerOptions = [], ...options }: Setting = {}) {
  const aws = await startAwsServer(options);
  onTestFinished(() => aws[Symbol.asyncDispose]());
  const place = new Place();
  const notesFile = join(place.folder, 'notes');
  const app = new Lovage('client', { broker: place.broker, logger: quiet });
  onTestFinished(() => app.close());
  aws.ecs.registerTaskDefinition({
    family: 'worker',
    container: {
      name: 'main',
      command: [process.execPath, main, '-A', appFile, 'worker', '-c', '1', '-l', 'debug', ...workerOptions],
      environment: { LOVAGE_BROKER: place.broker, TEST_NOTES: notesFile, ...environment },
      stopTimeoutMs: 1_500,
    },
  });
  const service = aws.ecs.addService({ cluster: 'work', name: 'fleet', family: 'worker', desiredCount: 0 });
  const notes = () => (existsSync(notesFile) ? readFileSync(notesFile, 'utf8').split('\n').slice(0, -1) : []);
  const outputs = () => [...aws.ecs.tasks.values()].map(({ arn }) => aws.ecs.output(arn)).join('\n');
  return { aws, place, app, service, notes, outputs };
}

const fleet = ['--cluster', 'work', '--service', 'fleet', '--queue', 'celery'];

describe('scale-in while a job runs', () => {
  test(
    'the protected worker finishes it, and is gone when it has nothing left to do',
    async () => {
      const { aws, app, service, notes } = await start();
      aws.ecs.setDesired(service, 1);
      await app.sendTask('fleet.job', ['long', jobMs]);
      await until(() => notes().includes('begin long'));
      const beganAt = Date.now();
      const [task] = aws.ecs.tasksOf(service);
      await until(() => (task?.protectedUntil ?? 0) > Date.now());
      aws.ecs.setDesired(service, 0);
      const scaledInAt = Date.now();
      await until(() => notes().includes('end long'), jobMs + 20_000);
      const endedAt = Date.now();
      // Until then it was not even asked to stop.
      expect(task).toMatchObject({ status: 'RUNNING', protectedUntil: expect.any(Number) });
      await until(() => task?.status === 'STOPPED', 30_000);
      expect(notes()).toEqual(['begin long', 'end long']);
      expect(task).toMatchObject({ exitCode: 0, stopCode: 'ServiceSchedulerInitiated' });
      if (!process.env.SCALE_IN_SECONDS) return;
      const [scaled, ended, stopped] = [scaledInAt, endedAt, Date.now()].map((at) =>
        ((at - beganAt) / 1000).toFixed(1),
      );
      console.log(
        `scaled in after ${scaled} s of the job, which ended after ${ended} s; its worker after ${stopped} s`,
      );
    },
    jobMs + 90_000,
  );

  test('the same without protection: the job is cut off and begins anew elsewhere', async () => {
    // The variable by which a worker finds the agent is not there.
    const { aws, app, service, notes } = await start({ environment: { ECS_AGENT_URI: '' } });
    aws.ecs.setDesired(service, 1);
    await app.sendTask('fleet.job', ['long', jobMs]);
    await until(() => notes().includes('begin long'));
    aws.ecs.setDesired(service, 0);
    await until(() => aws.ecs.tasksOf(service).length === 0);
    expect(notes()).toEqual(['begin long']);
    const [depth] = await (await app.broker()).countMany(['celery']);
    expect((depth?.ready ?? 0) + (depth?.inFlight ?? 0)).toBe(1);
  });
});

describe('protection from scale-in', () => {
  test('where ECS refuses it because the task is to end, the worker takes nothing more, and stops in order', async () => {
    const { aws, app, service, notes, outputs } = await start({ environment: { TEST_GRACE: '20' } });
    aws.ecs.setDesired(service, 1);
    await until(() => outputs().includes('ready.'));
    const [task] = aws.ecs.tasksOf(service);
    // The task is not told to end yet, and cannot be protected any more.
    service.desiredCount = 0;
    await app.sendTask('fleet.job', ['one', 3_000]);
    await app.sendTask('fleet.job', ['two', 10]);
    await until(() => task?.status === 'STOPPED', 30_000);
    expect(notes()).toEqual(['begin one', 'end one']);
    expect(task?.exitCode).toBe(0);
    expect(outputs()).toContain('ECS is about to stop this task');
  });

  test('a worker that belongs to no service asks once, and never again', async () => {
    const { aws, app, notes, outputs } = await start();
    const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
    const client = new ECSClient({ region: 'eu-west-1', endpoint: aws.endpoint, credentials });
    onTestFinished(() => client.destroy());
    await client.send(new RunTaskCommand({ cluster: 'work', taskDefinition: 'worker' }));
    await app.sendTask('fleet.job', ['one', 3_000]);
    await until(() => outputs().includes('belongs to no service'), 30_000);
    await until(() => notes().includes('end one'));
    expect(outputs()).not.toContain('could not be turned');
  });

  test('an agent that fails costs no task, is told of once, and is asked again', async () => {
    const { aws, app, service, notes, outputs } = await start();
    aws.ecs.agentFailures = 1;
    aws.ecs.setDesired(service, 1);
    await app.sendTask('fleet.job', ['one', 9_000]);
    const task = await until(
      () => aws.ecs.tasksOf(service).find(({ protectedUntil }) => protectedUntil !== undefined),
      30_000,
    );
    expect(outputs().match(/could not be turned on/g)).toHaveLength(1);
    await until(() => notes().includes('end one'), 30_000);
    await until(() => task.protectedUntil === undefined, 30_000);
  });
});

/** A fleet of nobody grows to three under a burst and goes again when it is over; every job runs once. */
async function burstRunsThrough({ aws, app, service, notes }: Awaited<ReturnType<typeof start>>): Promise<void> {
  const jobs = Array.from({ length: 30 }, (_, i) => `job ${i}`);
  for (const name of jobs) await app.sendTask('fleet.job', [name, 700]);
  let most = 0;
  await until(() => {
    most = Math.max(most, aws.ecs.tasksOf(service).length);
    return notes().filter((line) => line.startsWith('end')).length === jobs.length;
  }, 60_000);
  expect(most).toBe(3);
  await until(() => service.desiredCount === 0 && aws.ecs.tasksOf(service).length === 0, 60_000);
  // Each began once: no scale-in cut one off.
  expect(notes().toSorted()).toEqual(jobs.flatMap((name) => [`begin ${name}`, `end ${name}`]).toSorted());
}

describe('a fleet that follows the backlog', () => {
  test('from zero and to zero without a monitor, by metric math on what AWS publishes itself', async () => {
    let setting: Awaited<ReturnType<typeof start>> | undefined;
    setting = await start({
      minuteMs: 1_000,
      tracking: { outPoints: 2, inPoints: 4 },
      awsMetrics: async () => {
        if (!setting) return [];
        const { app, aws, service } = setting;
        const [depth] = await (await app.broker()).countMany(['celery']);
        const tasks = aws.ecs.tasksOf(service);
        const running = tasks.filter(({ status }) => status === 'RUNNING').length;
        const dimensions = { ClusterName: 'work', ServiceName: 'fleet' };
        const insights = { namespace: 'ECS/ContainerInsights', dimensions };
        const visible = { namespace: 'AWS/SQS', name: 'ApproximateNumberOfMessagesVisible' };
        return [
          { ...visible, dimensions: { QueueName: 'celery' }, value: depth?.ready ?? 0 },
          // Without any task it says nothing.
          ...(tasks.length === 0
            ? []
            : [
                { ...insights, name: 'RunningTaskCount', value: running },
                { ...insights, name: 'PendingTaskCount', value: tasks.length - running },
              ]),
        ];
      },
    });
    const { aws, place } = setting;
    const policy = ['autoscale', 'policy', '--math', ...fleet, '--min', '0', '--max', '3', '--target', '4', '--apply'];
    expect((await place.run(policy, aws.env)).status).toBe(0);
    await burstRunsThrough(setting);
  });

  test('from zero and to zero, by policy, alarm and monitor, without losing work in flight', async () => {
    const setting = await start({
      minuteMs: 1_000,
      tracking: { outPoints: 2, inPoints: 4 },
      workerOptions: ['--report-runtimes'],
    });
    const { aws, place, service } = setting;
    const policy = ['autoscale', 'policy', ...fleet, '--min', '0', '--max', '3', '--target', '4', '--apply'];
    expect((await place.run(policy, aws.env)).status).toBe(0);
    const monitor = place.start(['autoscale', 'monitor', ...fleet, '--interval', '1', '--unserved', '--json'], aws.env);
    await monitor.says('"running":0');
    expect(aws.ecs.tasksOf(service)).toHaveLength(0);
    await burstRunsThrough(setting);
    expect(aws.requests.filter(({ error }) => error !== undefined)).toEqual([]);
    // What the workers measured makes seconds of the backlog.
    await until(() => aws.cloudwatch.values('Lovage', 'BacklogSeconds').length > 0);
    monitor.process.kill('SIGTERM');
    expect((await monitor.end()).status).toBe(0);
  });
});
