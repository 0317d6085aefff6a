import { createHash } from 'node:crypto';
import type { Delivery, Outgoing } from '../../contracts/message.ts';
import { ConfigError, DecodeError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { decodeEnvelope, encodeEnvelope } from '../../wire/envelope.ts';
import type { WireMessage } from '../../wire/message.ts';
import type { SqsAttribute, SqsMessage, SqsQueue } from './api.ts';
import type { SqsEntry } from './batches.ts';
import type { SqsLocation } from './url.ts';

/** What stands in our attributes of a message. Python's workers do not ask for attributes, and so are not troubled by them. */
export const attributeNames = {
  /** Epoch milliseconds before which it is not handed out. */
  due: 'lovage.due',
  /** Deliveries that count, of the copies before this one. */
  attempts: 'lovage.attempts',
  /** Of a dead letter: why, when (epoch milliseconds), and from which queue. */
  reason: 'lovage.reason',
  died: 'lovage.died',
  queue: 'lovage.queue',
  /** Of a dead letter of a FIFO queue: its group. Dead letters are in no order, so that each can be got at. */
  group: 'lovage.group',
} as const;

/** SQS counts the 12 hours from the receive, and rather refuses than shortens; some seconds are for the way. */
export const CEILING_MS = 43_190_000;

/** What identifies a delivery to SQS from anywhere. */
export interface SqsTag {
  readonly url: string;
  readonly handle: string;
  /** The id in SQS. */
  readonly id: string;
  /** When it was received, epoch milliseconds. */
  readonly at: number;
}

/** A message as it was received, with all that is needed to send it anew. */
export interface Taken {
  /** Where it lies. */
  readonly queue: SqsQueue;
  readonly tag: SqsTag;
  /** As it is in SQS. */
  readonly body: string;
  readonly attributes: Readonly<Record<string, SqsAttribute>>;
  readonly group: string | undefined;
  /** Of a dead letter that SQS itself moved: where it came from. */
  readonly sourceArn: string | undefined;
  readonly sentAt: number;
  /** Deliveries so far including this one. */
  readonly attempt: number;
  /** Not to be handed out before. */
  readonly dueAt: number | undefined;
}

/** A copy on its way, compared with the message that it replaces. */
export interface CopyChanges {
  readonly delayMs?: number;
  readonly dueAt?: number | undefined;
  /** Deliveries that count so far. */
  readonly attempts?: number;
  /** Instead of the group that it has. */
  readonly group?: string | undefined;
  /** More attributes. */
  readonly also?: Readonly<Record<string, SqsAttribute>>;
}

/** The body in SQS: the envelope, usually once more in base64, as kombu does. */
export function encodeBody(message: WireMessage, queue: string, { options }: Pick<SqsLocation, 'options'>): string {
  const envelope = encodeEnvelope(message, { routingKey: queue, tag: newId() });
  if (options.sqsBase64Encoding === false) return ascii(envelope);
  return Buffer.from(envelope).toString('base64');
}

/** Takes a message out of a body of either form. Throws {@link DecodeError} where it is none. */
export function decodeBody(body: string): WireMessage {
  const text = body.trimStart().startsWith('{') ? body : Buffer.from(body, 'base64').toString();
  if (!text.trimStart().startsWith('{')) {
    throw new DecodeError(
      'Bad message: expected a JSON object, as it is or in base64, as the body of the SQS message.',
    );
  }
  return decodeEnvelope(text).message;
}

/** A message for people to look at, whatever it was. */
export function readableBody(body: string): WireMessage {
  try {
    return decodeBody(body);
  } catch {
    return {
      body: Buffer.from(body),
      contentType: 'text/plain',
      contentEncoding: 'utf-8',
      headers: {},
      properties: {},
    };
  }
}

/** What goes to SQS for a message. @throws ConfigError for a FIFO queue without a group, SerializationError */
export function entryOf(outgoing: Outgoing, queue: SqsQueue, location: SqsLocation): SqsEntry {
  const { message, delayMs = 0 } = outgoing;
  const dueAt = dueOf(queue, delayMs, location);
  return {
    MessageBody: encodeBody(message, outgoing.queue, location),
    ...delayOf(queue, delayMs, location),
    ...attributesOf({ ...(dueAt !== undefined && { [attributeNames.due]: number(dueAt) }) }),
    ...orderOf(outgoing, queue, location),
  };
}

/** What a copy has of a message. */
export type Copied = Pick<Taken, 'body' | 'attributes' | 'group'> & { readonly tag: Pick<SqsTag, 'id'> };

/** The same message once more, to the queue where it lies or another. */
export function copyOf(taken: Copied, to: SqsQueue, location: SqsLocation, changes: CopyChanges = {}): SqsEntry {
  const { delayMs = 0, dueAt, attempts } = changes;
  const own = new Set<string>(Object.values(attributeNames));
  const others = Object.entries(taken.attributes).filter(([name]) => !own.has(name));
  const group = changes.group ?? taken.group;
  return {
    MessageBody: taken.body,
    ...delayOf(to, delayMs, location),
    ...attributesOf({
      ...Object.fromEntries(others),
      ...(dueAt !== undefined && { [attributeNames.due]: number(dueAt) }),
      ...(attempts && { [attributeNames.attempts]: number(attempts) }),
      ...changes.also,
    }),
    ...((to.isFifo || group !== undefined) && { MessageGroupId: group ?? taken.tag.id }),
    // Another one for each copy: the same would be dropped as a repetition of what it replaces.
    ...(to.isFifo && { MessageDeduplicationId: newId() }),
  };
}

/** The message that was received. */
export function takenOf(received: SqsMessage, queue: SqsQueue, at: number): Taken {
  const { Attributes = {}, MessageAttributes = {}, MessageId = '', ReceiptHandle = '', Body = '' } = received;
  const receives = Number(Attributes.ApproximateReceiveCount ?? 1);
  const dueAt = numberIn(MessageAttributes, attributeNames.due);
  const base = numberIn(MessageAttributes, attributeNames.attempts) ?? 0;
  return {
    queue,
    tag: { url: queue.url, handle: ReceiptHandle, id: MessageId, at },
    body: Body,
    attributes: MessageAttributes,
    group: Attributes.MessageGroupId,
    sourceArn: Attributes.DeadLetterQueueSourceArn,
    sentAt: Number(Attributes.SentTimestamp ?? at),
    attempt: Math.max(1, base + receives - hidings(queue, dueAt, Number(Attributes.ApproximateFirstReceiveTimestamp))),
    dueAt,
  };
}

/** The delivery that a received message makes. Throws {@link DecodeError} where it is none. */
export function deliveryOf(taken: Taken, name: string, body = taken.body): Delivery {
  const { tag, attempt, queue, group } = taken;
  return {
    queue: name,
    message: decodeBody(body),
    tag,
    attempt,
    ...(group !== undefined && { groupKey: group }),
    ...(queue.isFifo && { ordered: true }),
  };
}

/** The attribute of a text: what SQS does not take is left out, and what is too long. */
export function text(value: string): SqsAttribute {
  const legal = value.replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD]/g, '?').slice(0, 4096);
  return { DataType: 'String', StringValue: legal || ' ' };
}

