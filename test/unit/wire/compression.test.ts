import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ConfigError, DecodeError, NotSupportedError } from '../../../src/errors.ts';
import { compress, decompress } from '../../../src/wire/compression.ts';

const TEXT = Buffer.from('a body that repeats itself. '.repeat(40));

/** "hello" as Python's bz2 and lzma write it. */
const BZ2 = Buffer.from('QlpoOTFBWSZTWRkxZT0AAACBAAJEoAAhmmgzTQczi7kinChIDJiynoA=', 'base64');
const XZ = Buffer.from(
  '/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAEaGVsbG8AAAAAsTe52+XaHpsAAR0FuC2Arx+2830BAAAAAARZWg==',
  'base64',
);

describe('compress and decompress', () => {
  test.each([
    ['zlib', 'application/x-gzip'],
    ['gzip', 'application/x-gzip'],
    ['brotli', 'application/x-brotli'],
    ['zstd', 'application/zstd'],
    ['zstandard', 'application/zstd'],
    ['application/zstd', 'application/zstd'],
  ])('%s travels as %s', async (alias, mime) => {
    const compressed = compress(TEXT, alias);
    expect(compressed.mime).toBe(mime);
    expect(compressed.body.length).toBeLessThan(TEXT.length / 4);
    expect(Buffer.from(await decompress(compressed.body, mime))).toEqual(TEXT);
  });

  test('gzip is a zlib stream on the wire, and a true gzip file is read too', async () => {
    expect([...compress(TEXT, 'gzip').body.subarray(0, 2)]).toEqual([0x78, 0x9c]);
    expect(Buffer.from(await decompress(gzipSync(TEXT), 'application/x-gzip'))).toEqual(TEXT);
  });

  test('bzip2 and xz are read', async () => {
    expect(Buffer.from(await decompress(BZ2, 'application/x-bz2')).toString()).toMatch(/^hello/);
    expect(Buffer.from(await decompress(XZ, 'application/x-lzma')).toString()).toMatch(/^hello/);
  });

  test.each(['bzip2', 'bzip', 'lzma', 'xz', 'application/x-bz2'])('%s is not written, saying what to use', (alias) => {
    expect(() => compress(TEXT, alias)).toThrow(NotSupportedError);
    expect(() => compress(TEXT, alias)).toThrow(/Use zstd \(or zlib/);
  });

  test('unknown names are refused, naming the known ones', async () => {
    expect(() => compress(TEXT, 'rar')).toThrow(ConfigError);
    expect(() => compress(TEXT, 'rar')).toThrow(/"rar"; known are zlib, gzip, brotli, zstd/);
    await expect(decompress(TEXT, 'application/rar')).rejects.toThrow(/Unknown compression "application\/rar"/);
    await expect(decompress(TEXT, 'application/rar')).rejects.toThrow(DecodeError);
  });

  test.each([
    ['application/x-gzip', deflateSync(TEXT)],
    ['application/x-brotli', brotliCompressSync(TEXT)],
    ['application/zstd', zstdCompressSync(TEXT)],
    ['application/x-bz2', BZ2],
    ['application/x-lzma', XZ],
  ])('%s: damaged bytes and bombs are refused', async (mime, bytes) => {
    await expect(decompress(Buffer.from('no such stream'), mime)).rejects.toThrow(DecodeError);
    await expect(decompress(bytes.subarray(0, bytes.length - 8), mime)).rejects.toThrow(DecodeError);
    await expect(decompress(bytes, mime, 4)).rejects.toThrow(/at most 4 bytes after decompression/);
  });
});
