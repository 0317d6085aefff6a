import { DecodeError } from '../errors.ts';
import { decodeJson, encodeJson } from './json.ts';
import type { WireMessage } from './message.ts';
import { saferepr } from './saferepr.ts';

/** Where an enveloped message is going. */
export interface EnvelopeDelivery {
  /** Default `''`, the anonymous exchange. */
  readonly exchange?: string;
  /** Queue name, where the exchange is the anonymous one. */
  readonly routingKey: string;
  /** Fresh UUID of this publish; acknowledgements name it. */
  readonly tag: string;
  /** As {@link JsonOptions.tags}, for dates in headers. */
  readonly jsonTags?: boolean;
}

/** A message taken out of its envelope. */
export interface OpenedEnvelope {
  readonly message: WireMessage;
  readonly deliveryTag?: string;
  readonly exchange: string;
  readonly routingKey: string;
  /** True when kombu restored it after a consumer was lost. */
  readonly redelivered: boolean;
}

/**
 * Wraps a message in the JSON object in which kombu keeps it on Redis, SQS and the other virtual transports
 * (wire SPEC 3.1), the body as base64. Throws {@link SerializationError} for headers JSON has no form for.
 */
export function encodeEnvelope(message: WireMessage, delivery: EnvelopeDelivery): string {
  const { body } = message;
  const options = { tags: delivery.jsonTags ?? true };
  const properties = {
    ...message.properties,
    delivery_info: { exchange: delivery.exchange ?? '', routing_key: delivery.routingKey },
    body_encoding: 'base64',
    delivery_tag: delivery.tag,
  };
  // By hand, since the body is the longest part and needs no look for what is to be escaped.
  const base64 = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64');
  const labels = `"content-encoding":${JSON.stringify(message.contentEncoding)},"content-type":${JSON.stringify(message.contentType)}`;
  const headers = encodeJson(message.headers, { ...options, root: 'message.headers' });
  return `{"body":"${base64}",${labels},"headers":${headers},"properties":${encodeJson(properties, { ...options, root: 'message.properties' })}}`;
}

/**
 * Takes a message out of kombu's envelope (wire SPEC 2.3, 3.1). Properties that are not about this delivery are kept
 * as they came. Throws {@link DecodeError} when the text is no envelope.
 */
export function decodeEnvelope(text: string): OpenedEnvelope {
  const envelope = mapOr(decodeJson(text), 'a JSON object');
  const properties = mapOr(envelope.properties ?? {}, 'properties to be a map');
  const { body_encoding: bodyEncoding, delivery_info: info, delivery_tag: tag, ...others } = properties;
  const headers = mapOr(envelope.headers ?? {}, 'headers to be a map');
  const deliveryInfo = mapOr(info ?? {}, 'delivery_info to be a map');
  const message: WireMessage = {
    body: decodeText(envelope.body, bodyEncoding),
    contentType: textOr(envelope['content-type'], 'application/json'),
    contentEncoding: textOr(envelope['content-encoding'], 'utf-8'),
    headers,
    properties: others,
  };
  return {
    message,
    ...(typeof tag === 'string' ? { deliveryTag: tag } : undefined),
    exchange: textOr(deliveryInfo.exchange, ''),
    routingKey: textOr(deliveryInfo.routing_key, ''),
    redelivered: headers.redelivered === true || deliveryInfo.redelivered === true,
  };
}

function decodeText(body: unknown, encoding: unknown): Uint8Array {
  if (typeof body !== 'string') throw new DecodeError(`Bad envelope: expected a text as body, got ${show(body)}.`);
  if (encoding === undefined || encoding === null || encoding === 'utf-8') return Buffer.from(body, 'utf8');
  if (encoding !== 'base64') {
    throw new DecodeError(`Bad envelope: expected body_encoding base64 or none, got ${show(encoding)}.`);
  }
  const bytes = Buffer.from(body, 'base64');
  // Node skips what is not base64 instead of refusing it, so a damaged body shows by its length.
  if (bytes.length !== decodedLength(body))
    throw new DecodeError(`Bad envelope: the body is not base64: ${show(body)}.`);
  return bytes;
}

function decodedLength(base64: string): number {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  return Math.floor(((base64.length - padding) * 3) / 4);
}

function mapOr(value: unknown, expected: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DecodeError(`Bad envelope: expected ${expected}, got ${show(value)}.`);
}

function textOr(value: unknown, fallback: string): string {
  return typeof value === 'string' ? value : fallback;
}

function show(value: unknown): string {
  return saferepr(value, 60);
}
