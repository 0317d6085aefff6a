import { DecodeError } from '../errors.ts';
import type { Codec } from './codec.ts';
import { decodeJson, encodeJson } from './json.ts';

const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Reads bytes as UTF-8. Throws {@link DecodeError} where TextDecoder's default would insert replacement characters. */
export function decodeUtf8(body: Uint8Array): string {
  try {
    return STRICT_UTF8.decode(body);
  } catch (cause) {
    throw new DecodeError(
      'Expected UTF-8 text, got bytes that are not. Check content-encoding and compression of the sender.',
      { cause },
    );
  }
}

/** Writes and reads bodies of content type `application/json`. */
export const jsonCodec: Codec = {
  encode: (value, options) => Buffer.from(encodeJson(value, options), 'utf8'),
  decode: (body) => decodeJson(decodeUtf8(body)),
};
