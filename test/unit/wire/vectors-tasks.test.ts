import { describe, expect, test } from 'vitest';
import { ContentDisallowedError } from '../../../src/errors.ts';
import { decodeEnvelope, encodeEnvelope } from '../../../src/wire/envelope.ts';
import { parseIsoTime } from '../../../src/wire/iso-time.ts';
import { decodeJson } from '../../../src/wire/json.ts';
import type { WireMessage } from '../../../src/wire/message.ts';
import { decodeTask, encodeTask } from '../../../src/wire/protocol.ts';
import { acceptList, decodeBody, loadSerializers } from '../../../src/wire/serializers.ts';
import type { TaskMessage } from '../../../src/wire/task-message.ts';
import { type Json, loadVectors, rawValue } from './vectors.ts';

const ACCEPT = acceptList(['json', 'yaml', 'msgpack']);

/** What is written differently from what Celery wrote, and why. All else must be equal. */
const HEADER_DIFFERENCES: Record<string, string> = {
  lang: 'we are not Python',
  eta: 'instants are milliseconds here, and always written aware; compared as instants below',
  expires: 'as eta',
  replaced_task_nesting: 'a header since Celery 5.3.5 only; we always send it',
  stamped_headers: 'since Celery 5.3.0; we always send it',
  stamps: 'since Celery 5.3.0; we always send it',
  compression: 'bzip2 and lzma are written as zlib instead',
};

interface Message {
  readonly label: string;
  readonly text: string;
  readonly envelope: Json;
  readonly body: unknown;
}

function collect(): Message[] {
  const messages: Message[] = [];
  for (const { label, raw, decoded } of loadVectors('task_')) {
    if ((raw as Json).error !== undefined) continue; // Python refused to send it
    const lists: [string, unknown[], Json[]][] = Array.isArray(raw)
      ? [['', raw, decoded as Json[]]]
      : Object.entries(raw as Json).map(([key, items]) => [key, items as unknown[], (decoded as Json)[key] as Json[]]);
    for (const [key, items, decodedItems] of lists) {
      for (const [index, item] of items.entries()) {
        const { envelope, body_decoded: body } = decodedItems[index] as { envelope: Json; body_decoded: unknown };
        messages.push({ label: `${label} ${key}[${index}]`, text: rawValue(item) as string, envelope, body });
      }
    }
  }
  return messages;
}

const ALL = collect();
const isPickle = ({ envelope }: Message): boolean => envelope['content-type'] === 'application/x-python-serialize';

describe('task messages of real Celery', () => {
  test('there are as many as were captured', () => {
    expect(ALL.length).toBeGreaterThan(150);
    expect(ALL.filter(isPickle)).toHaveLength(2);
  });

  test.each(ALL.filter(isPickle))('$label is refused, saying what to do', async ({ text }) => {
    const { message } = decodeEnvelope(text);
    await expect(decodeTask(message, { accept: ACCEPT })).rejects.toThrow(ContentDisallowedError);
    await expect(decodeTask(message, { accept: ACCEPT })).rejects.toThrow(/runs code .* task_serializer = 'json'/);
  });

  test.each(ALL.filter((message) => !isPickle(message)))('$label is read and written again', async (vector) => {
    const opened = decodeEnvelope(vector.text);
    checkOpened(opened, vector);
    const task = await decodeTask(opened.message, { accept: ACCEPT });
    checkTask(task, vector);
    await checkWrittenAgain(task, opened.message, vector);
  });
});

function checkOpened(opened: ReturnType<typeof decodeEnvelope>, { envelope, text }: Message): void {
  const {
    delivery_info: info,
    delivery_tag: tag,
    body_encoding: encoding,
    ...properties
  } = envelope.properties as Json;
  expect(encoding).toBe('base64');
  expect(opened.message.headers).toEqual(envelope.headers);
  expect(opened.message.properties).toEqual(properties);
  expect(opened.message.contentType).toBe(envelope['content-type']);
  expect(opened.message.contentEncoding).toBe(envelope['content-encoding']);
  expect(Buffer.from(opened.message.body).toString('base64')).toBe(envelope.body);
  expect(opened.deliveryTag).toBe(tag);
  expect({ exchange: opened.exchange, routing_key: opened.routingKey }).toEqual(info);
  expect(opened.redelivered).toBe(false);
  const again = encodeEnvelope(opened.message, {
    exchange: opened.exchange,
    routingKey: opened.routingKey,
    tag: opened.deliveryTag ?? '',
  });
  expect(decodeJson(again)).toEqual(decodeJson(text));
}

/** Header fields and body of a message, wherever its protocol keeps them. */
function partsOf({ envelope, body }: Message): { fields: Json; args: unknown; kwargs: unknown; embed: Json } {
  if (Array.isArray(body)) return { fields: envelope.headers as Json, args: body[0], kwargs: body[1], embed: body[2] };
  const fields = body as Json;
  return { fields: { ...fields, group: fields.taskset }, args: fields.args, kwargs: fields.kwargs, embed: fields };
}

