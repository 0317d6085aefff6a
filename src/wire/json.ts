import { checkDepth, needsExactReader, readJson } from './json-reader.ts';
import { reviveTags } from './json-tags.ts';
import { isPlain, writeJson } from './json-writer.ts';

/** How {@link encodeJson} writes a value. */
export interface JsonOptions {
  /** Dates and bytes as kombu >= 5.3's `__type__` objects (the default); `false` for peers with kombu 5.2. */
  readonly tags?: boolean;
  /**
   * What error messages call the whole value, or the items of a whole that is a list. Default `value`;
   * with `''`, places begin with the first key.
   */
  readonly root?: string | readonly string[];
}

/**
 * Turns a value into the JSON that kombu reads (wire SPEC 2.1, 2.2): JSON.stringify, plus bare `NaN` and `Infinity`,
 * integers of any size from BigInt, and tagged dates and bytes.
 * Throws {@link SerializationError}, naming the place, for what has no form that would come back as it was.
 */
export function encodeJson(value: unknown, options: JsonOptions = {}): string {
  if (value === undefined) return 'null';
  if (isPlain(value, 0)) return JSON.stringify(value);
  return writeJson(value, options.tags ?? true, options.root ?? 'value');
}

/**
 * Reads the JSON that kombu writes (wire SPEC 2.1, 2.2): bare `NaN` and `Infinity`, integers beyond the safe range as
 * BigInt, `__type__` objects as Date, Uint8Array or string. Throws {@link DecodeError} with the place and an excerpt.
 */
export function decodeJson(text: string): unknown {
  checkDepth(text);
  const value = needsExactReader(text) ? readJson(text) : parseFast(text);
  return text.includes('__type__') ? reviveTags(value) : value;
}

function parseFast(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Malformed: the exact reader finds the same fault and says where it is.
    return readJson(text);
  }
}
