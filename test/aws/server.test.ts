/** The server that stands in for ECS, CloudWatch and Application Auto Scaling, asked through the SDK's own clients. */
import {
  ApplicationAutoScalingClient,
  DescribeScalingPoliciesCommand,
  PutScalingPolicyCommand,
  RegisterScalableTargetCommand,
} from '@aws-sdk/client-application-auto-scaling';
import { CloudWatchClient, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import {
  DescribeServicesCommand,
  DescribeTasksCommand,
  ECSClient,
  ListTasksCommand,
  RunTaskCommand,
  StopTaskCommand,
  UpdateServiceCommand,
} from '@aws-sdk/client-ecs';
import { describe, expect, test } from 'vitest';
import { startAwsServer } from '../support/aws-server/server.ts';
import { until } from '../support/workplace.ts';

const sleeper = [
  process.execPath,
  '-e',
  "process.on('SIGTERM',()=>process.exit(0));console.log('up');setInterval(()=>{},1e3)",
];
const shell = (script: string) => ['/bin/sh', '-c', script];

async function start(options: Parameters<typeof startAwsServer>[0] = {}) {
  const aws = await startAwsServer(options);
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const config = { region: 'eu-west-1', endpoint: aws.endpoint, credentials, maxAttempts: 1 };
  const clients = [
    new ECSClient(config),
    new CloudWatchClient(config),
    new ApplicationAutoScalingClient(config),
  ] as const;
  const [ecs, cloudwatch, scaling] = clients;
  return {
    aws,
    ecs,
    cloudwatch,
    scaling,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      await aws[Symbol.asyncDispose]();
    },
  };
}

