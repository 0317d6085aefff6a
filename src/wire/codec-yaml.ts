import { parseDocument, stringify } from 'yaml';
import { DecodeError } from '../errors.ts';
import type { Codec } from './codec.ts';
import { decodeUtf8 } from './codec-json.ts';
import { formatIsoTime } from './iso-time.ts';
import { checkBigInt, refuse, type Walk } from './plain-data.ts';
import { shrinkIntegers, toPlainTree } from './plain-tree.ts';
import { PYYAML_TAGS, Verbatim } from './yaml-tags.ts';

/** What the library leaves as it is between double quotes, but PyYAML refuses or takes for a line break. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** Writes and reads bodies of content type `application/x-yaml`, as PyYAML's safe loader and dumper do. */
export const yamlCodec: Codec = {
  encode(value, options) {
    const text = stringify(toPlainTree(value, options.root ?? 'value', toLeaf), {
      schema: 'failsafe',
      customTags: PYYAML_TAGS,
      // Quotes keep words such as `yes`, `1:30` or `=` from being something else to PyYAML.
      defaultStringType: 'QUOTE_DOUBLE',
      defaultKeyType: 'QUOTE_DOUBLE',
      lineWidth: 0,
      aliasDuplicateObjects: false,
    });
    return Buffer.from(text.replace(UNPRINTABLE, escapeUnprintable), 'utf8');
  },
  decode(body) {
    const text = decodeUtf8(body);
    const document = parseDocument(text, {
      schema: 'failsafe',
      customTags: PYYAML_TAGS,
      prettyErrors: false,
      logLevel: 'error',
      // Else the library would bring its own `!!set` and `!!omap`: Sets and Maps, which cannot be sent on.
      resolveKnownTags: false,
    });
    // An unknown tag, such as !!python/object, is only a warning to the library.
    const fault = document.errors[0] ?? document.warnings[0];
    if (fault !== undefined) throw malformed(text, fault.message, fault.pos[0]);
    try {
      return shrinkIntegers(document.toJS());
    } catch (cause) {
      if (cause instanceof DecodeError) throw cause;
      throw malformed(text, cause instanceof Error ? cause.message : String(cause), 0, cause);
    }
  },
};

/** The library is left with strings, bytes and containers; all else is spelled here. */
function toLeaf(leaf: null | boolean | number | bigint | Date | Uint8Array, walk: Walk): unknown {
  if (typeof leaf === 'number') return new Verbatim(spellNumber(leaf));
  if (typeof leaf === 'bigint') return new Verbatim(String(checkBigInt(leaf, walk)));
  // The library looks at the whole ArrayBuffer of anything but a Buffer.
  if (leaf instanceof Uint8Array) return Buffer.from(leaf.buffer, leaf.byteOffset, leaf.byteLength);
  if (!(leaf instanceof Date)) return new Verbatim(String(leaf));
  const iso = formatIsoTime(leaf.getTime());
  if (iso === undefined) throw refuse(walk, 'its year is not one of 1 to 9999, which is all that Python has.');
  return new Verbatim(iso);
}

function spellNumber(value: number): string {
  if (Number.isNaN(value)) return '.nan';
  if (!Number.isFinite(value)) return value > 0 ? '.inf' : '-.inf';
  if (Object.is(value, -0)) return '-0.0';
  const text = Number.isInteger(value) && !Number.isSafeInteger(value) ? value.toExponential() : String(value);
  // To PyYAML `1e+21` is a string; a float has a point.
  return text.includes('e') && !text.includes('.') ? text.replace('e', '.0e') : text;
}

function escapeUnprintable(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function malformed(text: string, detail: string, at: number, cause?: unknown): DecodeError {
  const excerpt = JSON.stringify(text.slice(at, at + 60));
  return new DecodeError(`Malformed YAML: ${detail.slice(0, 200)} at position ${at}, near ${excerpt}.`, { cause });
}
