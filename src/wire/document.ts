import { encodeJson } from './json.ts';
import { acceptList, decodeBody, encodeBody } from './serializers.ts';

/** Writes what a result backend keeps: text for json and yaml, bytes for msgpack. The serializer must have been loaded. */
export function encodeDocument(value: unknown, serializer: string, tags = true): string | Uint8Array {
  const options = { tags, root: '' };
  // The common case is spared the way through bytes.
  if (serializer === 'json') return encodeJson(value, options);
  const { body, contentEncoding } = encodeBody(serializer, value, options);
  return contentEncoding === 'utf-8' ? Buffer.from(body).toString('utf8') : body;
}

/** Reads what a result backend keeps. @throws DecodeError */
export function decodeDocument(document: string | Uint8Array, serializer: string): unknown {
  const accept = acceptList([serializer]);
  const [contentType = ''] = accept.contentTypes;
  const bytes = typeof document === 'string' ? Buffer.from(document, 'utf8') : document;
  return decodeBody(bytes, contentType, 'utf-8', accept);
}
