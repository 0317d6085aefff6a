/** Policies of those who run work on ECS: what they say, and that a monitor does what its policy allows, and nothing else. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Policy } from '../../src/cli/policy.ts';
import { startAwsProxy } from '../support/aws-proxy.ts';
import { startAwsServer } from '../support/aws-server/server.ts';
import { type DynamodbServer, startDynamodb } from '../support/dynamodb-server.ts';
import { type SqsServer, startSqs } from '../support/sqs-server.ts';
import { Place } from './lovage.ts';

let sqs: SqsServer;
let dynamodb: DynamodbServer;
beforeAll(async () => {
  [sqs, dynamodb] = await Promise.all([startSqs(), startDynamodb()]);
});
afterAll(async () => {
  await sqs[Symbol.asyncDispose]();
  await dynamodb[Symbol.asyncDispose]();
});

const appText = `
import { Lovage } from 'lovage';
export const app = new Lovage('shop', {
  backend: 'dynamodb://@eu-west-1/results',
  taskQueues: ['mail'],
  brokerTransportOptions: { region: 'eu-west-1', queueNamePrefix: 'shop-' },
});
app.task('shop.import', { runOn: 'ecs' }, () => {});
app.task('shop.slow', { queue: 'slow' }, () => {});
`;

const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: 'eu-west-1' };
const at = (service: string, resource: string) => `arn:aws:${service}:eu-west-1:123456789012:${resource}`;
const onEcs = { ArnEquals: { 'ecs:cluster': at('ecs', 'cluster/work') } };

/** The policy of a role, in an account. */
async function iam(...args: string[]) {
  const place = new Place();
  const file = place.write('app.ts', appText);
  const line = ['-A', file, '-b', 'sqs://', 'iam', '--account', '123456789012', '--json', '--role', ...args];
  const { status, stdout, stderr } = await place.run(line, credentials);
  return { status, stderr, policy: (stdout === '' ? undefined : JSON.parse(stdout)) as Policy | undefined };
}