/** The attribute of a number. */
export function number(value: number): SqsAttribute {
  return { DataType: 'Number', StringValue: String(Math.round(value)) };
}

/** The number in an attribute. */
export function numberIn(attributes: Readonly<Record<string, SqsAttribute>>, name: string): number | undefined {
  const value = Number(attributes[name]?.StringValue);
  return Number.isFinite(value) ? value : undefined;
}

/** Seconds of a delay, rounded up: never early. */
export function secondsOf(ms: number): number {
  return Math.max(0, Math.ceil(ms / 1000));
}

/** How often a message of a FIFO queue was received before it was due, and hidden again. */
function hidings({ isFifo }: SqsQueue, dueAt: number | undefined, firstAt: number): number {
  if (!isFifo || dueAt === undefined || !(firstAt < dueAt)) return 0;
  return Math.ceil((dueAt - firstAt) / CEILING_MS);
}

/** When a message is due that SQS cannot hold back for so long: it has to say so itself. Epoch milliseconds. */
export function dueOf({ isFifo }: SqsQueue, delayMs: number, { hopMs }: SqsLocation): number | undefined {
  return delayMs > (isFifo ? 0 : hopMs) ? Date.now() + delayMs : undefined;
}

function delayOf(queue: SqsQueue, delayMs: number, { hopMs }: SqsLocation): Pick<SqsEntry, 'DelaySeconds'> {
  // FIFO queues have no delay of single messages.
  return delayMs > 0 && !queue.isFifo ? { DelaySeconds: secondsOf(Math.min(delayMs, hopMs)) } : {};
}

function attributesOf(attributes: Record<string, SqsAttribute>): Pick<SqsEntry, 'MessageAttributes'> {
  return Object.keys(attributes).length > 0 ? { MessageAttributes: attributes } : {};
}

/** Group and deduplication: a message that is published twice, because the first answer was lost, is there once. */
function orderOf(
  { message, queue, groupKey }: Outgoing,
  { isFifo }: SqsQueue,
  { options }: SqsLocation,
): Pick<SqsEntry, 'MessageGroupId' | 'MessageDeduplicationId'> {
  if (!isFifo) return groupKey !== undefined && options.fairQueues ? { MessageGroupId: legalId(groupKey) } : {};
  const group = groupKey ?? options.defaultGroup;
  if (group === undefined) {
    throw new ConfigError(
      `a message for the FIFO queue '${queue}' names no group: give the task ordering: { key }, or the broker defaultGroup ('default' is what Celery uses: all in one order)`,
    );
  }
  const { id, retries, eta } = message.headers;
  const name = [id ?? message.properties.correlation_id ?? newId(), retries ?? 0, eta ?? ''].join(':');
  return { MessageGroupId: legalId(group), MessageDeduplicationId: legalId(name) };
}

/** SQS takes up to 128 letters, digits and punctuation for an id: others are written as %xx, and what is longer keeps its beginning and a hash. */
function legalId(value: string): string {
  const legal = /^[!-~]+$/.test(value) ? value : encodeURIComponent(value);
  if (legal.length <= 128) return legal;
  return `${legal.slice(0, 87)}-${hash(value)}`;
}

function hash(value: string): string {
  return createHash('sha256').update(value).digest('hex').slice(0, 40);
}

/** JSON with nothing but ASCII in it, which every stand-in takes. */
function ascii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
