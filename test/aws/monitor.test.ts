/** `lovage autoscale monitor` with an ECS service of the test server, and with what stands for Heroku and for KEDA. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { backlogMonitor, monitorInWorkers } from '../../src/aws/index.ts';
import { Lovage, Worker } from '../../src/index.ts';
import { BacklogMonitor, type ScalingTarget } from '../../src/scaling/index.ts';
import { Place } from '../cli/lovage.ts';
import { type AwsServer, startAwsServer } from '../support/aws-server/server.ts';
import { quiet } from '../support/in-memory.ts';
import { startSqs } from '../support/sqs-server.ts';
import { until } from '../support/workplace.ts';

const sleeper = [process.execPath, '-e', "process.on('SIGTERM',()=>process.exit(0));setInterval(()=>{},1e3)"];

/** A server with a service of so many tasks, a folder with a store, and the command line in that environment. */
async function start(tasks = 0) {
  const aws = await startAwsServer();
  onTestFinished(() => aws[Symbol.asyncDispose]());
  aws.ecs.registerTaskDefinition({ family: 'worker', container: { name: 'main', command: sleeper } });
  const service = aws.ecs.addService({ cluster: 'work', name: 'mailer', family: 'worker', desiredCount: tasks });
  await until(() => aws.ecs.tasksOf(service).every(({ status }) => status === 'RUNNING'));
  const place = new Place();
  const app = new Lovage('client', { broker: place.broker, logger: quiet });
  onTestFinished(() => app.close());
  const lovage = (...args: string[]) => place.run(['autoscale', 'monitor', ...args], aws.env);
  return { aws, service, place, app, lovage };
}

const mailer = ['--cluster', 'work', '--service', 'mailer'];
const published = (aws: AwsServer, name = 'BacklogPerTask') =>
  aws.cloudwatch.values('Lovage', name).map(({ value }) => value);

