import type { SqsAttribute, SqsMessage } from '../../stores/sqs/api.ts';

/** A record of an SQS event, as Lambda writes it: in lower camel case, unlike SQS itself. */
export interface SqsRecord {
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
  readonly attributes?: Readonly<Record<string, string | undefined>>;
  readonly messageAttributes?: Readonly<
    Record<
      string,
      { readonly stringValue?: string | null; readonly binaryValue?: string | null; readonly dataType: string }
    >
  >;
  readonly eventSource?: string;
  readonly eventSourceARN: string;
}

/** What Lambda calls a function with for messages of SQS. */
export interface SqsEvent {
  readonly Records: readonly SqsRecord[];
}

/** What Lambda is answered: messages that are not named are deleted. */
export interface BatchAnswer {
  readonly batchItemFailures: { readonly itemIdentifier: string }[];
}

/** The records of an event of SQS; `undefined` where it is another event. */
export function recordsOf(event: unknown): readonly SqsRecord[] | undefined {
  const records = (event as Partial<SqsEvent> | null | undefined)?.Records;
  if (!Array.isArray(records)) return undefined;
  return records.every(isRecord) ? records : undefined;
}

function isRecord(record: unknown): record is SqsRecord {
  const { messageId, receiptHandle, body, eventSourceARN } = Object(record) as Partial<SqsRecord>;
  const isText = (value: unknown) => typeof value === 'string' && value !== '';
  return isText(messageId) && isText(receiptHandle) && typeof body === 'string' && isArn(eventSourceARN);
}

function isArn(text: unknown): boolean {
  return typeof text === 'string' && /^arn:[\w-]+:sqs:[\w-]*:\d*:[\w-]+(\.fifo)?$/.test(text);
}

/** A record as SQS itself would have told it. */
export function messageOf({
  messageId,
  receiptHandle,
  body,
  attributes = {},
  messageAttributes = {},
}: SqsRecord): SqsMessage {
  const converted = Object.entries(messageAttributes).map(([name, { stringValue, binaryValue, dataType }]) => {
    const attribute: SqsAttribute = {
      DataType: dataType,
      ...(stringValue != null && { StringValue: stringValue }),
      ...(binaryValue != null && { BinaryValue: Buffer.from(binaryValue, 'base64') }),
    };
    return [name, attribute] as const;
  });
  return {
    MessageId: messageId,
    ReceiptHandle: receiptHandle,
    Body: body,
    Attributes: attributes as Record<string, string>,
    MessageAttributes: Object.fromEntries(converted),
  };
}

/** When a record was received: Lambda does not say. Never too late, so that the 12 hours of SQS are not overrun. */
export function receivedAt({ attributes }: SqsRecord, now: number): number {
  const first = Number(attributes?.ApproximateFirstReceiveTimestamp);
  return attributes?.ApproximateReceiveCount === '1' && first > 0 ? Math.min(first, now) : now - 5_000;
}

/** Records of one message group after the other, groups side by side; those without a group are each for themselves. */
export function groupsOf(records: readonly SqsRecord[]): SqsRecord[][] {
  const groups = new Map<string, SqsRecord[]>();
  for (const record of records) {
    const isFifo = record.eventSourceARN.endsWith('.fifo');
    const key = isFifo ? `${record.eventSourceARN} ${record.attributes?.MessageGroupId}` : record.messageId;
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  return [...groups.values()];
}
