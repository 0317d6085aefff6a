/** SQS, ECS and an application in one place: a poller does what Lambda's does, ECS tasks are processes of this machine. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import type { LovageApp } from '../../src/app/app.ts';
import type { BatchAnswer, SqsRecord } from '../../src/aws/dispatch/sqs-event.ts';
import { type EcsDispatcherOptions, ecsDispatcher, ecsReconciler } from '../../src/aws/index.ts';
import { type AwsServer, startAwsServer } from './aws-server/server.ts';
import { ecsApp } from './ecs-app.ts';
import { type SqsServer, startSqs } from './sqs-server.ts';

const root = join(import.meta.dirname, '..', '..');
const account = '000000000000';

export interface YardOptions {
  /** Seconds that a lease lasts. */
  readonly lease?: number;
  readonly bootMs?: number;
  /** Where results and jobs are kept. Default: a SQLite file. */
  readonly backend?: string;
  /** The store for large payloads. Default: none. */
  readonly payloads?: string;
}

export class Yard implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-ecs-'));
  readonly notesFile = join(this.folder, 'notes');
  readonly sqs: SqsServer;
  readonly aws: AwsServer;
  readonly client: SQSClient;
  readonly tasks: ReturnType<typeof ecsApp>;
  /** What the handler has thrown: nothing, that is. */
  readonly thrown: unknown[] = [];
  readonly answers: BatchAnswer[] = [];
  /** The environment of containers. */
  readonly env: Record<string, string>;

  static async open(options: YardOptions = {}): Promise<Yard> {
    const aws = await startAwsServer({ bootMs: options.bootMs ?? 0 });
    return new Yard(await startSqs(), aws, options);
  }

  constructor(sqs: SqsServer, aws: AwsServer, { lease = 30, backend, payloads }: YardOptions) {
    this.sqs = sqs;
    this.aws = aws;
    writeFileSync(this.notesFile, '');
    const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
    this.client = new SQSClient({ region: 'us-east-1', endpoint: sqs.endpoint, credentials });
    this.env = {
      TEST_BROKER: sqs.url,
      TEST_BACKEND: backend ?? `sqlite://${join(this.folder, 'results.db')}`,
      TEST_NOTES: this.notesFile,
      TEST_LEASE: String(lease),
      ...(payloads && { TEST_PAYLOADS: payloads }),
    };
    Object.assign(process.env, { TEST_LEASE: String(lease), AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
    this.tasks = ecsApp({
      broker: this.env.TEST_BROKER,
      backend: this.env.TEST_BACKEND,
      notes: this.notesFile,
      payloads,
    });
    aws.ecs.addCluster('jobs');
    aws.ecs.registerTaskDefinition({
      family: 'runner',
      awsvpc: true,
      container: {
        name: 'app',
        command: [
          process.execPath,
          join(root, 'src/cli/main.ts'),
          '-A',
          join(root, 'test/support/ecs-app.ts'),
          'run-one',
        ],
        environment: {
          ...this.env,
          ECS_CONTAINER_STOP_TIMEOUT: '5',
          ...(process.env.TEST_DEBUG && { TEST_DEBUG: '1' }),
        },
        stopTimeoutMs: 5_000,
      },
    });
  }

  get app() {
    return this.tasks.app;
  }

  dispatcher(changes: Partial<EcsDispatcherOptions> = {}) {
    return ecsDispatcher({
      app: this.app,
      cluster: 'jobs',
      taskDefinition: 'runner',
      container: 'app',
      launchType: 'FARGATE',
      networkConfiguration: { subnets: ['subnet-1'] },
      ...this.ecsPlace,
      ...changes,
    });
  }

  /** How the dispatcher finds the test server. */
  get ecsPlace() {
    return { region: this.aws.ecs.region, endpointUrl: this.aws.endpoint };
  }

  /** Has the reconciler hear of every ECS task that stops; returns what it did. */
  reconcile(changes: Parameters<typeof ecsReconciler>[1] = {}, app: LovageApp = this.app) {
    const handler = ecsReconciler(app, changes);
    const pending = new Set<Promise<unknown>>();
    const stop = this.aws.ecs.onTaskStateChange((event) => {
      const handling = handler(event)
        .catch((error) => this.thrown.push(error))
        .finally(() => pending.delete(handling));
      pending.add(handling);
    });
    return {
      sweep: () => handler(),
      handler,
      [Symbol.asyncDispose]: async () => {
        stop();
        await Promise.all(pending);
      },
    };
  }

  async queue(name: string, attributes: Record<string, string> = {}): Promise<string> {
    const { QueueUrl = '' } = await this.client.send(
      new CreateQueueCommand({ QueueName: name, Attributes: attributes }),
    );
    return QueueUrl;
  }

  async sendRaw(queue: string, body: string): Promise<void> {
    await this.client.send(new SendMessageCommand({ QueueUrl: await this.queue(queue), MessageBody: body }));
  }

  /** How many messages a queue has, hidden and delayed ones included. */
  async depth(queue: string): Promise<number> {
    const { Attributes = {} } = await this.client.send(
      new GetQueueAttributesCommand({ QueueUrl: await this.queue(queue), AttributeNames: ['All'] }),
    );
    const { ApproximateNumberOfMessages: a, ApproximateNumberOfMessagesNotVisible: b } = Attributes;
    return Number(a) + Number(b) + Number(Attributes.ApproximateNumberOfMessagesDelayed ?? 0);
  }

  /** Receives once, as records of Lambda. */
  async receive(queue: string, visibility = 30): Promise<SqsRecord[]> {
    const { Messages = [] } = await this.client.send(
      new ReceiveMessageCommand({
        QueueUrl: await this.queue(queue),
        MaxNumberOfMessages: 10,
        VisibilityTimeout: visibility,
        MessageSystemAttributeNames: ['All'],
        MessageAttributeNames: ['All'],
      }),
    );
    return Messages.map((message) => recordOf(message, queue));
  }

  /** Calls a handler as Lambda does, and deletes what it does not name. */
  async invoke(handler: ReturnType<typeof ecsDispatcher>, records: readonly SqsRecord[]): Promise<BatchAnswer> {
    const answer = await handler({ Records: records }, { getRemainingTimeInMillis: () => 60_000 }).catch((error) => {
      this.thrown.push(error);
      return { batchItemFailures: records.map(({ messageId }) => ({ itemIdentifier: messageId })) };
    });
    this.answers.push(answer);
    const failed = new Set(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    for (const record of records.filter(({ messageId }) => !failed.has(messageId))) {
      const name = record.eventSourceARN.split(':').at(-1) ?? '';
      await this.client.send(
        new DeleteMessageCommand({ QueueUrl: await this.queue(name), ReceiptHandle: record.receiptHandle }),
      );
    }
    return answer;
  }

  /** Polls a queue until it is disposed of. `calls` makes of one batch the calls that Lambda makes; `hasRoom` stands for its limit of concurrency. */
  poll(
    queue: string,
    handler: ReturnType<typeof ecsDispatcher>,
    calls: (records: readonly SqsRecord[]) => readonly (readonly SqsRecord[])[] = (records) => [records],
    hasRoom: () => boolean = () => true,
  ): AsyncDisposable {
    let polling = true;
    const loop = (async () => {
      while (polling) {
        const records = hasRoom() ? await this.receive(queue) : [];
        if (records.length > 0) await Promise.all(calls(records).map((some) => this.invoke(handler, some)));
        else await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    return {
      [Symbol.asyncDispose]: async () => {
        polling = false;
        await loop;
      },
    };
  }

  /** Shows a message at once, as if its time were over. */
  async show(record: SqsRecord): Promise<void> {
    const name = record.eventSourceARN.split(':').at(-1) ?? '';
    await this.client.send(
      new ChangeMessageVisibilityCommand({
        QueueUrl: await this.queue(name),
        ReceiptHandle: record.receiptHandle,
        VisibilityTimeout: 0,
      }),
    );
  }

  notes(): string[] {
    return readFileSync(this.notesFile, 'utf8').split('\n').slice(0, -1);
  }

  /** What the containers have printed. */
  get output(): string {
    return [...this.aws.ecs.tasks.values()].map(({ arn }) => this.aws.ecs.output(arn)).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.aws[Symbol.asyncDispose]();
    await this.app.close();
    this.client.destroy();
    await this.sqs[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A message as Lambda tells of it. */
function recordOf(message: Message, queue: string): SqsRecord {
  const { MessageId = '', ReceiptHandle = '', Body = '', Attributes = {}, MessageAttributes = {} } = message;
  const messageAttributes = Object.fromEntries(
    Object.entries(MessageAttributes).map(([name, { StringValue = null, DataType = 'String' }]) => [
      name,
      { stringValue: StringValue, binaryValue: null, dataType: DataType },
    ]),
  );
  return {
    messageId: MessageId,
    receiptHandle: ReceiptHandle,
    body: Body,
    attributes: Attributes as Record<string, string>,
    messageAttributes,
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:us-east-1:${account}:${queue}`,
  };
}
