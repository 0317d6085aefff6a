import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { loadAwsServiceSpecSync } from '@aws-cdk/aws-service-spec';
import type { PropertyType } from '@aws-cdk/service-spec-types';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { awsTemplate } from '../../src/aws/template.ts';
import { Lovage } from '../../src/index.ts';

/** What AWS says of its resources, as its own CDK has it. */
let spec: ReturnType<typeof loadAwsServiceSpecSync>;
beforeAll(() => {
  spec = loadAwsServiceSpecSync();
});

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isIntrinsic = (value: unknown) => isMap(value) && Object.keys(value).some((key) => /^(Ref|Fn::\w+)$/.test(key));

/** What is wrong with a value, by the type that the specification gives it. */
function faultsOf(value: unknown, type: PropertyType, where: string): string[] {
  if (isIntrinsic(value)) return [];
  switch (type.type) {
    case 'ref': {
      const { properties, name } = spec.get('typeDefinition', type.reference.$ref);
      return isMap(value) ? faultsIn(value, properties, where) : [`${where}: expected ${name}`];
    }
    case 'array':
      if (!Array.isArray(value)) return [`${where}: expected a list`];
      return value.flatMap((one, i) => faultsOf(one, type.element, `${where}[${i}]`));
    case 'map':
      if (!isMap(value)) return [`${where}: expected a map`];
      return Object.entries(value).flatMap(([key, one]) => faultsOf(one, type.element, `${where}.${key}`));
    case 'union': {
      const tries = type.types.map((one) => faultsOf(value, one, where));
      return tries.some((faults) => faults.length === 0) ? [] : (tries[0] ?? []);
    }
    case 'string':
      return typeof value === 'string' ? [] : [`${where}: expected a text`];
    case 'integer':
    case 'number':
      return typeof value === 'number' ? [] : [`${where}: expected a number`];
    case 'boolean':
      return typeof value === 'boolean' ? [] : [`${where}: expected true or false`];
    default:
      return [];
  }
}

function faultsIn(
  given: Record<string, unknown>,
  known: Readonly<Record<string, { readonly type: PropertyType; readonly required?: boolean }>>,
  where: string,
): string[] {
  const missing = Object.entries(known).filter(([name, { required }]) => required && !(name in given));
  return [
    ...missing.map(([name]) => `${where}: ${name} is missing`),
    ...Object.entries(given).flatMap(([name, value]) => {
      const property = known[name];
      return property ? faultsOf(value, property.type, `${where}.${name}`) : [`${where}: there is no ${name}`];
    }),
  ];
}

function makeApp(options: ConstructorParameters<typeof Lovage>[1] = {}) {
  return new Lovage('t', { broker: 'sqs://', backend: 'dynamodb://@eu-west-1/results', ...options });
}

/** Every name that something in the template refers to. */
function refsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(refsIn);
  if (!isMap(value)) return [];
  const { Ref, 'Fn::GetAtt': attribute, 'Fn::Sub': text } = value;
  const own = [Ref, Array.isArray(attribute) ? attribute[0] : undefined].filter((one) => typeof one === 'string');
  const inText = [...String(text ?? '').matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => name);
  return [...(own as string[]), ...inText, ...Object.values(value).flatMap(refsIn)];
}

describe('the template of CloudFormation', () => {
  test.each([
    ['a standard queue', {}],
    ['a FIFO queue, with a prefix', { brokerTransportOptions: { queueNamePrefix: 'shop-', fifo: true } }],
  ])('is what AWS knows of its resources: %s', (_, options) => {
    const { Resources, Parameters } = awsTemplate(makeApp(options).config, 'app.ts');
    for (const [name, { Type, Properties }] of Object.entries(Resources)) {
      const [resource] = spec.lookup('resource', 'cloudFormationType', 'equals', Type);
      if (!resource) expect.fail(`${name}: there is no ${Type}`);
      expect(faultsIn(Properties, resource.properties, name)).toEqual([]);
    }
    const names = new Set([...Object.keys(Resources), ...Object.keys(Parameters)]);
    const unknown = refsIn(Resources).filter((name) => !names.has(name) && !name.startsWith('AWS::'));
    expect(unknown).toEqual([]);
  });

  test('finds what is wrong: the check itself is checked', () => {
    const [queue] = spec.lookup('resource', 'cloudFormationType', 'equals', 'AWS::SQS::Queue');
    expect(faultsIn({ QueName: 'x', VisibilityTimeout: '1' }, queue?.properties ?? {}, 'Q')).toHaveLength(2);
  });

  test('follows the configuration', () => {
    const app = makeApp({ taskEcsQueue: 'long', brokerTransportOptions: { queueNamePrefix: 'shop-' } });
    const { Resources } = awsTemplate(app.config, 'src/app.ts', { functionTimeout: 30, cpu: 512, stopTimeout: 90 });
    expect(Resources.Queue?.Properties).toMatchObject({ QueueName: 'shop-long', VisibilityTimeout: 180 });
    expect(Resources.Table?.Properties).toMatchObject({ TableName: 'results' });
    expect(Resources.DispatcherMapping?.Properties).toMatchObject({
      FunctionResponseTypes: ['ReportBatchItemFailures'],
    });
    expect(Resources.TaskDefinition?.Properties).toMatchObject({
      Cpu: '512',
      ContainerDefinitions: [
        {
          EntryPoint: ['node', 'node_modules/lovage/dist/cli/main.js'],
          Command: ['-A', 'src/app.ts', 'run-one'],
          StopTimeout: 90,
          Environment: expect.arrayContaining([{ Name: 'ECS_CONTAINER_STOP_TIMEOUT', Value: '90' }]),
        },
      ],
    });
  });

  test('comes from the command line as YAML or JSON', async () => {
    const root = join(import.meta.dirname, '..', '..');
    const app = ['-A', join(root, 'examples/csv-import/ecs/app.ts'), '-b', 'sqs://', '--result-backend', 'dynamodb://'];
    const lovage = (...args: string[]) =>
      promisify(execFile)(process.execPath, [join(root, 'src/cli/main.ts'), ...app, 'deploy', 'aws', ...args]);
    const json = JSON.parse((await lovage('--template', '--format', 'json', '--memory', '4096')).stdout);
    expect(json.Resources.TaskDefinition.Properties.Memory).toBe('4096');
    expect(parse((await lovage('--template', '--memory', '4096')).stdout)).toEqual(json);
    await expect(lovage()).rejects.toThrow(/deploys nothing by itself: say --template/);
  });

  test('allows nothing on everything', () => {
    const text = JSON.stringify(awsTemplate(makeApp().config, 'app.ts').Resources);
    expect(text).not.toMatch(/"Resource":"\*"|"Action":"\*"|:\*"\]/);
  });

  test.each([
    ['another broker', { broker: 'redis://localhost' }, /got redis:\/\/localhost/],
    ['another result backend', { backend: 'sqlite:///tmp/x.db' }, /expected|got sqs:/],
    ['keys in a URL', { broker: 'sqs://key:secret@' }, /leave them out/],
  ])('is refused for an application with %s', (_, options, message) => {
    expect(() => awsTemplate(makeApp(options).config, 'app.ts')).toThrow(message);
  });
});