describe('lovage autoscale monitor --once', () => {
  test('one command line publishes what the widely used hand-made monitor does, to the byte', async () => {
    const { aws, lovage } = await start(2);
    await using sqs = await startSqs();
    const broker = `${sqs.url}&create_missing=true`;
    await using app = new Lovage('client', { broker, logger: quiet });
    const line = ['--queue', 'qiita-sqs', ...mailer, '--namespace', 'SQS/BACKLOG', '--metric', 'backlogpertask'];
    line.push('--dimension', 'SQSName=qiita-sqs', '--formula', 'ready', '--once');
    for (let i = 0; i < 7; i++) await app.sendTask('x', [], { queue: 'qiita-sqs' });
    expect(await lovage(...line, '-b', broker)).toMatchObject({ status: 0, stderr: '' });
    const dimensions = [{ Name: 'SQSName', Value: 'qiita-sqs' }];
    const datum = (Value: number) => ({ MetricName: 'backlogpertask', Dimensions: dimensions, Unit: 'Count', Value });
    expect(aws.inputs('PutMetricData')).toEqual([{ Namespace: 'SQS/BACKLOG', MetricData: [datum(7 / 2)] }]);
  });

  test('without any task it publishes the whole backlog, and at idle 0', async () => {
    const { aws, app, lovage } = await start(0);
    const line = ['--queue', 'mail', ...mailer, '--once', '--unserved'];
    await lovage(...line);
    for (let i = 0; i < 3; i++) await app.sendTask('x', [], { queue: 'mail' });
    await lovage(...line);
    expect(published(aws)).toEqual([0, 3]);
    expect(published(aws, 'UnservedBacklog')).toEqual([0, 3]);
  });

  test('several queues go in one request, with one more value for all of them', async () => {
    const { aws, app, lovage } = await start(1);
    await app.sendTask('x', [], { queue: 'a' });
    await app.sendTask('x', [], { queue: 'b' });
    await app.sendTask('x', [], { queue: 'b', countdown: 600 });
    const { stdout } = await lovage(
      '--queue',
      'a,b',
      ...mailer,
      '--service-time',
      '30s',
      '--concurrency',
      '2',
      '--once',
      '--json',
    );
    expect(JSON.parse(stdout)).toMatchObject({
      total: { messages: 2, delayed: 1, seconds: 30 },
      tasks: { running: 1 },
    });
    expect(aws.inputs('PutMetricData')).toHaveLength(1);
    const all = aws.cloudwatch.datapoints.map(({ name, dimensions, value }) => [name, dimensions.QueueName, value]);
    expect(all).toEqual([
      ['BacklogPerTask', 'a', 1],
      ['BacklogSeconds', 'a', 15],
      ['BacklogPerTask', 'b', 1],
      ['BacklogSeconds', 'b', 15],
      ['BacklogPerTask', '*', 2],
      ['BacklogSeconds', '*', 30],
    ]);
  });

  test('a service or cluster that does not exist is an error that names it, and nothing is published', async () => {
    const { aws, lovage } = await start();
    const none = await lovage('--queue', 'mail', '--cluster', 'work', '--service', 'none', '--once');
    expect(none).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/error STORE_MISSING: ecs service work\/none does not exist \(MISSING\)/),
    });
    const cluster = await lovage('--queue', 'mail', '--cluster', 'none', '--service', 'mailer', '--once');
    expect(cluster).toMatchObject({ status: 1, stderr: expect.stringContaining('Cluster not found') });
    expect(aws.cloudwatch.datapoints).toEqual([]);
  });

  test('names that CloudWatch would refuse are refused before anything is asked', async () => {
    const { aws, lovage } = await start();
    const wrong: [string[], string][] = [
      [['--namespace', 'AWS/SQS'], 'AWS/ is for metrics of AWS itself'],
      [['--namespace', ':x'], 'colon'],
      [['--metric', 'größe'], 'printable ASCII'],
      [['--metric', 'x'.repeat(256)], '1 to 255 characters'],
      [['--dimension', 'Queue'], 'Name=Value'],
      [['--dimension', ':Q=x'], 'colon'],
      [['--dimension', 'Q=x', '--dimension', 'Q=y'], 'each name once'],
      [['--target', '100'], 'say --max'],
      [['--max', '5'], 'expected --target'],
      [['--max', '5', '--target', '0'], 'a number above 0'],
      [['--max', '5', '--target', 'NaN'], 'a number above 0'],
      [['--max', '1', '--min', '2', '--target', '5'], 'not below min'],
    ];
    for (const [options, message] of wrong) {
      const { status, stderr } = await lovage('--queue', 'mail', ...mailer, '--once', ...options);
      expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) });
    }
    expect(aws.requests).toEqual([]);
  });
});

