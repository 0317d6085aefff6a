import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateSync,
  unzipSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import { ConfigError, DecodeError, LovageError, NotSupportedError } from '../errors.ts';
import { loadPeer } from '../util/load-peer.ts';

/** How much {@link decompress} unpacks unless told otherwise: 256 MiB. */
export const DEFAULT_MAX_BYTES = 256 * 1024 * 1024;

interface Compression {
  readonly names: readonly string[];
  /** What the header `compression` holds. */
  readonly mime: string;
  /** Undefined where Node cannot write it. */
  readonly compress?: (bytes: Uint8Array) => Uint8Array;
  readonly decompress: (bytes: Uint8Array, maxBytes: number) => Uint8Array | Promise<Uint8Array>;
}

/** All compressions of kombu (wire SPEC 2.4). */
const COMPRESSIONS: readonly Compression[] = [
  {
    // Both names are a zlib stream on the wire, whatever the MIME type says; a true gzip file is read as well.
    names: ['zlib', 'gzip'],
    mime: 'application/x-gzip',
    compress: (bytes) => deflateSync(bytes),
    decompress: (bytes, maxBytes) => unzipSync(bytes, { maxOutputLength: maxBytes }),
  },
  {
    names: ['brotli'],
    mime: 'application/x-brotli',
    compress: (bytes) => brotliCompressSync(bytes),
    decompress: (bytes, maxBytes) => brotliDecompressSync(bytes, { maxOutputLength: maxBytes }),
  },
  {
    names: ['zstd', 'zstandard'],
    mime: 'application/zstd',
    compress: (bytes) => zstdCompressSync(bytes),
    decompress: (bytes, maxBytes) => zstdDecompressSync(bytes, { maxOutputLength: maxBytes }),
  },
  { names: ['bzip2', 'bzip'], mime: 'application/x-bz2', decompress: decompressBzip2 },
  { names: ['lzma', 'xz'], mime: 'application/x-lzma', decompress: decompressXz },
];

const BY_KEY = new Map<string, Compression>(
  COMPRESSIONS.flatMap((row) => [row.mime, ...row.names].map((key) => [key, row] as const)),
);

/** Compressed bytes, and what the header `compression` has to say about them. */
export interface Compressed {
  readonly body: Uint8Array;
  readonly mime: string;
}

/**
 * Compresses a serialized body. `alias` is one of kombu's names (`zlib`, `gzip`, `brotli`, `zstd`, `zstandard`) or a
 * MIME type. Throws {@link NotSupportedError} for bzip2 and lzma, {@link ConfigError} for unknown names.
 */
export function compress(bytes: Uint8Array, alias: string): Compressed {
  const row = BY_KEY.get(alias);
  if (row === undefined) {
    const known = COMPRESSIONS.filter((each) => each.compress !== undefined).flatMap((each) => each.names);
    throw new ConfigError(`Unknown compression ${JSON.stringify(alias)}; known are ${known.join(', ')}.`);
  }
  if (row.compress === undefined) {
    throw new NotSupportedError(`${alias} can be read but not written. Use zstd (or zlib, which every peer reads).`);
  }
  return { body: row.compress(bytes), mime: row.mime };
}

/**
 * Unpacks a body by the header `compression`. bzip2 and xz need the optional packages seek-bzip and xz-decompress
 * ({@link MissingPackageError}). Throws {@link DecodeError} for an unknown header, damaged bytes, and for more than
 * `maxBytes` (default {@link DEFAULT_MAX_BYTES}) of output.
 */
export async function decompress(bytes: Uint8Array, mime: string, maxBytes = DEFAULT_MAX_BYTES): Promise<Uint8Array> {
  const row = BY_KEY.get(mime);
  if (row === undefined) {
    const known = COMPRESSIONS.map((each) => each.mime).join(', ');
    throw new DecodeError(`Unknown compression ${JSON.stringify(mime)}: expected one of ${known}.`);
  }
  try {
    return await row.decompress(bytes, maxBytes);
  } catch (cause) {
    if (cause instanceof LovageError) throw cause;
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes);
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new DecodeError(
      `Expected ${row.names[0]} data of ${mime}, got ${bytes.length} bytes that are not: ${detail}.`,
      {
        cause,
      },
    );
  }
}

async function decompressBzip2(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const { default: bunzip } = await loadPeer('seek-bzip', 'bzip2 compression', () => import('seek-bzip'));
  let output = Buffer.allocUnsafe(Math.min(maxBytes, Math.max(1024, bytes.length * 4)));
  let length = 0;
  const sink = {
    writeByte(byte: number): void {
      if (length === maxBytes) throw tooLarge(maxBytes);
      if (length === output.length) output = Buffer.concat([output], Math.min(maxBytes, length * 2));
      output[length] = byte;
      length += 1;
    },
    flush(): void {},
  };
  // Copied, because seek-bzip looks for a Buffer.
  bunzip.decode(Buffer.from(bytes), sink, true);
  return output.subarray(0, length);
}

async function decompressXz(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const { XzReadableStream } = await loadPeer('xz-decompress', 'lzma compression', () => import('xz-decompress'));
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of new XzReadableStream(new Blob([Buffer.from(bytes)]).stream())) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function tooLarge(maxBytes: number): DecodeError {
  return new DecodeError(
    `Expected at most ${maxBytes} bytes after decompression, got more. Raise maxBytes if it is trusted.`,
  );
}
