import { describe, expect, test } from 'vitest';
import { checkDispatcher, type EcsDispatcherOptions, targetOf } from '../../../src/aws/dispatch/ecs-options.ts';
import { MAX_OVERRIDES, runTaskRequest } from '../../../src/aws/dispatch/run-task-request.ts';
import { classifyRunTask, type VerdictKind } from '../../../src/aws/dispatch/run-task-verdict.ts';
import { TokenBucket } from '../../../src/aws/dispatch/token-bucket.ts';
import { MessageTooLargeError } from '../../../src/errors.ts';
import { Lovage } from '../../../src/index.ts';

function raised(name: string, message: string, more: object = {}): Error {
  return Object.assign(new Error(message), { name, ...more });
}

const refused = (reason: string) => ({ tasks: [], failures: [{ arn: 'arn:aws:ecs:eu-west-1:1:container/x', reason }] });

describe('an answer to RunTask', () => {
  test.each<[string, Parameters<typeof classifyRunTask>[0], VerdictKind]>([
    ['a task', { tasks: [{ taskArn: 'arn:1' }], failures: [] }, 'started'],
    ['no memory', refused('RESOURCE:MEMORY'), 'capacity'],
    ['no CPU', refused('RESOURCE:CPU'), 'capacity'],
    ['no network interface', refused('RESOURCE:ENI'), 'capacity'],
    ['no Fargate', refused('Capacity is unavailable at this time. Please try again later'), 'capacity'],
    [
      'a quota of tasks',
      refused("You've reached the limit on the number of tasks you can run concurrently"),
      'capacity',
    ],
    [
      'a quota of vCPUs',
      refused("You've reached the limit on the number of vCPUs you can run concurrently"),
      'capacity',
    ],
    ['a lost agent', refused('AGENT'), 'trouble'],
    ['a constraint', refused('ATTRIBUTE'), 'configuration'],
    ['a missing definition', refused('MISSING'), 'configuration'],
    ['an inactive cluster', refused('INACTIVE'), 'configuration'],
    ['words that nobody knows', refused('SOMETHING NEW'), 'trouble'],
    ['neither task nor failure', { tasks: [], failures: [] }, 'trouble'],
    ['throttling', raised('ThrottlingException', 'Rate exceeded'), 'throttled'],
    [
      'throttling of EC2, wrapped',
      raised(
        'InvalidParameterException',
        'Unexpected EC2 error while attempting to Create Network Interface: Rate exceeded (ErrorCode: Throttling)',
      ),
      'throttled',
    ],
    ['throttling by HTTP status', raised('Odd', 'slow down', { $metadata: { httpStatusCode: 429 } }), 'throttled'],
    [
      'too many that begin',
      raised('ClientException', 'The cluster has too many tasks in the PROVISIONING state'),
      'capacity',
    ],
    ['an inactive definition', raised('ClientException', 'TaskDefinition is inactive'), 'configuration'],
    ['a wrong subnet', raised('InvalidParameterException', 'The subnet ID subnet-1 does not exist'), 'configuration'],
    ['no cluster', raised('ClusterNotFoundException', 'Cluster not found.'), 'configuration'],
    ['no permission', raised('AccessDeniedException', 'not authorized to perform: iam:PassRole'), 'configuration'],
    ['an unknown platform', raised('PlatformUnknownException', 'no such platform'), 'configuration'],
    [
      'overrides too large',
      raised('InvalidParameterException', 'Container Overrides length must be at most 8192'),
      'refused',
    ],
    ['a fault of ECS', raised('ServerException', 'Service Unavailable'), 'trouble'],
    ['a broken connection', raised('Error', 'socket hang up', { code: 'ECONNRESET' }), 'trouble'],
    ['no answer in time', raised('TimeoutError', 'no answer'), 'trouble'],
    ['a token that was used', raised('ConflictException', 'used', { resourceIds: ['arn:2'] }), 'started'],
  ])('that says %s', (_, answer, kind) => {
    expect(classifyRunTask(answer).kind).toBe(kind);
  });

  test('names the task that a token had started before', () => {
    expect(classifyRunTask(raised('ConflictException', 'used', { resourceIds: ['arn:2'] })).taskArn).toBe('arn:2');
  });

  test('rings for what will not pass by itself, and for nothing else', () => {
    expect(classifyRunTask(refused('RESOURCE:CPU')).alarm).toBe(false);
    expect(classifyRunTask(raised('ThrottlingException', 'Rate exceeded')).alarm).toBe(false);
    expect(classifyRunTask(refused("You've reached the limit on the number of tasks")).alarm).toBe(true);
    expect(classifyRunTask(raised('ClusterNotFoundException', 'Cluster not found.')).alarm).toBe(true);
  });
});

