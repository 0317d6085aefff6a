/** `lovage autoscale policy`, printed and applied. */
import { readFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Place } from '../cli/lovage.ts';
import { startAwsServer } from '../support/aws-server/server.ts';

const handMade = readFileSync(new URL('fixtures/hand-made-config.txt', import.meta.url), 'utf8');
const names = ['--namespace', 'SQS/BACKLOG', '--metric', 'backlogpertask', '--dimension', 'SQSName=qiita-sqs'];
const qiita = ['--cluster', 'QiitaCluster', '--service', 'worker-service'];
const place = {
  ServiceNamespace: 'ecs',
  ResourceId: 'service/QiitaCluster/worker-service',
  ScalableDimension: 'ecs:service:DesiredCount',
};

async function start() {
  const aws = await startAwsServer();
  onTestFinished(() => aws[Symbol.asyncDispose]());
  aws.ecs.registerTaskDefinition({ family: 'worker', container: { name: 'main', command: ['true'] } });
  aws.ecs.addService({ cluster: 'QiitaCluster', name: 'worker-service', family: 'worker', desiredCount: 0 });
  const folder = new Place();
  const lovage = (...args: string[]) => folder.run(['autoscale', 'policy', ...args], aws.env);
  return { aws, folder, lovage };
}

describe('lovage autoscale policy', () => {
  test('one command line prints the config.json of the hand-made set-up: the same characters but for white space', async () => {
    const { lovage } = await start();
    const { stdout } = await lovage('--target', '100', ...names, '--tracking-only');
    expect(stdout.replace(/\s+/g, '')).toBe(handMade.replace(/\s+/g, ''));
  });

  test('takes that config.json as it is, and applies what `aws application-autoscaling put-scaling-policy` does', async () => {
    const { aws, folder, lovage } = await start();
    const config = folder.write('config.json', handMade);
    const name = 'backlog100-target-tracking-scaling-policy';
    const line = [...qiita, '--min', '1', '--max', '10', '--tracking', config, '--name', name];
    const { status, stdout } = await lovage(...line, '--apply');
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining(`policyName/${name}`) });
    expect(aws.inputs('RegisterScalableTarget')).toEqual([{ ...place, MinCapacity: 1, MaxCapacity: 10 }]);
    expect(aws.inputs('PutScalingPolicy')).toEqual([
      {
        ...place,
        PolicyName: name,
        PolicyType: 'TargetTrackingScaling',
        TargetTrackingScalingPolicyConfiguration: JSON.parse(handMade),
      },
    ]);
    // Again is the same.
    expect((await lovage(...line, '--apply')).status).toBe(0);
    expect(aws.scaling.policies.size).toBe(1);
  });

  test('without --apply it prints the requests and asks for nothing', async () => {
    const { aws, lovage } = await start();
    const { status, stdout } = await lovage('--target', '100', '--max', '10', '--queue', 'mail', ...qiita);
    expect(status).toBe(0);
    const steps = JSON.parse(stdout) as { action: string }[];
    expect(steps.map(({ action }) => action)).toEqual([
      'application-autoscaling:RegisterScalableTarget',
      'application-autoscaling:PutScalingPolicy',
      'application-autoscaling:PutScalingPolicy',
      'cloudwatch:PutMetricAlarm',
    ]);
    expect(aws.requests).toEqual([]);
  });

  test('with a minimum of 0 it brings a policy and an alarm that start the first task', async () => {
    const { aws, lovage } = await start();
    expect((await lovage('--target', '100', '--max', '10', '--queue', 'a,b', ...qiita, '--apply')).status).toBe(0);
    const [, steps] = aws.inputs('PutScalingPolicy');
    expect(steps).toMatchObject({
      PolicyType: 'StepScaling',
      StepScalingPolicyConfiguration: {
        AdjustmentType: 'ChangeInCapacity',
        StepAdjustments: [{ ScalingAdjustment: 1 }],
      },
    });
    const [alarm] = aws.cloudwatch.alarms.values();
    const arn = [...aws.scaling.policies.values()].find(({ PolicyType }) => PolicyType === 'StepScaling')?.arn;
    expect(alarm).toMatchObject({
      Namespace: 'Lovage',
      MetricName: 'UnservedBacklog',
      Dimensions: [{ Name: 'QueueName', Value: '*' }],
      AlarmActions: [arn],
    });
  });

  test('with --math it needs no monitor: CloudWatch divides, also for several queues, and from zero', async () => {
    const { aws, lovage } = await start();
    const line = ['--math', '--target', '100', '--max', '10', '--queue', 'a,b', ...qiita, '--apply'];
    expect(await lovage(...line)).toMatchObject({ status: 0, stderr: '' });
    const [tracking] = aws.inputs('PutScalingPolicy');
    expect(JSON.stringify(tracking)).toContain('"Expression":"(m1 + m2) / IF(m3 > 0, m3, 1)"');
    expect(JSON.stringify([...aws.cloudwatch.alarms.values()])).toContain(
      'IF(FILL(m3, 0) + FILL(m4, 0) < 1, (m1 + m2), 0)',
    );
  });

  test('with --math it looks at queues by their names in SQS: with prefix, and one for each step of priority', async () => {
    const { lovage } = await start();
    const broker = 'sqs://?queue_name_prefix=shop-&priority_steps=0,5';
    const { stdout } = await lovage(
      '--math',
      '--target',
      '9',
      '--queue',
      'slow.mail',
      ...qiita,
      '--tracking-only',
      '-b',
      broker,
    );
    const queues = [...stdout.matchAll(/"QueueName",\s*"Value": "(.*)"/g)].map(([, name]) => name);
    expect(queues).toEqual(['shop-slow-mail', 'shop-slow-mail-p5']);
  });

  test('a latency becomes a target: messages where the service time is known, seconds where it is not', async () => {
    const { lovage } = await start();
    const config = async (...args: string[]) =>
      JSON.parse((await lovage(...args, '--queue', 'q', '--tracking-only')).stdout);
    expect(await config('--latency', '10m', '--service-time', '250ms')).toMatchObject({ TargetValue: 2400 });
    expect(await config('--latency', '10m', '--service-time', '0.25', '--concurrency', '4')).toMatchObject({
      TargetValue: 9600,
    });
    expect(await config('--latency', '2m')).toMatchObject({
      TargetValue: 120,
      CustomizedMetricSpecification: { MetricName: 'BacklogSeconds', Unit: 'Seconds' },
    });
  });

  test('what makes no sense is an error before anything is asked', async () => {
    const { aws, folder, lovage } = await start();
    let files = 0;
    const file = (text: string) => ['--tracking', folder.write(`bad-${files++}.json`, text)];
    const wrong: [string[], string][] = [
      [[], 'expected --target'],
      [['--target', '-5'], 'a number above 0'],
      [['--target', 'NaN'], 'a number above 0'],
      [['--target', '5', '--latency', '2m'], 'and not both'],
      [['--latency', '0'], 'above 0'],
      [['--latency', 'soon'], 'a time such as 90s'],
      [['--target', '5', '--min', '11'], 'not below min'],
      [['--target', '5', '--min', '-1'], 'whole number'],
      [['--math', '--latency', '2m'], '--service-time'],
      [file('{'), 'expected JSON'],
      [file('[]'), 'expected a JSON object'],
      [file('{"TargetValue": "100"}'), 'TargetValue above 0'],
      [file('{"TargetValue": 100}'), 'CustomizedMetricSpecification'],
      [file('{"TargetValue": 100, "Cooldown": 3}'), "'Cooldown' is no member"],
      [file('{"TargetValue": 1, "PredefinedMetricSpecification": {}, "ScaleInCooldown": -1}'), 'ScaleInCooldown'],
      [['--tracking', 'none.json'], 'none.json'],
    ];
    for (const [options, message] of wrong) {
      const { status, stderr } = await lovage('--max', '10', '--queue', 'q', ...qiita, '--apply', ...options);
      expect({ options, status, stderr }).toEqual({ options, status: 2, stderr: expect.stringContaining(message) });
    }
    expect((await lovage('--target', '5', '--queue', 'q', ...qiita)).stderr).toContain('expected --max');
    expect((await lovage('--target', '5', '--max', '3', '--queue', 'q')).stderr).toContain('--cluster');
    expect(aws.requests).toEqual([]);
  });

  test('what AWS refuses is told with the action', async () => {
    const { aws, lovage } = await start();
    aws.fail({
      action: 'PutScalingPolicy',
      answer: { error: 'AccessDeniedException', message: 'User is not authorized' },
    });
    const { status, stderr } = await lovage('--target', '5', '--max', '3', '--queue', 'q', ...qiita, '--apply');
    expect(status).toBe(1);
    expect(stderr).toContain(
      'error STORE_ACCESS: access denied: application-autoscaling:PutScalingPolicy on service/QiitaCluster/worker-service',
    );
  });
});
