import type { ItemFailure } from '../../contracts/common.ts';
import { LeaseLostError, LovageError, MessageTooLargeError, StoreError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { loadPeer } from '../../util/load-peer.ts';
import { awsClientConfig, openAwsClient } from '../aws/client.ts';
import { awsError, awsErrorName, isThrottling } from '../aws/errors.ts';
import type { AwsAddress } from '../aws/options.ts';
import { partitionOf } from '../aws/partition.ts';
import { byCount, bySize, MAX_ENTRIES, numbered, type SqsEntry } from './batches.ts';

// Not as an import: the types, too, are there only where the package is installed.
type Sdk = typeof import('@aws-sdk/client-sqs');
type Client = import('@aws-sdk/client-sqs').SQSClient;
/** A message as SQS hands it out. */
export type SqsMessage = import('@aws-sdk/client-sqs').Message;
type BatchError = import('@aws-sdk/client-sqs').BatchResultErrorEntry;
type BatchAnswer = { readonly Failed?: readonly BatchError[] | undefined };
/** An attribute of a message. */
export type SqsAttribute = import('@aws-sdk/client-sqs').MessageAttributeValue;

/** Requests of one call at once. */
const AT_ONCE = 10;
/** A long poll may take so much longer than it was asked to wait. */
const SLACK_MS = 5_000;

/** A queue as requests name it. */
export interface SqsQueue {
  /** As the application calls it. */
  readonly name: string;
  readonly url: string;
  readonly isFifo: boolean;
  readonly api: SqsApi;
}

/** One request for messages. */
export interface ReceiveRequest {
  readonly max: number;
  /** Whole seconds. */
  readonly waitSeconds: number;
  readonly leaseSeconds: number;
  readonly signal?: AbortSignal;
}

/** What ends a failure message about a queue that is not there. */
export const HOW_TO_CREATE = 'run `lovage setup`, or set createMissing to have it created (for development)';

/** Opens a client of SQS. @throws MissingPackageError, ConfigError, StoreAccessError */
export async function openSqs(address: AwsAddress, url: string): Promise<SqsApi> {
  const sdk = await loadPeer('@aws-sdk/client-sqs', 'sqs:// URLs', () => import('@aws-sdk/client-sqs'));
  const client = new sdk.SQSClient(awsClientConfig(address));
  try {
    return new SqsApi(sdk, client, url, await openAwsClient(client, address, url));
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** The requests that SQS understands, each tried once; what fails says so in Lovage's words. */
export class SqsApi {
  readonly region: string;
  readonly #sdk: Sdk;
  readonly #client: Client;
  readonly #url: string;
  /** Bytes of a request to queues, by their URLs, that take less than SQS allows. */
  readonly #limits = new Map<string, number>();

  /** @internal Use {@link openSqs}. */
  constructor(sdk: Sdk, client: Client, url: string, region: string) {
    this.#sdk = sdk;
    this.#client = client;
    this.#url = url;
    this.region = region;
  }

  close(): void {
    this.#client.destroy();
  }

  /** The URL of a queue by its name in SQS; `account` where it is another's. `undefined` where there is none. */
  async queueUrl(name: string, account?: string): Promise<string | undefined> {
    const command = new this.#sdk.GetQueueUrlCommand({
      QueueName: name,
      ...(account !== undefined && { QueueOwnerAWSAccountId: account }),
    });
    try {
      return (await this.#client.send(command)).QueueUrl;
    } catch (error) {
      if (error instanceof Error && /DoesNotExist|NonExistentQueue/.test(error.name)) return undefined;
      throw this.#failure(error, 'GetQueueUrl', name);
    }
  }

  async createQueue(name: string, attributes: Readonly<Record<string, string>>): Promise<string> {
    const command = new this.#sdk.CreateQueueCommand({ QueueName: name, Attributes: { ...attributes } });
    try {
      const { QueueUrl } = await this.#client.send(command);
      return QueueUrl ?? '';
    } catch (error) {
      throw this.#failure(error, 'CreateQueue', name);
    }
  }

  /** Names of queues that begin so; up to `limit`. */
  async listQueues(prefix: string, limit = 10_000): Promise<string[]> {
    const names: string[] = [];
    let token: string | undefined;
    do {
      const command = new this.#sdk.ListQueuesCommand({
        MaxResults: 1000,
        ...(prefix !== '' && { QueueNamePrefix: prefix }),
        ...(token !== undefined && { NextToken: token }),
      });
      const { QueueUrls = [], NextToken } = await this.#client.send(command).catch((error) => {
        throw this.#failure(error, 'ListQueues', '*');
      });
      names.push(...QueueUrls.map((url) => url.slice(url.lastIndexOf('/') + 1)));
      token = NextToken;
    } while (token !== undefined && names.length < limit);
    return names;
  }

  async attributes(queue: SqsQueue): Promise<Readonly<Record<string, string>>> {
    const command = new this.#sdk.GetQueueAttributesCommand({ QueueUrl: queue.url, AttributeNames: ['All'] });
    try {
      return (await this.#client.send(command)).Attributes ?? {};
    } catch (error) {
      throw this.#queueFailure(error, 'GetQueueAttributes', queue);
    }
  }

  async setAttributes(queue: SqsQueue, attributes: Readonly<Record<string, string>>): Promise<void> {
    const command = new this.#sdk.SetQueueAttributesCommand({ QueueUrl: queue.url, Attributes: { ...attributes } });
    try {
      await this.#client.send(command);
    } catch (error) {
      throw this.#queueFailure(error, 'SetQueueAttributes', queue);
    }
  }

  async purge(queue: SqsQueue): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.PurgeQueueCommand({ QueueUrl: queue.url }));
    } catch (error) {
      if (error instanceof Error && error.name.includes('PurgeQueueInProgress')) {
        throw new StoreError(
          `queue '${queue.name}' was purged less than a minute ago, and SQS does it once a minute: try again then`,
          { cause: error },
        );
      }
      throw this.#queueFailure(error, 'PurgeQueue', queue);
    }
  }

  async receive(queue: SqsQueue, request: ReceiveRequest): Promise<SqsMessage[]> {
    const { max, waitSeconds, leaseSeconds, signal } = request;
    const command = new this.#sdk.ReceiveMessageCommand({
      QueueUrl: queue.url,
      MaxNumberOfMessages: Math.min(max, MAX_ENTRIES),
      WaitTimeSeconds: waitSeconds,
      VisibilityTimeout: leaseSeconds,
      MessageSystemAttributeNames: [
        'ApproximateReceiveCount',
        'ApproximateFirstReceiveTimestamp',
        'SentTimestamp',
        'MessageGroupId',
        'DeadLetterQueueSourceArn',
      ],
      MessageAttributeNames: ['All'],
    });
    const options = {
      requestTimeout: waitSeconds * 1000 + SLACK_MS,
      ...(signal !== undefined && { abortSignal: signal }),
    };
    try {
      return (await this.#client.send(command, options)).Messages ?? [];
    } catch (error) {
      throw this.#queueFailure(error, 'ReceiveMessage', queue);
    }
  }

  /** Sends messages. The bytes of each are known to fit. */
  sendMany(queue: SqsQueue, entries: readonly SqsEntry[]): Promise<ItemFailure[]> {
    const batches = bySize(entries, this.#limits.get(queue.url));
    return this.#inBatches(queue, 'SendMessage', batches, (batch) => this.#sendBatch(queue, batch));
  }

  /** A queue with a limit of its own may take less in one request than SQS does: it says so, and then is given less. */
  async #sendBatch(queue: SqsQueue, batch: readonly SqsEntry[]): Promise<BatchAnswer> {
    const Entries = numbered(batch, (entry) => entry);
    try {
      return await this.#client.send(new this.#sdk.SendMessageBatchCommand({ QueueUrl: queue.url, Entries }));
    } catch (error) {
      if (awsErrorName(error) !== 'BatchRequestTooLong') throw error;
      const { message } = error as Error;
      const limit = Number(/longer than (\d+)/.exec(message)?.[1]);
      if (limit > 0) this.#limits.set(queue.url, limit);
      const failed = (some: readonly SqsEntry[], Code: string, Message: string, SenderFault: boolean) =>
        some.map((_, i) => ({ Id: String(i), Code, Message, SenderFault }));
      if (batch.length === 1) return { Failed: failed(batch, 'MessageTooLong', message, true) };
      const middle = batch.length >> 1;
      const rest = batch.slice(middle);
      const first = await this.#sendBatch(queue, batch.slice(0, middle));
      const second = await this.#sendBatch(queue, rest).catch((cause: Error) => ({
        // What was sent before is sent: only these are to be sent again.
        Failed: failed(rest, awsErrorName(cause), cause.message, false),
      }));
      const behind = (second.Failed ?? []).map((entry) => ({ ...entry, Id: String(middle + Number(entry.Id)) }));
      return { Failed: [...(first.Failed ?? []), ...behind] };
    }
  }

  deleteMany(queue: SqsQueue, handles: readonly string[]): Promise<ItemFailure[]> {
    return this.#inBatches(queue, 'DeleteMessage', byCount(handles), (batch) =>
      this.#client.send(
        new this.#sdk.DeleteMessageBatchCommand({
          QueueUrl: queue.url,
          Entries: numbered(batch, (ReceiptHandle) => ({ ReceiptHandle })),
        }),
      ),
    );
  }

  /** Has messages stay hidden for so many seconds from now. */
  hideMany(queue: SqsQueue, items: readonly { handle: string; seconds: number }[]): Promise<ItemFailure[]> {
    return this.#inBatches(queue, 'ChangeMessageVisibility', byCount(items), (batch) =>
      this.#client.send(
        new this.#sdk.ChangeMessageVisibilityBatchCommand({
          QueueUrl: queue.url,
          Entries: numbered(batch, ({ handle, seconds }) => ({ ReceiptHandle: handle, VisibilityTimeout: seconds })),
        }),
      ),
    );
  }

  /** Rejects where no batch got through; else what failed is told item by item. */
  async #inBatches<T>(
    queue: SqsQueue,
    action: string,
    batches: readonly (readonly T[])[],
    send: (batch: readonly T[]) => Promise<BatchAnswer>,
  ): Promise<ItemFailure[]> {
    const failures: ItemFailure[] = [];
    const starts: number[] = [];
    for (let i = 0, at = 0; i < batches.length; at += batches[i]?.length ?? 0, i++) starts.push(at);
    let through = 0;
    await inParallel(batches, AT_ONCE, async (batch, i) => {
      const from = starts[i] ?? 0;
      try {
        const { Failed = [] } = await send(batch);
        through += 1;
        for (const entry of Failed) {
          failures.push({ index: from + Number(entry.Id), error: entryError(entry, action, queue) });
        }
      } catch (cause) {
        const error = this.#queueFailure(cause, action, queue);
        for (const index of batch.keys()) failures.push({ index: from + index, error });
      }
    });
    if (through === 0 && failures[0]) throw failures[0].error;
    return failures.sort((a, b) => a.index - b.index);
  }

  #queueFailure(error: unknown, action: string, queue: SqsQueue): Error {
    return awsError(error, {
      url: this.#url,
      region: this.region,
      action: `sqs:${action}`,
      on: `queue '${queue.name}'`,
      arn: arnOf(queue.url, this.region),
      whenMissing: HOW_TO_CREATE,
    });
  }

  #failure(error: unknown, action: string, name: string): Error {
    const arn = `arn:${partitionOf(this.region)}:sqs:${this.region}:*:${name}`;
    return awsError(error, {
      url: this.#url,
      region: this.region,
      action: `sqs:${action}`,
      on: `queue '${name}'`,
      arn,
    });
  }
}

