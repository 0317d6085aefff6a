import type { WireMessage } from '../../wire/message.ts';

/** All of a message except its body, as one text to store. */
export function packLabel({ contentType, contentEncoding, headers, properties }: WireMessage): string {
  return JSON.stringify([contentType, contentEncoding, headers, properties]);
}

/** The message that {@link packLabel} took apart. */
export function unpackLabel(label: string, body: Uint8Array): WireMessage {
  const [contentType, contentEncoding, headers, properties] = JSON.parse(label);
  return { body, contentType, contentEncoding, headers, properties };
}
