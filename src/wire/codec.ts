import type { JsonOptions } from './json.ts';

/** One serialization of values, such as JSON: what a row of the table in `serializers.ts` loads. */
export interface Codec {
  /** Throws {@link SerializationError} for values it has no form for. */
  encode(value: unknown, options: JsonOptions): Uint8Array;
  /** Throws {@link DecodeError} for bytes that are malformed. */
  decode(body: Uint8Array): unknown;
}
