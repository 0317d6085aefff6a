import { encode as packRaw } from '@msgpack/msgpack';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  ConfigError,
  ContentDisallowedError,
  DecodeError,
  NotSupportedError,
  SerializationError,
} from '../../../src/errors.ts';
import { acceptList, decodeBody, encodeBody, isLoaded, loadSerializers } from '../../../src/wire/serializers.ts';
import { randomValue, seeded } from './random-value.ts';

const ALL = acceptList(['json', 'yaml', 'application/x-msgpack', 'raw']);

/** Buffers that libraries return are bytes like any other. */
function unbuffer(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(unbuffer);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unbuffer(item)]));
}

function roundTrip(serializer: string, value: unknown): unknown {
  const { body, contentType, contentEncoding } = encodeBody(serializer, value);
  return unbuffer(decodeBody(body, contentType, contentEncoding, ALL));
}

const yaml = (text: string): unknown => decodeBody(Buffer.from(text), 'application/x-yaml', 'utf-8', ALL);

// In a describe of its own and first, because loading is for the whole process.
describe('before loading', () => {
  test('yaml and msgpack are not there, and the error says how to get them', () => {
    expect(isLoaded('application/x-yaml')).toBe(false);
    expect(() => encodeBody('yaml', 1)).toThrow(/Call loadSerializers\(\['yaml'\]\)/);
    expect(() => decodeBody(Buffer.from('1'), 'application/x-msgpack', 'binary', ALL)).toThrow(ConfigError);
  });

  test('json and raw are always ready', () => {
    expect([isLoaded('application/json'), isLoaded('text/plain'), isLoaded('application/data')]).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe('after loading', () => {
  beforeAll(() => loadSerializers(['yaml', 'application/x-msgpack', 'json', 'raw']));

  test.each([
    ['json', 'application/json', 'utf-8'],
    ['yaml', 'application/x-yaml', 'utf-8'],
    ['msgpack', 'application/x-msgpack', 'binary'],
  ])('%s goes by its name and by its MIME type', (name, contentType, contentEncoding) => {
    for (const key of [name, contentType]) {
      expect(encodeBody(key, [1])).toMatchObject({ contentType, contentEncoding });
      expect(acceptList([key]).contentTypes).toEqual(new Set([contentType]));
    }
  });

  test('raw takes texts and bytes as they are', () => {
    expect(encodeBody('raw', 'hé')).toMatchObject({ contentType: 'text/plain', contentEncoding: 'utf-8' });
    expect(encodeBody('raw', new Uint8Array(2))).toMatchObject({
      contentType: 'application/data',
      contentEncoding: 'binary',
    });
    expect([roundTrip('raw', 'hé'), roundTrip('raw', new Uint8Array([1, 255]))]).toEqual([
      'hé',
      new Uint8Array([1, 255]),
    ]);
    expect(() => encodeBody('raw', 1)).toThrow(SerializationError);
  });

  test('unknown names are refused, naming the known ones', () => {
    expect(() => acceptList(['jsn'])).toThrow(ConfigError);
    expect(() => acceptList(['jsn'])).toThrow(/"jsn"; known are json \(application\/json\), yaml/);
    expect(() => encodeBody('xml', 1)).toThrow(/Unknown serializer "xml"/);
  });

  test('content types that are not accepted are refused, naming both sides', () => {
    const decode = (): unknown => decodeBody(Buffer.from('1'), 'application/x-yaml', 'utf-8', acceptList(['json']));
    expect(decode).toThrow(ContentDisallowedError);
    expect(decode).toThrow(/"application\/x-yaml" is not accepted; accepted are application\/json/);
  });

  test('pickle is refused everywhere, saying why and what to do', async () => {
    const because = /runs code that the message brings.*task_serializer = 'json'/;
    expect(() => decodeBody(Buffer.from(''), 'application/x-python-serialize', 'binary', ALL)).toThrow(because);
    expect(() => decodeBody(Buffer.from(''), 'application/x-python-serialize', 'binary', ALL)).toThrow(
      ContentDisallowedError,
    );
    expect(() => acceptList(['pickle'])).toThrow(because);
    expect(() => encodeBody('pickle', 1)).toThrow(NotSupportedError);
    await expect(loadSerializers(['pickle'])).rejects.toThrow(because);
  });

  test('text that is not UTF-8 is refused', () => {
    for (const type of ['application/json', 'application/x-yaml', 'text/plain']) {
      expect(() => decodeBody(Buffer.from([0x22, 0xff, 0x22]), type, 'utf-8', ALL)).toThrow(DecodeError);
    }
    expect(() => decodeBody(Buffer.from('1'), 'application/json', 'latin-1', ALL)).toThrow(/"latin-1".*expected utf-8/);
    expect(decodeBody(Buffer.from('1'), 'application/json', 'UTF8', ALL)).toBe(1);
  });

  test.each([
    ['yaml', { dates: true, bytes: true }],
    ['msgpack', { bytes: true }],
    ['json', { dates: true, bytes: true }],
  ])('whatever %s writes it reads back the same', (serializer, kinds) => {
    const random = seeded(77);
    for (let i = 0; i < 500; i += 1) {
      const value = randomValue(random, kinds);
      expect(roundTrip(serializer, value)).toStrictEqual(value);
    }
  });

  test.each(['yaml', 'msgpack'])('%s refuses what json refuses, and says where', (serializer) => {
    expect(() => encodeBody(serializer, [1, { a: new Map() }])).toThrow(/value\[1\]\.a: it is a Map/);
    expect(() => encodeBody(serializer, [5n])).toThrow(/value\[0\]: it is the BigInt 5n/);
    expect(() => encodeBody(serializer, ['\ud800'])).toThrow(/value\[0\]: .*surrogate/);
    const circle: unknown[] = [];
    circle.push(circle);
    expect(() => encodeBody(serializer, circle)).toThrow(/circular/);
    expect(roundTrip(serializer, [undefined, { a: undefined }])).toEqual([null, {}]);
    expect(roundTrip(serializer, undefined)).toBe(null);
  });
});

describe('msgpack', () => {
  test('refuses Dates, for which Celery has no form, and integers of more than 64 bits', () => {
    expect(() => encodeBody('msgpack', [new Date()])).toThrow(/value\[0\]: it is a Date.*toISOString/);
    expect(() => encodeBody('msgpack', 2n ** 64n)).toThrow(/more than 64 bits/);
  });

  test('writes integers beyond 32 bits as integers', () => {
    expect(Buffer.from(encodeBody('msgpack', 2 ** 40).body).toString('hex')).toBe('cf0000010000000000');
    expect(Buffer.from(encodeBody('msgpack', -(2 ** 40)).body).toString('hex')).toBe('d3ffffff0000000000');
  });

  test('reads 64-bit integers as numbers where safe', () => {
    const unpack = (bytes: Uint8Array): unknown => decodeBody(bytes, 'application/x-msgpack', 'binary', ALL);
    expect(unpack(packRaw([5n, 2n ** 60n], { useBigInt64: true }))).toEqual([5, 2n ** 60n]);
  });

  test.each([
    ['nothing', ''],
    ['a cut array', '9201'],
    ['bytes after the value', '0101'],
    ['a key __proto__', `81a95f5f70726f746f5f5f01`],
    ['nesting of 100000 levels', `${'91'.repeat(100_000)}01`],
  ])('refuses %s', (_name, hex) => {
    expect(() => decodeBody(Buffer.from(hex, 'hex'), 'application/x-msgpack', 'binary', ALL)).toThrow(DecodeError);
  });
});

describe('yaml', () => {
  test('spells what PyYAML would take for something else', () => {
    const text = Buffer.from(encodeBody('yaml', ['yes', 1e21, 1e-7, '\x85', new Date(0), -0]).body).toString();
    expect(text.split('\n')).toEqual([
      '- "yes"',
      '- 1.0e+21',
      '- 1.0e-7',
      '- "\\u0085"',
      '- 1970-01-01T00:00:00+00:00',
      '- -0.0',
      '',
    ]);
  });

  test('reads unquoted words as PyYAML writes them', () => {
    expect(yaml('[n, y, 08, 1e5, 0o17, 1:30, yes, off, ~, 1.0e+5, .nan, 12345678901234567, -3]')).toEqual([
      ...['n', 'y', '08', '1e5', '0o17', '1:30'],
      ...[true, false, null, 1e5, Number.NaN, 12345678901234567n, -3],
    ]);
    expect(yaml('- 2031-01-02 03:04:05.678901+00:00\n- !!binary |\n  /wE=')).toEqual([
      new Date('2031-01-02T03:04:05.678Z'),
      Buffer.from([255, 1]),
    ]);
    expect(yaml('- &id001 [1]\n- *id001')).toEqual([[1], [1]]);
  });

  test.each([
    ['a Python object', '!!python/object/apply:os.system ["true"]'],
    ['an unknown tag', '- !mine 3'],
    ['a set', '!!set {a, b}'],
    ['an open list', 'a: [1'],
    ['two documents', '--- 1\n--- 2'],
    ['an alias of nothing', '*x'],
    ['a list in itself', '&a [*a, *a]'],
    [
      'an explosion of aliases',
      `a0: &a0 [x,x,x,x,x,x,x,x,x]\n${[1, 2, 3, 4, 5, 6, 7].map((n) => `a${n}: &a${n} [${`*a${n - 1},`.repeat(9)}]`).join('\n')}`,
    ],
    ['nesting of 2000 levels', '['.repeat(2000) + ']'.repeat(2000)],
  ])('refuses %s', (_name, text) => {
    expect(() => yaml(text)).toThrow(DecodeError);
  });

  test('__proto__ is an ordinary key', () => {
    const value = yaml('__proto__: {polluted: 1}') as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value)).toEqual(['__proto__']);
  });
});