describe('ECS of the test server', () => {
  test('RunTask starts a process with the overrides, and its end is told with exit code and stop code', async () => {
    await using world = await start();
    const { aws, ecs } = world;
    aws.ecs.registerTaskDefinition({ family: 'job', container: { name: 'main', command: shell('echo no') } });
    const events: unknown[] = [];
    aws.ecs.onTaskStateChange(({ detail }) => events.push([detail.lastStatus, detail.stopCode]));
    const override = {
      name: 'main',
      command: shell('echo "$WORD"; exit 3'),
      environment: [{ name: 'WORD', value: 'hello' }],
    };
    const { tasks = [], failures } = await ecs.send(
      new RunTaskCommand({ taskDefinition: 'job', startedBy: 'tq/1', overrides: { containerOverrides: [override] } }),
    );
    expect(failures).toEqual([]);
    const arn = tasks[0]?.taskArn ?? '';
    const stopped = await until(async () => {
      const { tasks: [task] = [] } = await ecs.send(new DescribeTasksCommand({ tasks: [arn] }));
      return task?.lastStatus === 'STOPPED' && task;
    });
    expect(stopped).toMatchObject({ stopCode: 'EssentialContainerExited', startedBy: 'tq/1' });
    expect(stopped.containers?.[0]?.exitCode).toBe(3);
    expect(aws.ecs.output(arn)).toBe('hello\n');
    expect(events).toEqual([
      ['RUNNING', undefined],
      ['STOPPED', 'EssentialContainerExited'],
    ]);
  });

  test('a clientToken starts a task once; with other parameters it is a conflict that names the task', async () => {
    await using world = await start();
    const { aws, ecs } = world;
    aws.ecs.registerTaskDefinition({ family: 'job', container: { name: 'main', command: sleeper } });
    const run = (startedBy: string) =>
      ecs.send(new RunTaskCommand({ taskDefinition: 'job', startedBy, clientToken: 'one' }));
    const first = (await run('a')).tasks?.[0]?.taskArn;
    expect((await run('a')).tasks?.[0]?.taskArn).toBe(first);
    await expect(run('b')).rejects.toMatchObject({ name: 'ConflictException', resourceIds: [first] });
    expect(aws.ecs.tasks.size).toBe(1);
  });

  test('StopTask ends the process in order, and ListTasks finds it by startedBy', async () => {
    await using world = await start();
    const { aws, ecs } = world;
    aws.ecs.registerTaskDefinition({ family: 'job', container: { name: 'main', command: sleeper } });
    const { tasks = [] } = await ecs.send(new RunTaskCommand({ taskDefinition: 'job', startedBy: 'me' }));
    const arn = tasks[0]?.taskArn ?? '';
    await until(() => aws.ecs.output(arn).includes('up'));
    expect((await ecs.send(new ListTasksCommand({ startedBy: 'me' }))).taskArns).toEqual([arn]);
    await ecs.send(new StopTaskCommand({ task: arn, reason: 'enough' }));
    const task = await until(() => [...aws.ecs.tasks.values()].find(({ status }) => status === 'STOPPED'));
    expect(task).toMatchObject({ stopCode: 'UserInitiated', stoppedReason: 'enough', exitCode: 0 });
    expect((await ecs.send(new ListTasksCommand({ startedBy: 'me' }))).taskArns).toEqual([]);
  });

  test('what AWS would refuse is refused: unknown members, wrong types, long overrides, missing subnets and clusters', async () => {
    await using world = await start();
    const { aws, ecs } = world;
    aws.ecs.registerTaskDefinition({ family: 'job', container: { name: 'main', command: sleeper }, awsvpc: true });
    aws.ecs.registerTaskDefinition({ family: 'plain', container: { name: 'main', command: sleeper } });
    const wrong: [object, string | RegExp][] = [
      [{ taskDefinition: 'job' }, /Network Configuration must be provided/],
      [{ taskDefinition: 'none' }, /Unable to describe task definition/],
      [{ taskDefinition: 'plain', cluster: 'none' }, /Cluster not found/],
      [{ taskDefinition: 'plain', count: 11 }, /count must be 1 to 10/],
      [{ taskDefinition: 'plain', startedBy: 'a b' }, /startedBy/],
      [{ taskDefinition: 'plain', overrides: { containerOverrides: [{ name: 'other' }] } }, /not a container/],
      [
        { taskDefinition: 'plain', overrides: { containerOverrides: [{ name: 'main', command: ['x'.repeat(8192)] }] } },
        /8192/,
      ],
    ];
    for (const [input, message] of wrong)
      await expect(ecs.send(new RunTaskCommand(input as never))).rejects.toThrow(message);
    const raw = async (body: object) => {
      const headers = { 'x-amz-target': 'AmazonEC2ContainerServiceV20141113.RunTask', authorization: 'x' };
      return (await fetch(aws.endpoint, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    };
    expect(await raw({ taskDefinition: 'plain', colour: 'red' })).toMatchObject({
      message: '.colour: RunTaskRequest has no such member',
    });
    expect(await raw({ count: '1' })).toMatchObject({
      message: '.taskDefinition: RunTaskRequest must have it; .count: expected a number, got "1"',
    });
    expect(aws.ecs.tasks.size).toBe(0);
  });

  test('failures come as they are ordered', async () => {
    await using world = await start({ runTasksPerSecond: 3 });
    const { aws, ecs } = world;
    aws.ecs.registerTaskDefinition({ family: 'job', container: { name: 'main', command: shell('exit 0') } });
    const run = () => ecs.send(new RunTaskCommand({ taskDefinition: 'job' }));
    const failures = [{ arn: 'arn:x', reason: 'RESOURCE:MEMORY' }];
    aws.fail({ action: 'RunTask', times: 1, answer: { body: { tasks: [], failures } } });
    expect(await run()).toMatchObject({ tasks: [], failures });
    aws.fail({ action: 'RunTask', times: 1, answer: { error: 'ServerException', message: 'oops', status: 500 } });
    await expect(run()).rejects.toMatchObject({ name: 'ServerException', $metadata: { httpStatusCode: 500 } });
    aws.fail({ action: 'RunTask', times: 1, answer: { drop: 'after' } });
    await expect(run()).rejects.toThrow(/hang up|ECONNRESET/);
    expect(aws.ecs.tasks.size).toBe(1);
    const all = await Promise.allSettled(Array.from({ length: 5 }, run));
    const refused = all.flatMap((one) => (one.status === 'rejected' ? [one.reason.name] : []));
    expect(refused).toEqual(['ThrottlingException', 'ThrottlingException', 'ThrottlingException']);
  });

  test('a service keeps its desired count, spares protected tasks, and blocks protection beyond it', async () => {
    await using world = await start();
    const { aws, ecs } = world;
    aws.ecs.registerTaskDefinition({ family: 'worker', container: { name: 'main', command: sleeper } });
    const service = aws.ecs.addService({ cluster: 'c', name: 's', family: 'worker', desiredCount: 2 });
    const running = () => aws.ecs.tasksOf(service).filter(({ status }) => status === 'RUNNING');
    await until(() => running().length === 2);
    const [oldest, youngest] = running();
    const protect = async (id: string | undefined, body?: object) => {
      const request = body ? { method: 'PUT', body: JSON.stringify(body) } : {};
      return (await fetch(`${aws.endpoint}/agent/${id}/task-protection/v1/state`, request)).json();
    };
    expect(await protect(youngest?.id, { ProtectionEnabled: true, ExpiresInMinutes: 5 })).toMatchObject({
      protection: { ProtectionEnabled: true, TaskArn: youngest?.arn },
    });
    await ecs.send(new UpdateServiceCommand({ cluster: 'c', service: 's', desiredCount: 1 }));
    await until(() => oldest?.status === 'STOPPED');
    expect(running()).toEqual([youngest]);
    await ecs.send(new UpdateServiceCommand({ cluster: 'c', service: 's', desiredCount: 0 }));
    const { services = [] } = await ecs.send(new DescribeServicesCommand({ cluster: 'c', services: ['s', 'none'] }));
    expect(services).toMatchObject([{ desiredCount: 0, runningCount: 1, pendingCount: 0 }]);
    expect(await protect(oldest?.id, { ProtectionEnabled: true })).toMatchObject({
      failure: { Reason: 'DEPLOYMENT_BLOCKED' },
    });
    expect(await protect(youngest?.id, { ProtectionEnabled: true, ExpiresInMinutes: 0 })).toMatchObject({
      error: { Code: 'InvalidParameterException' },
    });
    await protect(youngest?.id, { ProtectionEnabled: false });
    await until(() => youngest?.status === 'STOPPED');
    expect(youngest?.stopCode).toBe('ServiceSchedulerInitiated');
  });
});

describe('CloudWatch of the test server', () => {
  test('keeps datapoints, and refuses names, numbers and amounts that AWS refuses', async () => {
    await using world = await start();
    const { aws, cloudwatch } = world;
    const put = (Namespace: string, ...MetricData: object[]) =>
      cloudwatch.send(new PutMetricDataCommand({ Namespace, MetricData: MetricData as never }));
    await put('SQS/BACKLOG', {
      MetricName: 'm',
      Value: 7,
      Unit: 'Count',
      Dimensions: [{ Name: 'SQSName', Value: 'q' }],
    });
    expect(aws.cloudwatch.values('SQS/BACKLOG', 'm', { SQSName: 'q' })).toMatchObject([{ value: 7, unit: 'Count' }]);
    await expect(put('AWS/SQS', { MetricName: 'm', Value: 1 })).rejects.toThrow('AWS/');
    await expect(put('N', { MetricName: 'm', Value: Number.NaN })).rejects.toThrow('NaN');
    await expect(put('N', { MetricName: 'm' })).rejects.toThrow('give one of');
    await expect(put('N', { MetricName: 'm', Value: 1, Dimensions: [{ Name: ':x', Value: 'y' }] })).rejects.toThrow(
      ':x',
    );
    const many = Array.from({ length: 1001 }, () => ({ MetricName: 'm', Value: 1 }));
    await expect(put('N', ...many)).rejects.toThrow('at most 1000');
    expect(aws.cloudwatch.datapoints).toHaveLength(1);
  });
});

describe('Application Auto Scaling of the test server', () => {
  test('keeps targets and policies, and refuses a policy without its target, and numbers that make no sense', async () => {
    await using world = await start();
    const { aws, scaling } = world;
    aws.ecs.registerTaskDefinition({ family: 'worker', container: { name: 'main', command: sleeper } });
    aws.ecs.addService({ cluster: 'c', name: 's', family: 'worker', desiredCount: 0 });
    const place = {
      ServiceNamespace: 'ecs',
      ResourceId: 'service/c/s',
      ScalableDimension: 'ecs:service:DesiredCount',
    } as const;
    const metric = { Namespace: 'N', MetricName: 'm', Statistic: 'Average' } as const;
    const policy = (TargetValue: number) =>
      new PutScalingPolicyCommand({
        ...place,
        PolicyName: 'p',
        PolicyType: 'TargetTrackingScaling',
        TargetTrackingScalingPolicyConfiguration: { TargetValue, CustomizedMetricSpecification: metric },
      });
    await expect(scaling.send(policy(100))).rejects.toMatchObject({ name: 'ObjectNotFoundException' });
    const register = (MinCapacity: number, MaxCapacity: number) =>
      scaling.send(new RegisterScalableTargetCommand({ ...place, MinCapacity, MaxCapacity }));
    await expect(register(5, 1)).rejects.toThrow('MinCapacity');
    await register(0, 10);
    await expect(scaling.send(policy(-1))).rejects.toThrow('TargetValue');
    expect(await scaling.send(policy(100))).toMatchObject({ PolicyARN: expect.stringContaining('policyName/p') });
    const { ScalingPolicies } = await scaling.send(new DescribeScalingPoliciesCommand({ ServiceNamespace: 'ecs' }));
    expect(ScalingPolicies).toMatchObject([{ PolicyName: 'p', PolicyType: 'TargetTrackingScaling' }]);
  });
});