const orUndefined = (value: unknown): unknown => (value === null ? undefined : value);
const instantOf = (value: unknown): unknown => (typeof value === 'string' ? parseIsoTime(value) : undefined);

function checkTask(task: TaskMessage, vector: Message): void {
  const { fields, args, kwargs, embed } = partsOf(vector);
  const properties = vector.envelope.properties as Json;
  expect(task.task).toBe(fields.task);
  expect(task.id).toBe(fields.id);
  expect(task.id).toBe(properties.correlation_id);
  expect(task.args).toEqual(args);
  expect(task.kwargs).toEqual(kwargs);
  expect(task.lang).toBe('py');
  expect(task.eta).toBe(instantOf(fields.eta));
  expect(task.expires).toBe(instantOf(fields.expires));
  expect(task.retries).toBe(fields.retries);
  expect(task.rootId).toBe(fields.root_id ?? fields.id);
  expect(task.parentId).toBe(orUndefined(fields.parent_id));
  expect(task.groupId).toBe(orUndefined(fields.group));
  expect(task.groupIndex).toBe(orUndefined(fields.group_index));
  expect(task.shadow).toBe(orUndefined(fields.shadow));
  expect([task.timeLimit ?? null, task.softTimeLimit ?? null]).toEqual(fields.timelimit);
  expect(task.ignoreResult).toBe(fields.ignore_result ?? false);
  expect(task.argsRepr).toBe(fields.argsrepr);
  expect(task.kwargsRepr).toBe(fields.kwargsrepr);
  expect(task.origin).toBe(fields.origin);
  expect(task.replacedTaskNesting).toBe(fields.replaced_task_nesting ?? properties.replaced_task_nesting ?? 0);
  expect(task.stampedHeaders).toEqual(orUndefined(fields.stamped_headers));
  expect(task.stamps).toEqual(fields.stamps);
  expect(task.link).toEqual(orUndefined(embed.callbacks));
  expect(task.linkError).toEqual(orUndefined(embed.errbacks));
  expect(task.chain).toEqual(orUndefined(embed.chain));
  expect(task.chord).toEqual(orUndefined(embed.chord));
  expect(task.replyTo).toBe(properties.reply_to);
  expect(task.priority).toBe(properties.priority);
}

async function checkWrittenAgain(task: TaskMessage, original: WireMessage, vector: Message): Promise<void> {
  const { compression } = original.headers;
  await loadSerializers([original.contentType]);
  const { expiration } = original.properties;
  const again = encodeTask(task, {
    serializer: original.contentType,
    ...(compression === undefined ? {} : { compression: 'zlib' }),
    ...(expiration === undefined ? {} : { expirationMs: Number(expiration) }),
    // Celery 5.2 vectors hold no tagged values, so tags make no difference to them.
    jsonTags: true,
  });
  expect(again.contentType).toBe(original.contentType);
  expect(again.contentEncoding).toBe(original.contentEncoding);
  checkProperties(again, original);
  if (Array.isArray(vector.body)) {
    checkHeaders(again, original);
    if (compression === undefined) {
      expect(decodeBody(again.body, again.contentType, again.contentEncoding, ACCEPT)).toEqual(vector.body);
    }
  }
  // The body (compressed, or of protocol 1) is compared through a second reading.
  const { argsRepr: _args, kwargsRepr: _kwargs, ...read } = await decodeTask(again, { accept: ACCEPT });
  expect(read).toMatchObject({ args: task.args, kwargs: task.kwargs, id: task.id, retries: task.retries });
  expect([read.link, read.linkError, read.chain, read.chord]).toEqual([
    task.link,
    task.linkError,
    task.chain,
    task.chord,
  ]);
}

function checkHeaders(again: WireMessage, original: WireMessage): void {
  for (const name of Object.keys(original.headers)) {
    if (HEADER_DIFFERENCES[name] === undefined)
      expect([name, again.headers[name]]).toEqual([name, original.headers[name]]);
  }
  for (const name of Object.keys(again.headers)) {
    if (HEADER_DIFFERENCES[name] === undefined) expect(original.headers).toHaveProperty([name]);
  }
  expect(again.headers.lang).toBe('ts');
  for (const name of ['eta', 'expires']) {
    expect(instantOf(again.headers[name])).toBe(instantOf(original.headers[name]));
    if (again.headers[name] !== null)
      expect(again.headers[name]).toMatch(/^\d{4}-\d\d-\d\dT[\d:]{8}(\.\d{6})?\+00:00$/);
  }
  expect(again.headers.replaced_task_nesting).toBe(original.headers.replaced_task_nesting ?? 0);
  expect(again.headers.stamped_headers).toEqual(original.headers.stamped_headers ?? null);
  expect(again.headers.stamps).toEqual(original.headers.stamps ?? {});
}

function checkProperties(again: WireMessage, original: WireMessage): void {
  const names = ['correlation_id', 'reply_to', 'delivery_mode', 'priority', 'expiration'];
  for (const name of names) expect([name, again.properties[name]]).toEqual([name, original.properties[name]]);
  expect(Object.keys(again.properties).filter((name) => !names.includes(name))).toEqual([]);
}
