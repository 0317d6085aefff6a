/** The workers in the template of CloudFormation: that they, their monitor and their policy say the same as the command line. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Template } from '../../src/aws/template/template.ts';
import { lovageProgram } from '../../src/cli/program.ts';
import { Lovage } from '../../src/index.ts';
import { Place } from '../cli/lovage.ts';
import { startAwsServer } from '../support/aws-server/server.ts';
import { templateFaults } from '../support/cloudformation.ts';
import { quiet } from '../support/in-memory.ts';
import { startSqs } from '../support/sqs-server.ts';
import { until } from '../support/workplace.ts';

const root = join(import.meta.dirname, '..', '..');

/** An application with queues of its own and long jobs. */
const appText = `
import { Lovage } from 'lovage';
export const app = new Lovage('shop', {
  broker: process.env.TEST_BROKER ?? 'sqs://',
  backend: 'dynamodb://@eu-west-1/results',
  taskQueues: ['mail', 'slow.images', 'ecs'],
  brokerTransportOptions: JSON.parse(process.env.TEST_OPTIONS ?? '{}'),
});
`;

interface Given {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly args?: readonly string[];
}

/** A folder with the application, and the command line there. */
function start() {
  const place = new Place();
  const file = place.write('app.ts', appText);
  const templateOf = async ({ options = {}, args = [] }: Given = {}): Promise<Template> => {
    const env = { TEST_OPTIONS: JSON.stringify(options) };
    const line = ['-A', file, 'deploy', 'aws', '--template', '--format', 'json', ...args];
    const { stdout, stderr } = await place.run(line, env);
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout);
  };
  return { place, file, templateOf };
}

const names: Readonly<Record<string, string>> = { Cluster: 'work', 'WorkerService.Name': 'mailer' };

/** What CloudFormation makes of a part of a template, where these names are known. */
function filledIn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(filledIn);
  if (typeof value !== 'object' || value === null) return value;
  const [[key, of] = ['', undefined]] = Object.entries(value);
  if (key === 'Ref') return names[String(of)] ?? value;
  if (key === 'Fn::GetAtt' && Array.isArray(of)) return names[of.join('.')] ?? value;
  if (key === 'Fn::Sub') return String(of).replace(/\$\{([\w.]+)\}/g, (text, name) => names[name] ?? text);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, filledIn(one)]));
}

function propertiesOf({ Resources }: Template, name: string): Record<string, unknown> {
  const resource = Resources[name];
  if (!resource) throw new Error(`there is no ${name}, only ${Object.keys(Resources).join(', ')}`);
  return filledIn(resource.Properties) as Record<string, unknown>;
}

/** The command line of a container. */
function commandOf(template: Template, name: string): string[] {
  const { ContainerDefinitions } = propertiesOf(template, name);
  return (ContainerDefinitions as { Command: string[] }[])[0]?.Command ?? [];
}

/** What is wrong with a command line: options that its command does not have. */
function unknownIn(words: readonly string[]): string[] {
  const program: Command = lovageProgram();
  const { operands, unknown } = program.parseOptions([...words]);
  let command = program;
  let rest = [...operands, ...unknown];
  for (let next: Command | undefined = command; next; ) {
    command = next;
    next = command.commands.find((child) => child.name() === rest[0]);
    if (next) rest = rest.slice(1);
  }
  return command.parseOptions(rest).unknown;
}

