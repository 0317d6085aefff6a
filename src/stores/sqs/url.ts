import { ConfigError } from '../../errors.ts';
import { camelKeys, camelQuery } from '../../util/camel-names.ts';
import { ignored, priorityStepsKind, refused } from '../../util/kombu-options.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { kinds, type OptionsOf, option, show } from '../../util/options.ts';
import { readUrlOptions } from '../../util/url-options.ts';
import { type AwsAddress, awsAddress, awsOptions, hostEndpoint, readAwsUrl } from '../aws/options.ts';

/** What an `sqs:` URL may carry behind its `?`, and the factory in its second argument. Each may also be written as kombu does. */
export const sqsOptions = {
  ...awsOptions,
  visibilityTimeout: option({
    kind: kinds.int(1, 43_200),
    default: 120,
    doc: 'Seconds that a message belongs to a worker. Renewed while the worker lives, so it is only how soon the messages of a dead worker come back.',
  }),
  waitTimeSeconds: option({
    kind: kinds.int(0, 20),
    default: 20,
    doc: 'How long one request waits for a message. Fewer seconds are more requests, and no quicker.',
  }),
  pollingInterval: option({
    kind: kinds.seconds(0),
    default: 10,
    doc: 'Seconds that an idle queue may go without being asked, where a worker has several: how late a message is noticed there at worst.',
  }),
  queueNamePrefix: option({ kind: kinds.text, doc: 'Goes in front of the name of every queue in SQS.' }),
  predefinedQueues: option({
    kind: kinds.map,
    doc: 'Queues by name, each { url } and perhaps region, access_key_id, secret_access_key. Others are not used then.',
  }),
  createMissing: option({
    kind: kinds.flag,
    default: false,
    doc: 'true: queues that do not exist are created when they are first used. For development and tests; `lovage setup` does it for production.',
  }),
  sqsCreationAttributes: option({
    kind: kinds.map,
    doc: 'Attributes of queues that are created, such as { KmsMasterKeyId: "alias/aws/sqs" }.',
  }),
  fifo: option({
    kind: kinds.flag,
    default: false,
    doc: 'true: every queue is a FIFO queue, its name in SQS ends in .fifo.',
  }),
  defaultGroup: option({
    kind: kinds.text,
    doc: 'The group on FIFO queues of messages without an ordering key. Default: such messages are refused. Celery uses "default".',
  }),
  fairQueues: option({
    kind: kinds.flag,
    default: false,
    doc: 'true: ordering keys go to standard queues, too, where SQS then serves all keys fairly. Costs a quarter more a request.',
  }),
  prioritySteps: option({
    kind: priorityStepsKind,
    doc: 'Switches priorities on: a queue for each step, <queue>-p<step>, asked one after the other. Default: one queue, no priorities.',
  }),
  payloadStore: option({
    kind: kinds.text,
    doc: 'Where bodies too large for SQS go: s3://bucket/prefix or dynamodb://@region/table. Default: they are refused.',
  }),
  payloadThreshold: option({
    kind: kinds.int(1, 1_048_576),
    default: 262_144,
    doc: 'Messages of more bytes than this go to payloadStore.',
  }),
  hopTime: option({
    kind: kinds.int(1, 900),
    default: 900,
    doc: 'Seconds that a delayed message waits before it is sent anew, up to what SQS allows.',
  }),
  sqsBase64Encoding: option({
    kind: kinds.flag,
    default: true,
    doc: 'false: the body in SQS is plain JSON instead of base64. Both are read, here and by Celery.',
  }),
  stsRoleArn: refused('give the role in an AWS profile (role_arn and source_profile) and its name in AWS_PROFILE'),
  stsTokenTimeout: ignored('the SDK renews tokens.'),
  stsTokenBufferTime: ignored('the SDK renews tokens.'),
  port: ignored('it stands in the URL.'),
  clientConfig: ignored('it is of Python.'),
  retryPolicy: ignored('the core decides what is tried again.'),
  fetchMessageAttributes: ignored('all are fetched.'),
  maxRetries: ignored('the core decides what is tried again.'),
  connectionClass: ignored('it is Python code.'),
  queueOrderStrategy: ignored('queues take turns here.'),
} as const;

/** The options of `sqsBroker`. */
export type SqsOptions = OptionsOf<typeof sqsOptions>;

/** A queue that is named in the configuration with its URL. */
export interface PredefinedQueue {
  readonly url: string;
  /** Its own region and keys, where they differ. */
  readonly address: AwsAddress;
}

/** Where SQS is and how it is to be used. */
export interface SqsLocation {
  /** The URL with secrets masked. */
  readonly url: string;
  readonly address: AwsAddress;
  /** Every option as it was given. */
  readonly options: SqsOptions;
  readonly leaseMs: number;
  readonly waitMs: number;
  /** How late a message may be noticed in an idle queue beside others. */
  readonly idleMs: number;
  readonly prefix: string;
  readonly isFifo: boolean;
  readonly hopMs: number;
  /** `undefined` where there is no such list. */
  readonly predefined: ReadonlyMap<string, PredefinedQueue> | undefined;
}

/**
 * Reads `sqs://[key:secret@][host[:port]]`, with options behind a `?`. A host is an endpoint of one's own: a VPC endpoint or
 * a stand-in.
 * @throws ConfigError for another scheme, a wrong part of the URL, or a wrong option
 */
export function sqsLocation(url: string, options: Readonly<Record<string, unknown>> = {}): SqsLocation {
  const read = readAwsUrl(url, 'SQS');
  if (read.scheme !== 'sqs') throw new ConfigError(`expected a URL such as sqs://, got ${maskUrl(url)}`);
  const given = readUrlOptions(sqsOptions, camelQuery(read.query), camelKeys(options) as SqsOptions, read.where);
  const endpoint = hostEndpoint(read, given.isSecure ?? sqsOptions.isSecure.default);
  const address = awsAddress(read, given, { endpoint });
  return {
    url: maskUrl(url),
    address,
    options: given,
    leaseMs: 1000 * (given.visibilityTimeout ?? sqsOptions.visibilityTimeout.default),
    waitMs: 1000 * (given.waitTimeSeconds ?? sqsOptions.waitTimeSeconds.default),
    idleMs: 1000 * (given.pollingInterval ?? sqsOptions.pollingInterval.default),
    prefix: given.queueNamePrefix ?? '',
    isFifo: given.fifo ?? sqsOptions.fifo.default,
    hopMs: 1000 * (given.hopTime ?? sqsOptions.hopTime.default),
    predefined: given.predefinedQueues && readPredefined(given.predefinedQueues, address, read.where),
  };
}

function readPredefined(
  queues: Readonly<Record<string, unknown>>,
  address: AwsAddress,
  where: string,
): ReadonlyMap<string, PredefinedQueue> {
  return new Map(
    Object.entries(queues).map(([name, value]) => {
      const own = typeof value === 'object' && value !== null ? camelKeys(value as Record<string, unknown>) : {};
      const { url, region, accessKeyId, secretAccessKey } = own;
      if (typeof url !== 'string' || !URL.canParse(url)) {
        const got = 'url' in own ? show(url) : show(value);
        throw new ConfigError(`${where}: predefinedQueues['${name}']: expected { url: 'https://...' }, got ${got}`);
      }
      const keys =
        typeof accessKeyId === 'string' && typeof secretAccessKey === 'string'
          ? { accessKeyId, secretAccessKey }
          : undefined;
      return [
        name,
        {
          url,
          address: { ...address, ...(typeof region === 'string' && { region }), ...(keys !== undefined && { keys }) },
        },
      ];
    }),
  );
}
