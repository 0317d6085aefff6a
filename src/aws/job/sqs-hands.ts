import type { Config } from '../../app/config.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import { ConfigError, DecodeError } from '../../errors.ts';
import { openSqs, type SqsApi } from '../../stores/sqs/api.ts';
import { attributeNames, copyOf, dueOf, encodeBody, number, type Taken, text } from '../../stores/sqs/messages.ts';
import { queueOf } from '../../stores/sqs/names.ts';
import { isPointer, type Pointer, payloadsOf, type SqsPayloads } from '../../stores/sqs/payloads.ts';
import { SqsQueues } from '../../stores/sqs/queues.ts';
import { type Held, SqsSettling } from '../../stores/sqs/settling.ts';
import { sqsLocation } from '../../stores/sqs/url.ts';
import { newId } from '../../util/ids.ts';
import { maskUrl } from '../../util/mask-url.ts';
import type { WireMessage } from '../../wire/message.ts';

/** A message that is given up, with all that its dead letter tells. */
export interface Given {
  readonly queue: string;
  readonly message: WireMessage;
  /** Where its body lies, when that is not in the message: the dead letter says so, too. */
  readonly payload?: Pointer | undefined;
  readonly reason: string;
  readonly attempts: number;
  readonly groupKey?: string | undefined;
}

/** A message whose body lies in the store for large payloads, and which goes back to its queue. */
export interface Resent {
  readonly queue: string;
  readonly payload: Pointer;
  readonly groupKey?: string | undefined;
  readonly delayMs: number;
}

/** Ends messages of SQS that somebody else received: a Lambda function's poller, mostly. */
export class SqsHands {
  readonly queues: SqsQueues;
  readonly settling: SqsSettling;
  readonly #api: SqsApi;
  readonly #payloads: SqsPayloads | undefined;

  constructor(api: SqsApi, queues: SqsQueues, payloads: SqsPayloads | undefined) {
    this.#api = api;
    this.#payloads = payloads;
    this.queues = queues;
    this.settling = new SqsSettling(queues);
  }

  /** The name by which the application calls a queue. */
  nameOf(arn: string): string {
    return queueOf(arn.slice(arn.lastIndexOf(':') + 1), this.queues.location);
  }

  /** Holds a message that was received elsewhere. */
  hold(taken: Taken, name: string): Held {
    return { taken, name, surelyUntil: Number.POSITIVE_INFINITY };
  }

  /** The body of a message, fetched where it lies in a store for large ones. @throws DecodeError where it cannot be had */
  async bodyOf(taken: Pointer): Promise<string> {
    if (!isPointer(taken)) return taken.body;
    const body = (await this.#payloads?.fetch([taken]))?.get(taken);
    if (typeof body === 'string') return body;
    throw new DecodeError(
      body?.message ??
        'the body of this message lies in a store for large payloads: give the broker of the app its option payloadStore',
    );
  }

  /** Sends a message that lies in no queue to the dead letters. */
  async bury({ queue, message, payload, reason, attempts, groupKey }: Given): Promise<void> {
    const dead = await this.queues.dead(queue);
    const entry = {
      MessageBody: payload?.body ?? encodeBody(message, queue, this.queues.location),
      MessageAttributes: {
        ...payload?.attributes,
        [attributeNames.reason]: text(reason),
        [attributeNames.died]: number(Date.now()),
        [attributeNames.queue]: text(queue),
        [attributeNames.attempts]: number(attempts),
        ...(groupKey !== undefined && { [attributeNames.group]: text(groupKey) }),
      },
      ...(dead.isFifo && { MessageGroupId: newId(), MessageDeduplicationId: newId() }),
    };
    throwFirst(await dead.api.sendMany(dead, [entry]));
  }

  /** Where the body of a message lies, as plain data; `undefined` where it is in the message. */
  payloadOf({ body, attributes }: Taken): Pointer | undefined {
    if (!isPointer({ body, attributes })) return undefined;
    const own = new Set<string>(Object.values(attributeNames));
    const texts = Object.entries(attributes).filter(([name, { BinaryValue }]) => !own.has(name) && !BinaryValue);
    return { body, attributes: Object.fromEntries(texts) };
  }

  /** Sends a message that lies in no queue back to its own. Its body stays where it is. */
  async resend({ queue, payload, groupKey, delayMs }: Resent): Promise<void> {
    const to = await this.queues.get(queue);
    const { location } = this.queues;
    const copied = { ...payload, group: groupKey, tag: { id: newId() } };
    const entry = copyOf(copied, to, location, { delayMs, dueAt: dueOf(to, delayMs, location) });
    throwFirst(await to.api.sendMany(to, [entry]));
  }

  /** Removes the body of a message that has ended. What is left behind ends by the rule of the store. */
  async dropPayload(payload: Pointer): Promise<void> {
    await this.#payloads?.remove([payload]);
  }

  async close(): Promise<void> {
    await this.#payloads?.stop();
    await this.queues.close();
    this.#api.close();
  }
}

/**
 * Opens SQS as an application's broker does.
 * @throws ConfigError for an application whose broker is another one
 */
export async function openHands({
  broker,
  brokerTransportOptions,
}: Pick<Config, 'broker' | 'brokerTransportOptions'>): Promise<SqsHands> {
  const url = typeof broker === 'string' ? broker : (broker?.url ?? 'sqlite://');
  if (!/^sqs:/i.test(url))
    throw new ConfigError(`jobs on ECS come from SQS: expected the app's broker to be sqs://, got '${maskUrl(url)}'`);
  const location = sqsLocation(url, brokerTransportOptions);
  const api = await openSqs(location.address, location.url);
  const payloads = payloadsOf(location);
  await payloads?.start();
  return new SqsHands(api, new SqsQueues(location, api), payloads);
}

/** For one item, or where any failure is a failure of all. */
export function throwFirst(failures: readonly ItemFailure[]): void {
  if (failures[0]) throw failures[0].error;
}