describe('the workers of the template', () => {
  test.each<[string, Given]>([
    ['by default', {}],
    [
      'priorities, FIFO, a key and large payloads',
      {
        options: {
          prioritySteps: [0, 5],
          fifo: true,
          queueNamePrefix: 'shop-',
          payloadStore: 's3://payloads/large',
          sqsCreationAttributes: { KmsMasterKeyId: 'arn:aws:kms:eu-west-1:123456789012:key/x' },
        },
      },
    ],
    ['seconds', { args: ['--latency', '2m', '--min', '1'] }],
    ['workers only', { args: ['--no-jobs', '--concurrency', '4'] }],
    ['metric math', { args: ['--math'], options: { queueNamePrefix: 'shop-' } }],
    ['long jobs only', { args: ['--no-workers'] }],
  ])('are what AWS knows of its resources: %s', async (_, given) => {
    const { templateOf } = start();
    const template = await templateOf(given);
    expect(templateFaults(template)).toEqual([]);
    const { Resources } = template;
    for (const name of ['WorkerTaskDefinition', 'MonitorTaskDefinition'].filter((one) => one in Resources))
      expect(unknownIn(commandOf(template, name))).toEqual([]);
    const statements = Object.values(Resources).flatMap(({ Properties: { Policies = [] } }) =>
      (Policies as { PolicyDocument: { Statement: { Resource: unknown; Condition?: object }[] } }[]).flatMap(
        ({ PolicyDocument }) => PolicyDocument.Statement,
      ),
    );
    // Metrics have no ARN.
    const wide = statements.filter(({ Resource }) => Resource === '*');
    expect(wide.map(({ Condition }) => Condition)).toEqual(
      'MonitorService' in Resources ? [{ StringEquals: { 'cloudwatch:namespace': 'Lovage' } }] : [],
    );
  });

  test.each([
    ['messages for each task', ['--target', '50', '--max', '7']],
    [
      'names of their own',
      ['--target', '5', '--max', '3', '--namespace', 'Shop', '--metric', 'b', '--dimension', 'Q=x'],
    ],
    ['seconds', ['--latency', '3m', '--max', '7', '--scale-in-cooldown', '300']],
    ['a known service time', ['--latency', '3m', '--max', '7', '--service-time', '1500ms', '--concurrency', '2']],
    ['metric math', ['--math', '--target', '9', '--max', '4']],
  ])('are scaled as `lovage autoscale policy` says: %s', async (_, args) => {
    const { place, file, templateOf } = start();
    const template = await templateOf({ args });
    const where = ['--queue', 'mail,slow.images', '--cluster', 'work', '--service', 'mailer'];
    const { stdout } = await place.run(['-A', file, 'autoscale', 'policy', ...where, ...args, '--json']);
    const [register, tracking, fromZero, alarm] = JSON.parse(stdout).map(({ input }: { input: object }) => input);
    const target = { ScalingTargetId: { Ref: 'ScalableTarget' } };
    const { ServiceNamespace, ResourceId, ScalableDimension } = register;
    const of = ({ ServiceNamespace: a, ResourceId: b, ScalableDimension: c, ...rest }: Record<string, unknown>) => {
      expect([a, b, c]).toEqual([ServiceNamespace, ResourceId, ScalableDimension]);
      return { ...rest, ...target };
    };
    expect(propertiesOf(template, 'ScalableTarget')).toEqual({
      ...register,
      MinCapacity: { Ref: 'MinTasks' },
      MaxCapacity: { Ref: 'MaxTasks' },
    });
    const { MinTasks, MaxTasks } = template.Parameters;
    expect([MinTasks?.Default, MaxTasks?.Default]).toEqual([register.MinCapacity, register.MaxCapacity]);
    expect(propertiesOf(template, 'BacklogPolicy')).toEqual(of(tracking));
    expect(propertiesOf(template, 'FromZeroPolicy')).toEqual(of(fromZero));
    expect(propertiesOf(template, 'FromZeroAlarm')).toEqual({ ...alarm, AlarmActions: [{ Ref: 'FromZeroPolicy' }] });
  });

  test('need no monitor with --math: CloudWatch divides by the tasks of the service that the stack makes', async () => {
    const template = await start().templateOf({
      options: { queueNamePrefix: 'shop-', prioritySteps: [0, 5] },
      args: ['--math', '--queue', 'mail', '--no-jobs'],
    });
    expect(Object.keys(template.Resources).filter((name) => name.startsWith('Monitor'))).toEqual([]);
    const text = JSON.stringify(propertiesOf(template, 'BacklogPolicy'));
    expect([...text.matchAll(/"QueueName","Value":"([^"]*)"/g)].map(([, name]) => name)).toEqual([
      'shop-mail',
      'shop-mail-p5',
    ]);
    expect(text).toContain('"ClusterName","Value":"work"},{"Name":"ServiceName","Value":"mailer"');
    expect(template.Parameters.Cluster?.Description).toMatch(/Container Insights must be on/);
    expect(commandOf(template, 'WorkerTaskDefinition')).not.toContain('--report-runtimes');
  });

  test('may begin at more than zero, and then have no alarm; the parameter says so', async () => {
    const { Parameters, Conditions, Resources } = await start().templateOf({ args: ['--min', '2'] });
    expect(Parameters.MinTasks).toMatchObject({ Type: 'Number', Default: 2 });
    expect(Conditions.FromZero).toEqual({ 'Fn::Equals': [{ Ref: 'MinTasks' }, '0'] });
    expect([Resources.FromZeroPolicy?.Condition, Resources.FromZeroAlarm?.Condition]).toEqual(['FromZero', 'FromZero']);
  });

  test('have a monitor that publishes what policy and alarm look at: its own command line, run', async () => {
    const { file, templateOf } = start();
    await using sqs = await startSqs();
    const aws = await startAwsServer();
    onTestFinished(() => aws[Symbol.asyncDispose]());
    const sleeper = [process.execPath, '-e', "process.on('SIGTERM',()=>process.exit(0));setInterval(()=>{},1e3)"];
    aws.ecs.registerTaskDefinition({ family: 'worker', container: { name: 'app', command: sleeper } });
    const service = aws.ecs.addService({ cluster: 'work', name: 'mailer', family: 'worker', desiredCount: 2 });
    await until(() => aws.ecs.tasksOf(service).every(({ status }) => status === 'RUNNING'));
    const broker = `${sqs.url}&create_missing=true`;
    await using app = new Lovage('client', { broker, logger: quiet });
    for (let i = 0; i < 6; i++) await app.sendTask('x', [], { queue: i < 4 ? 'mail' : 'slow.images' });
    const template = await templateOf({ args: ['--service-time', '1s', '--namespace', 'Shop', '--target', '9'] });
    const [, , ...command] = commandOf(template, 'MonitorTaskDefinition');
    const main = join(root, 'src/cli/main.ts');
    await promisify(execFile)(process.execPath, [main, '-A', file, '-b', broker, ...command, '--once'], {
      env: { ...process.env, ...aws.env },
    });
    const { TargetTrackingScalingPolicyConfiguration: config } = propertiesOf(template, 'BacklogPolicy');
    const { CustomizedMetricSpecification: looks } = config as {
      CustomizedMetricSpecification: Record<string, unknown>;
    };
    const valuesOf = ({ Namespace, MetricName, Dimensions }: Record<string, unknown>) =>
      aws.cloudwatch
        .values(
          String(Namespace),
          String(MetricName),
          Object.fromEntries((Dimensions as { Name: string; Value: string }[]).map(({ Name, Value }) => [Name, Value])),
        )
        .map(({ value }) => value);
    expect(valuesOf(looks)).toEqual([3]);
    expect(valuesOf(propertiesOf(template, 'FromZeroAlarm'))).toEqual([0]);
  });

  test('have a container for Fargate, queues as `lovage setup` makes them, and rights on those alone', async () => {
    const { file, templateOf } = start();
    const template = await templateOf({ options: { queueNamePrefix: 'shop-', visibilityTimeout: 300 } });
    expect(commandOf(template, 'WorkerTaskDefinition')).toEqual(['-A', file, 'worker', '-Q', 'mail,slow.images']);
    expect(propertiesOf(template, 'WorkerTaskDefinition')).toMatchObject({
      Cpu: '512',
      Memory: '1024',
      ContainerDefinitions: [{ StopTimeout: 120 }],
    });
    const queues = Object.entries(template.Resources).filter(([name]) => name.startsWith('WorkerQueue'));
    expect(queues.map(([, { Properties }]) => Properties)).toMatchObject([
      { QueueName: 'shop-mail', VisibilityTimeout: 300, RedrivePolicy: { maxReceiveCount: 20 } },
      { QueueName: 'shop-slow-images', VisibilityTimeout: 300 },
    ]);
    const text = JSON.stringify(template.Resources.WorkerRole);
    expect(text).toMatch(/ecs:UpdateTaskProtection/);
    expect([...text.matchAll(/sqs:\$\{[^"]*?:([\w-]+)"/g)].map(([, name]) => name)).toEqual([
      'shop-mail',
      'shop-slow-images',
      'shop-mail-dead',
      'shop-slow-images-dead',
      'shop-ecs',
    ]);
  });

  test.each<[string, Given, RegExp]>([
    ['the queue of long jobs', { args: ['--queue', 'mail,ecs'] }, /queue 'ecs' is that of long jobs/],
    ['a size that Fargate does not have', { args: ['--worker-memory', '512'] }, /expected 1024 to 4096 MiB/],
    ['CPU that it does not have', { args: ['--worker-cpu', '300'] }, /CPU units that Fargate has: 256, 512/],
    ['fewer at most than at least', { args: ['--min', '5', '--max', '2'] }, /not below min/],
    ['two aims', { args: ['--target', '5', '--latency', '2m'] }, /and not both/],
    ['metric math of seconds', { args: ['--math', '--latency', '2m'] }, /--math knows no seconds/],
    ['more queues than metric math takes', { args: ['--math', '--queue', 'a,b,c,d,e,f,g,h'] }, /at most 7 queues/],
    ['names that CloudWatch refuses', { args: ['--namespace', 'AWS/x'] }, /AWS\/ is for metrics of AWS/],
    ['nothing in it', { args: ['--no-jobs', '--no-workers'] }, /is empty/],
    [
      'queues that are there',
      { options: { predefinedQueues: { mail: { url: 'https://sqs/1/mail' } } } },
      /leave it out/,
    ],
  ])('are refused with %s', async (_, given, message) => {
    await expect(start().templateOf(given)).rejects.toThrow(message);
  });
});