const options: EcsDispatcherOptions = { cluster: 'jobs', taskDefinition: 'import', container: 'app', mode: 'receipt' };

describe('a request to RunTask', () => {
  const job = { env: { LOVAGE_JOB: 'j' }, identity: ['a', '0'], startedBy: 'lovage/j/0' };

  test('is the same for the same job, so that ECS starts it once', () => {
    const target = targetOf(options);
    expect(runTaskRequest(target, job)).toEqual(runTaskRequest(target, { ...job }));
    const { clientToken } = runTaskRequest(target, job);
    expect(clientToken).toMatch(/^[\x21-\x7e]{1,64}$/);
    expect(runTaskRequest(target, { ...job, identity: ['a', '1'] }).clientToken).not.toBe(clientToken);
  });

  test('says which container, what it runs and where', () => {
    const target = targetOf({
      ...options,
      launchType: 'FARGATE',
      networkConfiguration: { subnets: ['subnet-1'], assignPublicIp: 'ENABLED' },
      command: ['lovage', 'run-one'],
    });
    expect(runTaskRequest(target, job)).toMatchObject({
      launchType: 'FARGATE',
      networkConfiguration: { awsvpcConfiguration: { subnets: ['subnet-1'], assignPublicIp: 'ENABLED' } },
      overrides: {
        containerOverrides: [
          { name: 'app', command: ['lovage', 'run-one'], environment: [{ name: 'LOVAGE_JOB', value: 'j' }] },
        ],
      },
    });
  });

  test('with overrides of more than 8,192 characters is refused before it is sent', () => {
    const target = targetOf(options);
    const length = (value: string) =>
      JSON.stringify(runTaskRequest(target, { ...job, env: { A: value } }).overrides).length;
    const room = MAX_OVERRIDES - length('');
    expect(length('x'.repeat(room))).toBe(MAX_OVERRIDES);
    expect(() => length('x'.repeat(room + 1))).toThrow(MessageTooLargeError);
    // As JSON: a quote is two characters.
    expect(() => length(`${'x'.repeat(room - 1)}"`)).toThrow(/8193 characters/);
  });
});

describe('options of a dispatcher', () => {
  const wrong = (changes: object) => () => checkDispatcher({ ...options, ...changes } as EcsDispatcherOptions);
  test.each<[string, object, RegExp]>([
    ['no cluster', { cluster: undefined }, /needs the option cluster/],
    ['an empty name', { container: '' }, /container.*expected a non-empty string/],
    ['Fargate without subnets', { launchType: 'FARGATE' }, /Fargate needs networkConfiguration/],
    [
      'Fargate Spot without subnets',
      { capacityProviderStrategy: [{ capacityProvider: 'FARGATE_SPOT' }] },
      /Fargate needs networkConfiguration/,
    ],
    [
      'both ways to say where',
      { launchType: 'EC2', capacityProviderStrategy: [{ capacityProvider: 'x' }] },
      /not both/,
    ],
    ['weights of 0', { capacityProviderStrategy: [{ capacityProvider: 'x', weight: 0 }] }, /weight above 0/],
    ['no subnets', { networkConfiguration: { subnets: [] } }, /subnets \(1 to 16\)/],
    ['a subnet that is none', { networkConfiguration: { subnets: [7] } }, /subnets \(1 to 16\)/],
    ['a typo', { networkConfiguratoin: {} }, /did you mean 'networkConfiguration'/],
    ['claims without an app', { mode: 'claim' }, /give the option app/],
    ['a mode that is none', { mode: 'both' }, /'claim', 'receipt'/],
    ['a rate of 0', { runTasksPerSecond: 0 }, /above 0/],
    ['NaN', { runTasksPerSecond: Number.NaN }, /above 0/],
    ['an app that is none', { app: 'app' }, /an application/],
  ])('with %s are refused', (_, changes, message) => {
    expect(wrong(changes)).toThrow(message);
  });

  test('that are right pass', () => {
    const app = new Lovage('test', { broker: 'memory://options' });
    expect(
      wrong({ app, mode: 'claim', launchType: 'FARGATE', networkConfiguration: { subnets: ['subnet-1'] } }),
    ).not.toThrow();
  });
});

test('a token bucket hands out a burst at once, then a steady rate', () => {
  let now = 0;
  const bucket = new TokenBucket(20, 20, () => now);
  const first = Array.from({ length: 22 }, () => bucket.take());
  expect(first.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 0));
  expect(first.slice(20)).toEqual([50, 100]);
  now = 10_000;
  expect(Array.from({ length: 21 }, () => bucket.take()).at(-1)).toBe(50);
  // Who has no time for it takes nothing from the others.
  expect(bucket.take(10)).toBeUndefined();
  expect(bucket.take(100)).toBe(100);
  expect(new TokenBucket(0.1, undefined, () => now).take()).toBe(0);
});