/** Every action with its resources, and under which condition. */
function allowedBy(policy: Policy | undefined): [string, readonly string[], object?][] {
  return (policy?.Statement ?? [])
    .flatMap(({ Action, Resource, Condition }) =>
      Action.map((action): [string, readonly string[], object?] =>
        Condition ? [action, Resource, Condition] : [action, Resource],
      ),
    )
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The queues that the application knows, and the dead letters of jobs. */
const every = ['celery', 'ecs', 'ecs-dead', 'mail', 'slow'].map((name) => at('sqs', `shop-${name}`));

const ofService = (policy: Policy | undefined, service: string) =>
  allowedBy(policy).filter(([action]) => action.startsWith(`${service}:`));

describe('lovage iam', () => {
  test('lets a monitor count messages of its queues and tasks of its service, and publish in its namespace', async () => {
    const { policy } = await iam('monitor', '--cluster', 'work', '--service', 'mailer', '--service-time', '1s');
    const queues = [at('sqs', 'shop-mail'), at('sqs', 'shop-mail-dead')];
    expect(allowedBy(policy)).toEqual([
      ['cloudwatch:PutMetricData', ['*'], { StringEquals: { 'cloudwatch:namespace': 'Lovage' } }],
      ['ecs:DescribeServices', [at('ecs', 'service/work/mailer')]],
      ['sqs:GetQueueAttributes', queues],
      ['sqs:GetQueueUrl', queues],
    ]);
  });

  test('lets a monitor use the table only as far as runtimes and leader need it, and scale only where it does', async () => {
    const service = at('ecs', 'service/work/mailer');
    const monitor = (...more: string[]) => iam('monitor', '--cluster', 'work', '--service', service, ...more);
    const table = [at('dynamodb', 'table/results')];
    expect(ofService((await monitor()).policy, 'dynamodb')).toEqual([['dynamodb:BatchGetItem', table]]);
    const { policy } = await monitor('--service-time', '2s', '--leader', '--from-zero', '--namespace', 'SQS/BACKLOG');
    expect(ofService(policy, 'dynamodb')).toEqual([
      ['dynamodb:GetItem', table],
      ['dynamodb:PutItem', table],
    ]);
    expect(ofService(policy, 'ecs')).toEqual([
      ['ecs:DescribeServices', [service]],
      ['ecs:UpdateService', [service]],
    ]);
    expect(JSON.stringify(policy)).toContain('"cloudwatch:namespace":"SQS/BACKLOG"');
  });

  test('lets a dispatcher start one task definition in one cluster, with its two roles', async () => {
    const roles = ['arn:aws:iam::123456789012:role/task', 'arn:aws:iam::123456789012:role/execution'];
    const line = ['--cluster', 'work', '--task-definition', 'imports', '--pass-roles', roles.join(','), '--tags'];
    const { policy } = await iam('dispatcher', ...line);
    expect(ofService(policy, 'ecs')).toEqual([
      ['ecs:RunTask', [at('ecs', 'task-definition/imports:*')], onEcs],
      ['ecs:TagResource', [at('ecs', 'task/work/*')], { StringEquals: { 'ecs:CreateAction': 'RunTask' } }],
    ]);
    const passed = { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } };
    expect(ofService(policy, 'iam')).toEqual([['iam:PassRole', roles.toSorted(), passed]]);
    const received = ofService(policy, 'sqs').find(([action]) => action === 'sqs:ReceiveMessage');
    expect(received).toEqual(['sqs:ReceiveMessage', [at('sqs', 'shop-ecs')]]);
    const sent = ofService(policy, 'sqs').find(([action]) => action === 'sqs:SendMessage');
    expect(sent).toEqual(['sqs:SendMessage', every]);
  });

  test('lets a reconciler send, also what follows a job that has failed, and neither receive nor delete', async () => {
    const { policy } = await iam('reconciler');
    const queues = [at('sqs', 'shop-ecs'), at('sqs', 'shop-ecs-dead')];
    expect(ofService(policy, 'sqs')).toEqual([
      ['sqs:GetQueueAttributes', queues],
      ['sqs:GetQueueUrl', every],
      ['sqs:SendMessage', every],
    ]);
    expect(ofService(policy, 'dynamodb').length).toBeGreaterThan(4);
  });

  test('lets the container of a job end its message, and send tasks to all queues that the app knows', async () => {
    const { policy } = await iam('container');
    const on = (action: string) =>
      ofService(policy, 'sqs').flatMap(([name, resources]) => (name === action ? resources : []));
    expect(on('sqs:ReceiveMessage')).toEqual([]);
    expect(on('sqs:DeleteMessage')).toEqual([at('sqs', 'shop-ecs')]);
    expect(on('sqs:SendMessage')).toEqual(every);
  });

  test('lets a worker on ECS be spared from scale-in', async () => {
    const { policy } = await iam('worker', '--cluster', 'work');
    expect(ofService(policy, 'ecs')).toEqual([
      ['ecs:GetTaskProtection', [at('ecs', 'task/work/*')], onEcs],
      ['ecs:UpdateTaskProtection', [at('ecs', 'task/work/*')], onEcs],
    ]);
    expect(ofService((await iam('worker')).policy, 'ecs')).toEqual([]);
  });

  test.each([
    [['monitor'], /expected --service/],
    [['monitor', '--service', 'mailer'], /expected --cluster/],
    [['monitor', '--service', 'mailer', '--cluster', 'work', '--namespace', 'AWS/x'], /AWS\/ is for metrics of AWS/],
    [['dispatcher'], /expected --cluster/],
    [['dispatcher', '--cluster', 'work'], /expected --task-definition/],
    [['dispatcher', '--cluster', 'work', '--task-definition', 'x'], /both roles .* got none/],
    [['dispatcher', '--cluster', 'work', '--task-definition', 'x', '--pass-roles', 'task'], /got task/],
  ])('refuses %j', async (args, message) => {
    const { status, stderr } = await iam(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });

  test('tells roles of jobs to whoever has no SQS, and a monitor of any broker where its cluster is', async () => {
    const place = new Place();
    expect(await place.run(['iam', '--role', 'reconciler'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('expected a broker sqs://'),
    });
    const monitor = ['iam', '--role', 'monitor', '--cluster', 'work', '--service', 'mailer'];
    expect((await place.run(monitor)).stderr).toContain('give its ARN, or --account and --region');
    const known = ['--account', '123456789012', '--region', 'eu-west-1', '--json'];
    const { stdout } = await place.run([...monitor, ...known]);
    expect(allowedBy(JSON.parse(stdout)).map(([action]) => action)).toEqual([
      'cloudwatch:PutMetricData',
      'ecs:DescribeServices',
    ]);
  });
});

describe('a monitor', () => {
  test.each([
    ['that reads runtimes', []],
    ['that leads and scales', ['--leader', '--from-zero', '--service-time', '1s']],
  ])('%s asks for all that its policy allows, and for nothing else', async (_, more) => {
    const aws = await startAwsServer();
    onTestFinished(() => aws[Symbol.asyncDispose]());
    const sleeper = [process.execPath, '-e', "process.on('SIGTERM',()=>process.exit(0));setInterval(()=>{},1e3)"];
    aws.ecs.registerTaskDefinition({ family: 'worker', container: { name: 'main', command: sleeper } });
    aws.ecs.addService({ cluster: 'work', name: 'mailer', family: 'worker', desiredCount: 0 });
    await using queues = await startAwsProxy(sqs.port);
    await using table = await startAwsProxy(dynamodb.port);
    const name = `least${more.length}`;
    await dynamodb.makeTable(name);
    const place = new Place();
    const urls = (sqsPort: number, tablePort: number) => [
      '-b',
      `sqs://test:test@127.0.0.1:${sqsPort}//?is_secure=false&queue_name_prefix=${name}-`,
      '--result-backend',
      `dynamodb://test:test@localhost:${tablePort}/${name}`,
    ];
    await place.run(['setup', ...urls(sqs.port, dynamodb.port)]);
    expect((await place.run(['call', 'x', ...urls(sqs.port, dynamodb.port)])).status).toBe(0);
    const service = ['--cluster', 'work', '--service', 'mailer', ...more];
    const stores = urls(queues.port, table.port);
    const line = ['autoscale', 'monitor', ...service, ...stores];
    const first = place.start(line, aws.env);
    await first.says('message ready');
    // Beside the first one, which may lead, and after it.
    expect((await place.run([...line, '--once'], aws.env)).status).toBe(0);
    first.process.kill('SIGTERM');
    expect(await first.end()).toMatchObject({ status: 0, stderr: expect.not.stringContaining('error') });
    expect((await place.run([...line, '--once'], aws.env)).status).toBe(0);
    const asked = [
      ...[...queues.counts.keys()].map((action) => `sqs:${action}`),
      ...[...table.counts.keys()].map((action) => `dynamodb:${action}`),
      ...aws.requests.map(({ action }) => `${action === 'PutMetricData' ? 'cloudwatch' : 'ecs'}:${action}`),
    ];
    const iamLine = ['iam', '--role', 'monitor', '--json', '--account', '123456789012', ...service];
    const { stdout } = await place.run([...iamLine, ...urls(sqs.port, dynamodb.port)]);
    expect([...new Set(asked)].sort()).toEqual(allowedBy(JSON.parse(stdout)).map(([action]) => action));
  });
});
