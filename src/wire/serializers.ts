import { ConfigError, ContentDisallowedError, DecodeError, NotSupportedError, SerializationError } from '../errors.ts';
import type { Codec } from './codec.ts';
import { decodeUtf8, jsonCodec } from './codec-json.ts';
import type { JsonOptions } from './json.ts';

interface Serializer {
  readonly name: string;
  readonly contentType: string;
  readonly contentEncoding: string;
  /** Undefined where the codec is part of this module. */
  readonly load?: () => Promise<Codec>;
  codec?: Codec;
}

/** Takes strings and bytes as they are; the type of the body says which (wire SPEC 2.1). */
const RAW_TEXT = 'text/plain';

const PICKLE = 'application/x-python-serialize';

/** All that can be read and written (wire SPEC 2.1). Loading fills in `codec`. */
const SERIALIZERS: readonly Serializer[] = [
  { name: 'json', contentType: 'application/json', contentEncoding: 'utf-8', codec: jsonCodec },
  {
    name: 'yaml',
    contentType: 'application/x-yaml',
    contentEncoding: 'utf-8',
    load: async () => (await import('./codec-yaml.ts')).yamlCodec,
  },
  {
    name: 'msgpack',
    contentType: 'application/x-msgpack',
    contentEncoding: 'binary',
    load: async () => (await import('./codec-msgpack.ts')).msgpackCodec,
  },
  {
    name: 'raw',
    contentType: 'application/data',
    contentEncoding: 'binary',
    codec: { encode: encodeRaw, decode: (body) => body },
  },
];

const BY_KEY = new Map<string, Serializer>(
  SERIALIZERS.flatMap((row) => [[row.name, row] as const, [row.contentType, row]]),
);

/** The content types a receiver takes; made by {@link acceptList}. */
export interface AcceptList {
  readonly contentTypes: ReadonlySet<string>;
}

/** A body with the label it travels under. */
export interface EncodedBody {
  readonly body: Uint8Array;
  /** MIME type, such as `application/json`. */
  readonly contentType: string;
  /** `utf-8` or `binary`. */
  readonly contentEncoding: string;
}

/**
 * Makes the list of content types a receiver takes, from names (`json`) and MIME types (`application/json`).
 * Throws {@link ConfigError} for unknown ones, and {@link NotSupportedError} for pickle.
 */
export function acceptList(names: readonly string[]): AcceptList {
  const contentTypes = new Set<string>();
  for (const name of names) {
    const { contentType } = find(name);
    contentTypes.add(contentType);
    if (contentType === 'application/data') contentTypes.add(RAW_TEXT);
  }
  return { contentTypes };
}

/**
 * Makes serializers ready for {@link encodeBody} and {@link decodeBody}: msgpack and YAML are imported here and not
 * before. `json` and `raw` are always ready. Throws like {@link acceptList}.
 */
export async function loadSerializers(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const row = find(name);
    if (row.load !== undefined) row.codec ??= await row.load();
  }
}

/** Tells whether a content type can be decoded without {@link loadSerializers}. */
export function isLoaded(contentType: string): boolean {
  return contentType === RAW_TEXT || BY_KEY.get(contentType)?.codec !== undefined;
}

/**
 * Serializes a value for a message body. `serializer` is a name or a MIME type. Throws {@link SerializationError} for
 * values without a form in it, {@link ConfigError} if it is unknown or was not loaded.
 */
export function encodeBody(serializer: string, value: unknown, options: JsonOptions = {}): EncodedBody {
  const row = find(serializer);
  const body = codecOf(row).encode(value, options);
  if (row.name === 'raw' && typeof value === 'string') {
    return { body, contentType: RAW_TEXT, contentEncoding: 'utf-8' };
  }
  return { body, contentType: row.contentType, contentEncoding: row.contentEncoding };
}

/**
 * Reads a message body, which must be uncompressed. Throws {@link ContentDisallowedError} when its type is not
 * accepted (pickle never is), {@link DecodeError} when it is not what its labels say, {@link ConfigError} when its
 * serializer was not loaded.
 */
export function decodeBody(
  body: Uint8Array,
  contentType: string,
  contentEncoding: string,
  accept: AcceptList,
): unknown {
  checkAccepted(contentType, accept);
  if (contentType === RAW_TEXT) return decodeUtf8(body);
  const row = find(contentType);
  if (row.contentEncoding === 'utf-8' && contentEncoding !== 'utf-8') checkEncoding(contentType, contentEncoding);
  return codecOf(row).decode(body);
}

/** Throws {@link ContentDisallowedError} unless a content type is in the list. */
export function checkAccepted(contentType: string, accept: AcceptList): void {
  if (accept.contentTypes.has(contentType)) return;
  if (contentType === PICKLE || contentType === 'pickle') throw new ContentDisallowedError(`Got pickle. ${NO_PICKLE}`);
  throw new ContentDisallowedError(
    `Content type ${JSON.stringify(contentType)} is not accepted; accepted are ${[...accept.contentTypes].join(', ')}. ` +
      'Change the serializer of the sender, or the accept list of the receiver.',
  );
}

const NO_PICKLE =
  'It is always refused: reading pickle runs code that the message brings along. ' +
  "On the Python side set task_serializer = 'json' (and result_serializer, event_serializer).";

function find(key: string): Serializer {
  const row = BY_KEY.get(key === RAW_TEXT ? 'raw' : key);
  if (row !== undefined) return row;
  if (key === 'pickle' || key === PICKLE) throw new NotSupportedError(`Pickle is not supported. ${NO_PICKLE}`);
  const known = SERIALIZERS.map(({ name, contentType }) => `${name} (${contentType})`).join(', ');
  throw new ConfigError(`Unknown serializer ${JSON.stringify(key)}; known are ${known}.`);
}

function codecOf(row: Serializer): Codec {
  if (row.codec !== undefined) return row.codec;
  throw new ConfigError(`The serializer ${row.name} is not loaded. Call loadSerializers(['${row.name}']) first.`);
}

function checkEncoding(contentType: string, contentEncoding: string): void {
  if (/^(utf-?8|us-ascii|ascii|binary|)$/i.test(contentEncoding)) return;
  throw new DecodeError(
    `Content encoding ${JSON.stringify(contentEncoding)} of ${contentType} is not supported: expected utf-8.`,
  );
}

function encodeRaw(value: unknown): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Uint8Array) return value;
  throw new SerializationError('The serializer raw takes a string or a Uint8Array. Use json for other values.');
}
