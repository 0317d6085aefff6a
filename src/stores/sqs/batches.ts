/** A message on its way to SQS, without the id of its batch. */
export type SqsEntry = Omit<import('@aws-sdk/client-sqs').SendMessageBatchRequestEntry, 'Id'>;

/** What SQS takes in one request: so many entries, and so many bytes of all of them together. */
export const MAX_ENTRIES = 10;
export const MAX_BYTES = 1_048_576;

/** Bytes of a message as SQS counts them: its body, and names, types and values of its attributes. */
export function sizeOf({ MessageBody = '', MessageAttributes = {} }: SqsEntry): number {
  let size = Buffer.byteLength(MessageBody);
  for (const [name, { DataType = '', StringValue = '' }] of Object.entries(MessageAttributes)) {
    size += Buffer.byteLength(name) + Buffer.byteLength(DataType) + Buffer.byteLength(StringValue);
  }
  return size;
}

/** Entries in requests, each with as many as it takes by number and bytes. */
export function bySize(entries: readonly SqsEntry[], maxBytes = MAX_BYTES): SqsEntry[][] {
  const batches: SqsEntry[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const bytes = sizeOf(entry);
    const last = batches.at(-1);
    if (last && last.length < MAX_ENTRIES && size + bytes <= maxBytes) {
      last.push(entry);
      size += bytes;
    } else {
      batches.push([entry]);
      size = bytes;
    }
  }
  return batches;
}

/** The same by number only. */
export function byCount<T>(items: readonly T[]): T[][] {
  const batches: T[][] = [];
  for (let from = 0; from < items.length; from += MAX_ENTRIES) batches.push(items.slice(from, from + MAX_ENTRIES));
  return batches;
}

/** The entries of one request, named by their places in it. */
export function numbered<T, E extends object>(items: readonly T[], entry: (item: T) => E): (E & { Id: string })[] {
  return items.map((item, i) => ({ ...entry(item), Id: String(i) }));
}
