import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../src/errors.ts';
import { decodeEnvelope, encodeEnvelope } from '../../../src/wire/envelope.ts';

const MESSAGE = {
  body: new Uint8Array([0, 255, 10]),
  contentType: 'application/x-msgpack',
  contentEncoding: 'binary',
  headers: { task: 'x', n: 2n ** 60n, nan: Number.NaN },
  properties: { correlation_id: 'c', priority: 3, MessageGroupId: 'g' },
};

describe('envelope', () => {
  test('what goes in comes out, unknown properties too', () => {
    const text = encodeEnvelope(MESSAGE, { exchange: 'e', routingKey: 'q', tag: 't' });
    const { message, ...rest } = decodeEnvelope(text);
    expect({ ...message, body: Uint8Array.from(message.body) }).toEqual(MESSAGE);
    expect(rest).toEqual({ deliveryTag: 't', exchange: 'e', routingKey: 'q', redelivered: false });
  });

  test('the anonymous exchange is the default', () => {
    expect(decodeEnvelope(encodeEnvelope(MESSAGE, { routingKey: 'q', tag: 't' })).exchange).toBe('');
  });

  test('a body without body_encoding is used as it is', () => {
    const { message } = decodeEnvelope('{"body": "[1]", "properties": {"body_encoding": null}}');
    expect(Buffer.from(message.body).toString()).toBe('[1]');
    expect(message).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: {},
      properties: {},
    });
  });

  test.each([
    '{"body": "", "headers": {"redelivered": true}}',
    '{"body": "", "properties": {"delivery_info": {"redelivered": true}}}',
  ])('a restored message is redelivered: %s', (text) => {
    expect(decodeEnvelope(text).redelivered).toBe(true);
    expect(decodeEnvelope(text)).not.toHaveProperty('deliveryTag');
  });

  test.each([
    ['no JSON', '{"body"', /Malformed JSON/],
    ['a list', '[]', /expected a JSON object, got \[\]/],
    ['no body', '{}', /expected a text as body, got None/],
    ['headers that are no map', '{"body": "", "headers": [1]}', /headers to be a map/],
    ['properties that are no map', '{"body": "", "properties": "x"}', /properties to be a map/],
    ['an unknown body encoding', '{"body": "", "properties": {"body_encoding": "hex"}}', /base64 or none, got 'hex'/],
    ['a body that is not base64', '{"body": "W1s*yLCA", "properties": {"body_encoding": "base64"}}', /not base64/],
  ])('refuses %s', (_name, text, message) => {
    expect(() => decodeEnvelope(text)).toThrow(DecodeError);
    expect(() => decodeEnvelope(text)).toThrow(message);
  });
});
