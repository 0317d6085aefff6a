import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { awsTemplate } from '../../src/aws/template/template.ts';
import { Lovage } from '../../src/index.ts';
import { propertyFaults, templateFaults } from '../support/cloudformation.ts';

function makeApp(options: ConstructorParameters<typeof Lovage>[1] = {}) {
  return new Lovage('t', { broker: 'sqs://', backend: 'dynamodb://@eu-west-1/results', ...options });
}

describe('the template of CloudFormation', () => {
  test.each([
    ['a standard queue', {}],
    ['a FIFO queue, with a prefix', { brokerTransportOptions: { queueNamePrefix: 'shop-', fifo: true } }],
  ])('is what AWS knows of its resources: %s', (_, options) => {
    expect(templateFaults(awsTemplate(makeApp(options).config, 'app.ts'))).toEqual([]);
  });

  test('finds what is wrong: the check itself is checked', () => {
    expect(propertyFaults('AWS::SQS::Queue', { QueName: 'x', VisibilityTimeout: '1' }, 'Q')).toHaveLength(2);
    const made = awsTemplate(makeApp().config, 'app.ts');
    const Outputs = { A: { Value: { Ref: 'None' } }, B: { Value: { 'Fn::Sub': `x-$\{Queue.Nothing}` } } };
    expect(templateFaults({ ...made, Outputs })).toEqual(['there is no None', 'there is no Queue.Nothing']);
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
