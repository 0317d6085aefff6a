import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeBody, encodeBody } from '../../../src/stores/sqs/messages.ts';
import { sqsName } from '../../../src/stores/sqs/names.ts';
import { testMessage } from '../../../src/testing/message.ts';

interface Vector {
  readonly raw_body: string;
  readonly decoded_envelope: { readonly headers: object; readonly properties: Readonly<Record<string, unknown>> };
  readonly decoded_task_body: unknown;
}

const file = new URL('../../vectors/celery526_sqs_messages.json', import.meta.url);
const { messages }: { messages: readonly Vector[] } = JSON.parse(readFileSync(file, 'utf8'));

test.each(messages.map((vector, i) => [i, vector] as const))('body %i of real Celery is read', (_, vector) => {
  const message = decodeBody(vector.raw_body);
  expect(message.headers).toEqual(vector.decoded_envelope.headers);
  expect(message.properties.correlation_id).toBe(vector.decoded_envelope.properties.correlation_id);
  expect(JSON.parse(Buffer.from(message.body).toString())).toEqual(vector.decoded_task_body);
});

const calls = ['simple', 'prefix', 'fifo', 'nobase64', 'predefined', 'countdown', 'delayseconds'].map((name) => {
  const file = new URL(`../../vectors/sqs_send_${name}.json`, import.meta.url);
  const { raw }: { raw: { operation: string; params: { QueueUrl: string; MessageBody: string } }[] } = JSON.parse(
    readFileSync(file, 'utf8'),
  );
  return [name, raw.find(({ operation }) => operation === 'SendMessage')?.params] as const;
});

test.each(calls)('what kombu sends (%s) is read', (name, params) => {
  expect(decodeBody(params?.MessageBody ?? '').headers).toMatchObject({ lang: 'py', task: 'cap.add' });
  const queue = params?.QueueUrl.split('/').at(-1);
  const location = { prefix: name === 'prefix' ? 'dev-' : '', isFifo: false };
  const names = { prefix: 'my.queue:high/1', fifo: 'jobs.fifo' };
  if (name in names) expect(queue).toBe(sqsName(names[name as keyof typeof names], location));
});

test('the same body as plain JSON is read, too', () => {
  const raw = messages[0]?.raw_body ?? '';
  expect(decodeBody(Buffer.from(raw, 'base64').toString())).toEqual(decodeBody(raw));
});

test('what is written has the form of Celery: base64 of an envelope, whose body is base64', () => {
  const message = testMessage();
  const envelope = JSON.parse(Buffer.from(encodeBody(message, 'celery', { options: {} }), 'base64').toString());
  const theirs = messages[0]?.decoded_envelope;
  expect(Object.keys(envelope).toSorted()).toEqual(Object.keys(theirs ?? {}).toSorted());
  expect(Object.keys(envelope.properties).toSorted()).toEqual(Object.keys(theirs?.properties ?? {}).toSorted());
  expect(envelope.properties.delivery_info).toEqual({ exchange: '', routing_key: 'celery' });
  expect(Buffer.from(envelope.body, 'base64')).toEqual(Buffer.from(message.body));
});

test.each(['', 'hello', '[]', Buffer.from('hello').toString('base64'), '{"body": 1}'])('%j is no message', (body) => {
  expect(() => decodeBody(body)).toThrow(/^Bad (message|envelope)/);
});
