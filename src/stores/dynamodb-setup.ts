import { setTimeout } from 'node:timers/promises';
import { StoreError } from '../errors.ts';
import { awsClientConfig, openAwsClient } from './aws-client.ts';
import { awsError, awsErrorName } from './aws-errors.ts';
import { loadDynamodb, tableArn } from './dynamodb-table.ts';
import { type DynamodbLocation, dynamodbLocation } from './dynamodb-url.ts';

/** Actions that policies must allow on the table, by who needs them. */
export const dynamodbActions = {
  /** Waits for results, forgets and revokes; counts the members of a chord that it sends, and asks for unique tasks. */
  producer: [
    'dynamodb:BatchGetItem',
    'dynamodb:GetItem',
    'dynamodb:PutItem',
    'dynamodb:UpdateItem',
    'dynamodb:DeleteItem',
    'dynamodb:BatchWriteItem',
  ],
  worker: [
    'dynamodb:BatchGetItem',
    'dynamodb:GetItem',
    'dynamodb:PutItem',
    'dynamodb:UpdateItem',
    'dynamodb:DeleteItem',
    'dynamodb:BatchWriteItem',
  ],
  setup: [
    'dynamodb:CreateTable',
    'dynamodb:DescribeTable',
    'dynamodb:DescribeTimeToLive',
    'dynamodb:UpdateTimeToLive',
  ],
} as const;

/** One thing that set-up does or would do. */
export interface SetupStep {
  /** What it is about, such as `table 'celery' in eu-west-1`. */
  readonly subject: string;
  readonly outcome: 'exists' | 'created' | 'would create' | 'changed' | 'would change' | 'not supported';
  /** One line for people. */
  readonly detail: string;
}

/** How to set up. */
export interface SetupOptions {
  /** Only looks, changes nothing. */
  readonly dryRun?: boolean;
}

/** How long a new table may take until it can be used. */
const CREATE_MS = 120_000;

/** The attribute by which DynamoDB removes items. */
const TTL_ATTRIBUTE = 'ttl';

type Sdk = Awaited<ReturnType<typeof loadDynamodb>>;
type Client = InstanceType<Sdk['DynamoDBClient']>;

interface Context {
  readonly sdk: Sdk;
  readonly client: Client;
  readonly location: DynamodbLocation;
  readonly region: string;
  readonly dryRun: boolean;
}

/**
 * Makes the table of a `dynamodb:` URL, paid by use, and has DynamoDB remove items whose time is over. Does nothing twice.
 * @throws ConfigError, StoreError
 */
export async function setUpDynamodb(
  url: string,
  options: Readonly<Record<string, unknown>> = {},
  { dryRun = false }: SetupOptions = {},
): Promise<SetupStep[]> {
  const location = dynamodbLocation(url, options);
  const sdk = await loadDynamodb();
  const client = new sdk.DynamoDBClient(awsClientConfig(location.address));
  try {
    const region = await openAwsClient(client, location.address, location.url);
    const context = { sdk, client, location, region, dryRun };
    const table = await makeTable(context);
    return table.outcome === 'would create' ? [table] : [table, await enableTtl(context)];
  } finally {
    client.destroy();
  }
}

async function makeTable(context: Context): Promise<SetupStep> {
  const { sdk, client, location, region, dryRun } = context;
  const TableName = location.table;
  const subject = `table '${TableName}' in ${region}`;
  const status = await statusOf(context);
  if (status !== undefined) return { subject, outcome: 'exists', detail: `status ${status}` };
  if (dryRun) return { subject, outcome: 'would create', detail: 'key id, paid by use, items end by their ttl' };
  const command = new sdk.CreateTableCommand({
    TableName,
    BillingMode: 'PAY_PER_REQUEST',
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
  });
  // Two that are set up at the same time: the other one made it.
  await send(context, 'CreateTable', () => client.send(command)).catch((error: Error) => {
    if (awsErrorName(error.cause) !== 'ResourceInUseException') throw error;
  });
  const deadline = performance.now() + CREATE_MS;
  while ((await statusOf(context)) !== 'ACTIVE') {
    if (performance.now() > deadline) throw new StoreError(`${subject} was made, but cannot be used after two minutes`);
    await setTimeout(500);
  }
  return { subject, outcome: 'created', detail: 'key id, paid by use' };
}

async function enableTtl(context: Context): Promise<SetupStep> {
  const { sdk, client, location, dryRun } = context;
  const TableName = location.table;
  const subject = `removal of old items from table '${TableName}'`;
  const describe = new sdk.DescribeTimeToLiveCommand({ TableName });
  const { TimeToLiveDescription: is } = await send(context, 'DescribeTimeToLive', () => client.send(describe));
  if (/^ENABL/.test(is?.TimeToLiveStatus ?? '')) {
    if (is?.AttributeName === TTL_ATTRIBUTE) return { subject, outcome: 'exists', detail: `by attribute ${TTL_ATTRIBUTE}` };
    throw new StoreError(
      `table '${TableName}' removes items by the attribute '${is?.AttributeName}', results need '${TTL_ATTRIBUTE}': use another table`,
    );
  }
  if (dryRun) return { subject, outcome: 'would change', detail: `on, by attribute ${TTL_ATTRIBUTE}` };
  const enable = new sdk.UpdateTimeToLiveCommand({
    TableName,
    TimeToLiveSpecification: { Enabled: true, AttributeName: TTL_ATTRIBUTE },
  });
  try {
    await send(context, 'UpdateTimeToLive', () => client.send(enable));
    return { subject, outcome: 'changed', detail: `on, by attribute ${TTL_ATTRIBUTE}` };
  } catch (error) {
    // A stand-in. Reading leaves out what is over, wherever it is kept.
    if (awsErrorName((error as Error).cause) !== 'UnknownOperationException') throw error;
    return { subject, outcome: 'not supported', detail: 'this service does not know it; old items stay' };
  }
}

/** `undefined` for a table that is not there. */
async function statusOf(context: Context): Promise<string | undefined> {
  const { sdk, client, location } = context;
  const command = new sdk.DescribeTableCommand({ TableName: location.table });
  try {
    const { Table: table } = await send(context, 'DescribeTable', () => client.send(command));
    return table?.TableStatus;
  } catch (error) {
    if (awsErrorName((error as Error).cause) === 'ResourceNotFoundException') return undefined;
    throw error;
  }
}

async function send<T>({ location, region }: Context, action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const { url, table } = location;
    throw awsError(error, {
      url,
      action: `dynamodb:${action}`,
      on: `table '${table}'`,
      arn: tableArn(region, table),
    });
  }
}
