import { decode, encode } from '@msgpack/msgpack';
import { DecodeError } from '../errors.ts';
import type { Codec } from './codec.ts';
import { MAX_DEPTH } from './json-reader.ts';
import { checkBigInt, refuse, type Walk } from './plain-data.ts';
import { shrinkIntegers, toPlainTree } from './plain-tree.ts';

const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;

/** Writes and reads bodies of content type `application/x-msgpack` (`use_bin_type`, wire SPEC 2.1). */
export const msgpackCodec: Codec = {
  encode(value, options) {
    const tree = toPlainTree(value, options.root ?? 'value', toLeaf);
    return encode(tree, { useBigInt64: true, maxDepth: MAX_DEPTH + 1 });
  },
  decode(body) {
    let value: unknown;
    try {
      value = decode(body, { useBigInt64: true });
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      throw new DecodeError(`Malformed msgpack of ${body.byteLength} bytes: ${detail}.`, { cause });
    }
    return shrinkIntegers(value);
  },
};

function toLeaf(leaf: null | boolean | number | bigint | Date | Uint8Array, walk: Walk): unknown {
  if (typeof leaf === 'number') {
    // With useBigInt64 the library writes numbers beyond 32 bits as floats; as BigInt they stay integers.
    const isLong = Number.isSafeInteger(leaf) && (leaf > 0xffff_ffff || leaf < -0x8000_0000);
    return isLong ? BigInt(leaf) : leaf;
  }
  if (typeof leaf === 'bigint') {
    if (leaf < MIN_INT64 || leaf > MAX_UINT64) throw refuse(walk, 'it is a BigInt of more than 64 bits. Use json.');
    return checkBigInt(leaf, walk);
  }
  if (leaf instanceof Date) {
    throw refuse(
      walk,
      "it is a Date, which Celery's msgpack cannot read as one. Send date.toISOString(), or use json.",
    );
  }
  return leaf;
}
