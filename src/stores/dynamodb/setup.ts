import { setTimeout } from 'node:timers/promises';
import type { Permission, Role, SetupStep, StoreSetup } from '../../contracts/setup.ts';
import { StoreError } from '../../errors.ts';
import { awsClientConfig, openAwsClient } from '../aws/client.ts';
import { serviceClock } from '../aws/clock.ts';
import { awsError, awsErrorName } from '../aws/errors.ts';
import { openS3Large } from './large-s3.ts';
import { loadDynamodb, tableArn } from './table.ts';
import type { DynamodbLocation } from './url.ts';

const USE = ['BatchGetItem', 'GetItem', 'PutItem', 'UpdateItem', 'DeleteItem', 'BatchWriteItem'];

/**
 * Actions on the table that policies must allow, by who needs them. Who sends tasks writes, too: it forgets and revokes,
 * tells the size of a chord, and asks for unique tasks.
 */
export const dynamodbActions: Readonly<Record<Role, readonly string[]>> = {
  producer: USE,
  worker: USE,
  setup: ['CreateTable', 'DescribeTable', 'DescribeTimeToLive', 'UpdateTimeToLive'],
};

/** The attribute by which DynamoDB removes items. */
export const TTL_ATTRIBUTE = 'ttl';

/** How long a new table may take until it can be used. */
const CREATE_MS = 120_000;

type Sdk = Awaited<ReturnType<typeof loadDynamodb>>;
type TtlDescription = import('@aws-sdk/client-dynamodb').TimeToLiveDescription;
type TableDescription = import('@aws-sdk/client-dynamodb').TableDescription;

/** What a store needs of AWS: its table, and that old items are removed from it. */
export function dynamodbSetup(location: DynamodbLocation): StoreSetup {
  return {
    async plan(needs) {
      const own = await withAdmin(location, async (admin) => [await tableStep(admin), await ttlStep(admin)]);
      return [...own, ...((await openS3Large(location)?.setup.plan(needs)) ?? [])];
    },
    async permissions(role, needs) {
      const arn = await withAdmin(location, async ({ region }) => tableArn(region, location.table, needs.account));
      const own = dynamodbActions[role].map((action): Permission => ({ action: `dynamodb:${action}`, resource: arn }));
      return [...own, ...((await openS3Large(location)?.setup.permissions(role, needs)) ?? [])];
    },
  };
}

/** A client for what is done to a table as a whole. */
export class DynamodbAdmin {
  readonly location: DynamodbLocation;
  readonly region: string;
  readonly clock: ReturnType<typeof serviceClock>;
  readonly #sdk: Sdk;
  readonly #client: InstanceType<Sdk['DynamoDBClient']>;

  constructor(
    location: DynamodbLocation,
    sdk: Sdk,
    { client, region }: { client: InstanceType<Sdk['DynamoDBClient']>; region: string },
  ) {
    this.location = location;
    this.region = region;
    this.clock = serviceClock(client);
    this.#sdk = sdk;
    this.#client = client;
  }

  /** `undefined` for a table that is not there. */
  async table(): Promise<TableDescription | undefined> {
    const command = new this.#sdk.DescribeTableCommand({ TableName: this.location.table });
    try {
      return (await this.#send('DescribeTable', () => this.#client.send(command))).Table;
    } catch (error) {
      if (causeOf(error) === 'ResourceNotFoundException') return undefined;
      throw error;
    }
  }

  async ttl(): Promise<TtlDescription> {
    const command = new this.#sdk.DescribeTimeToLiveCommand({ TableName: this.location.table });
    return (await this.#send('DescribeTimeToLive', () => this.#client.send(command))).TimeToLiveDescription ?? {};
  }

  /** Resolves when the table can be used. */
  async createTable(): Promise<void> {
    const command = new this.#sdk.CreateTableCommand({
      TableName: this.location.table,
      BillingMode: 'PAY_PER_REQUEST',
      KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
      AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
    });
    await this.#send('CreateTable', () => this.#client.send(command)).catch((error) => {
      // Somebody else made it meanwhile.
      if (causeOf(error) !== 'ResourceInUseException') throw error;
    });
    const deadline = performance.now() + CREATE_MS;
    while ((await this.table())?.TableStatus !== 'ACTIVE') {
      if (performance.now() > deadline) {
        throw new StoreError(
          `table '${this.location.table}' was created, but cannot be used after two minutes: look at it, and try again`,
        );
      }
      await setTimeout(500);
    }
  }

  async enableTtl(): Promise<void> {
    const command = new this.#sdk.UpdateTimeToLiveCommand({
      TableName: this.location.table,
      TimeToLiveSpecification: { Enabled: true, AttributeName: TTL_ATTRIBUTE },
    });
    try {
      await this.#send('UpdateTimeToLive', () => this.#client.send(command));
    } catch (error) {
      // A stand-in. Reading leaves out what is over, wherever it is kept.
      if (causeOf(error) !== 'UnknownOperationException') throw error;
    }
  }

  close(): void {
    this.#client.destroy();
  }

  async #send<T>(action: string, call: () => Promise<T>): Promise<T> {
    const { url, table } = this.location;
    try {
      return await call();
    } catch (error) {
      const arn = tableArn(this.region, table);
      throw awsError(error, { url, action: `dynamodb:${action}`, on: `table '${table}'`, arn });
    }
  }
}

/** Opens an admin client for as long as `use` takes. */
export async function withAdmin<T>(location: DynamodbLocation, use: (admin: DynamodbAdmin) => Promise<T>): Promise<T> {
  const sdk = await loadDynamodb();
  const client = new sdk.DynamoDBClient(awsClientConfig(location.address));
  try {
    const region = await openAwsClient(client, location.address, location.url);
    return await use(new DynamodbAdmin(location, sdk, { client, region }));
  } finally {
    client.destroy();
  }
}

async function tableStep(admin: DynamodbAdmin): Promise<SetupStep> {
  const { location } = admin;
  const step = { kind: 'table', name: location.table };
  const table = await admin.table();
  if (!table) {
    const apply = () => withAdmin(location, (own) => own.createTable());
    return { ...step, state: 'missing', details: ['key id (text), paid by use'], apply };
  }
  const keys = (table.KeySchema ?? []).map(({ AttributeName: name, KeyType: type }) => `${name} ${type}`).join(', ');
  if (keys === 'id HASH') return { ...step, state: 'exists', details: [] };
  return {
    ...step,
    state: 'differs',
    details: [`its key is ${keys}, expected id HASH: name another table in the URL`],
  };
}

async function ttlStep(admin: DynamodbAdmin): Promise<SetupStep> {
  const { location } = admin;
  const step = { kind: 'removal of old items', name: location.table };
  const apply = () => withAdmin(location, (own) => own.enableTtl());
  if (!(await admin.table())) return { ...step, state: 'missing', details: [`by attribute ${TTL_ATTRIBUTE}`], apply };
  const { TimeToLiveStatus: status = 'DISABLED', AttributeName: attribute } = await admin.ttl();
  if (!status.startsWith('ENABL'))
    return { ...step, state: 'missing', details: [`by attribute ${TTL_ATTRIBUTE}`], apply };
  if (attribute === TTL_ATTRIBUTE) return { ...step, state: 'exists', details: [] };
  return {
    ...step,
    state: 'differs',
    details: [`by attribute ${attribute}, expected ${TTL_ATTRIBUTE}: use another table`],
  };
}

function causeOf(error: unknown): string {
  return awsErrorName((error as Error).cause);
}