/** The ARN of a queue by its URL; `undefined` where that is not of the usual form. */
export function arnOf(url: string, region: string): string | undefined {
  const [, account, name] = /\/(\d+)\/([\w.-]+)$/.exec(url) ?? [];
  return account === undefined ? undefined : `arn:${partitionOf(region)}:sqs:${region}:${account}:${name}`;
}

/** SQS asked for less than it could do of this entry. */
class EntryRefusedError extends StoreError {
  override readonly retryable = false;
}

function entryError({ Code = '', Message = '', SenderFault }: BatchError, action: string, queue: SqsQueue): Error {
  const what = `sqs:${action} of a message of queue '${queue.name}'`;
  if (/ReceiptHandleIsInvalid|MessageNotInflight/.test(Code) || /receipt ?handle/i.test(Message)) {
    return leaseLost(queue.name);
  }
  if (/shorter than|message.*(too long|size)|MessageTooLong/i.test(`${Code} ${Message}`)) {
    return new MessageTooLargeError(
      `a message for queue '${queue.name}' is larger than the queue takes (${Message}). Raise MaximumMessageSize of the queue, up to 1 MiB, or set payloadStore`,
    );
  }
  const text = `${what} failed: ${Message || Code} (${Code})`;
  const passes = !SenderFault || isThrottling(Object.assign(new Error(Message), { name: Code }));
  return passes ? new StoreError(text) : new EntryRefusedError(text);
}

/** A message that this consumer does not hold any more. */
export function leaseLost(queue: string): LeaseLostError {
  return new LeaseLostError(
    `a message of queue '${queue}' is no longer leased here: it was settled, or its lease ended. Raise visibility_timeout if this comes often`,
  );
}

/** Whether an error says that a queue is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof LovageError && error.code === 'STORE_MISSING';
}