describe('the monitor as a service', () => {
  test('survives what AWS throws at it, publishes at idle, and ends with SIGTERM', async () => {
    const { aws, place, lovage: _ } = await start(1);
    aws.fail({
      action: 'DescribeServices',
      times: 1,
      answer: { error: 'ThrottlingException', message: 'Rate exceeded' },
    });
    aws.fail({ action: 'PutMetricData', times: 1, answer: { drop: 'before' } });
    const running = place.start(['autoscale', 'monitor', '--queue', 'mail', ...mailer, '--interval', '1'], aws.env);
    await until(() => published(aws).length >= 2);
    expect(published(aws).every((value) => value === 0)).toBe(true);
    // Below a minute, the metric is of high resolution.
    expect(aws.inputs('PutMetricData').at(-1)).toMatchObject({ MetricData: [{ StorageResolution: 1 }] });
    running.process.kill('SIGTERM');
    const { status, stderr } = await running.end();
    expect(status).toBe(0);
    expect(stderr.match(/could not be read or handed on/g)).toHaveLength(1);
    expect(stderr).toContain('known again');
  });

  test('as a Lambda function it looks once a call, and rejects where it could not publish', async () => {
    const { aws, app } = await start(1);
    Object.assign(process.env, aws.env);
    onTestFinished(() => {
      for (const name of Object.keys(aws.env)) delete process.env[name];
    });
    const handler = backlogMonitor({ app, cluster: 'work', service: 'mailer', queues: ['mail'] });
    expect(await handler()).toMatchObject({ total: { perTask: 0 } });
    aws.fail({
      action: 'PutMetricData',
      times: 1,
      answer: { error: 'InternalServiceFault', message: 'no', status: 500 },
    });
    await expect(handler()).rejects.toMatchObject({ code: 'STORE', retryable: true });
    await handler();
    expect(published(aws)).toEqual([0, 0]);
    expect(() => backlogMonitor({ app, cluster: 'work', service: 'mailer', namespace: 'AWS/x' })).toThrow('AWS/');
    expect(() => backlogMonitor({ app, cluster: 'work' })).toThrow('--service');
  });

  test('of several with a leader only one looks, and another follows when it ends', async () => {
    const { app } = await start();
    const seen: string[] = [];
    const monitor = (name: string) => {
      const target: ScalingTarget = {
        name: 'test',
        counts: async () => ({ running: 1, pending: 0 }),
        setDesired: async () => {},
        close: async () => {},
      };
      const sink = { name, take: async () => void seen.push(name), close: async () => {} };
      return new BacklogMonitor({ app, target, sinks: [sink] }, { leader: true, queues: ['mail'], interval: 60 });
    };
    const [a, b] = [monitor('a'), monitor('b')];
    expect(await a.once()).toBeDefined();
    expect(await b.once()).toBeUndefined();
    expect(await a.once()).toBeDefined();
    await a.stop();
    expect(await b.once()).toBeDefined();
    await b.stop();
    expect(seen).toEqual(['a', 'a', 'b']);
  });

  test('inside of workers one publishes, and when it has stopped another does', async () => {
    const { aws, app } = await start(1);
    monitorInWorkers({
      app,
      cluster: 'work',
      service: 'mailer',
      queues: ['mail'],
      interval: 1,
      endpointUrl: aws.endpoint,
      region: 'eu-west-1',
    });
    Object.assign(process.env, aws.env);
    onTestFinished(() => {
      for (const name of Object.keys(aws.env)) delete process.env[name];
    });
    const [a, b] = [new Worker(app, { name: 'a@%h' }), new Worker(app, { name: 'b@%h' })];
    await a.start();
    await until(() => published(aws).length >= 2);
    await a.stop();
    const before = published(aws).length;
    await b.start();
    await until(() => published(aws).length >= before + 2);
    await b.stop();
    expect(() => monitorInWorkers({ app, cluster: 'work', service: 'mailer', interval: 0 })).toThrow(
      "option 'interval'",
    );
  });

  test('serves the backlog as JSON, as KEDA asks for it', async () => {
    const { app, place } = await start();
    for (let i = 0; i < 4; i++) await app.sendTask('x', [], { queue: 'mail' });
    const script = ['--provider', 'command', '--command', `echo '{"running":2}'`];
    const probe = createServer().listen(0);
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const running = place.start(['autoscale', 'monitor', '--queue', 'mail', ...script, '--port', String(port)]);
    await running.says('backlog 2 a task');
    const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
    expect(await (await ask('/')).json()).toMatchObject({
      backlog: 4,
      backlogPerTask: 2,
      backlogSeconds: null,
      running: 2,
    });
    expect(await (await ask('/queues/mail')).json()).toMatchObject({ queue: 'mail', ready: 4 });
    expect((await ask('/queues/none')).status).toBe(404);
    expect((await ask('/healthz')).status).toBe(200);
    const second = await place.run(['autoscale', 'monitor', '--queue', 'mail', ...script, '--port', String(port)]);
    expect(second).toMatchObject({ status: 2, stderr: expect.stringContaining(`port ${port} cannot be listened on`) });
    running.process.kill('SIGTERM');
    expect((await running.end()).status).toBe(0);
  });
});
