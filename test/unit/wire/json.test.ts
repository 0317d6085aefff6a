import { describe, expect, test } from 'vitest';
import { DecodeError, SerializationError } from '../../../src/errors.ts';
import { decodeJson, encodeJson } from '../../../src/wire/json.ts';
import { randomValue, seeded } from './random-value.ts';

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i += 1) value = i % 2 === 0 ? [value] : { k: value };
  return value;
}

describe('encodeJson', () => {
  test('writes plain values as JSON.stringify does', () => {
    const value = { a: [1, 'two', 2.5, null, true, undefined], gone: undefined, n: { '': 'é☃😀"\\' } };
    expect(encodeJson(value)).toBe(JSON.stringify(value));
    expect(encodeJson(undefined)).toBe('null');
  });

  test('writes what JSON.stringify changes: NaN, infinities, negative zero, BigInt, large doubles', () => {
    expect(encodeJson([Number.NaN, Infinity, -Infinity, -0])).toBe('[NaN,Infinity,-Infinity,-0.0]');
    expect(encodeJson(2n ** 64n)).toBe('18446744073709551616');
    expect(encodeJson([1e16, -1e20, 1e21])).toBe('[1e+16,-1e+20,1e+21]');
  });

  test('writes a Date with a tag, and six digits of fraction only where there is one', () => {
    const tag = (value: string): string => `{"__type__":"datetime","__value__":"${value}"}`;
    expect(encodeJson(new Date('2031-01-02T03:04:05.678Z'))).toBe(tag('2031-01-02T03:04:05.678000+00:00'));
    expect(encodeJson(new Date('2031-01-02T03:04:05Z'))).toBe(tag('2031-01-02T03:04:05+00:00'));
    expect(encodeJson(new Date('2031-01-02T03:04:05.5Z'), { tags: false })).toBe('"2031-01-02T03:04:05.500000Z"');
  });

  test('writes bytes as text where they are UTF-8, else as base64', () => {
    expect(encodeJson(Buffer.from('hé'))).toBe('{"__type__":"bytes","__value__":"hé"}');
    expect(encodeJson(new Uint8Array([255, 1]))).toBe('{"__type__":"base64","__value__":"/wE="}');
    expect(encodeJson(new Uint8Array([9, 255, 1]).subarray(1))).toBe('{"__type__":"base64","__value__":"/wE="}');
  });

  test('follows toJSON, and writes class instances as their own properties', () => {
    class Point {
      x = 1;
      y = Number.NaN;
      get sum(): number {
        return 2;
      }
    }
    expect(encodeJson(new Point())).toBe('{"x":1,"y":NaN}');
    expect(encodeJson({ p: { toJSON: (key: string) => [key, 2n ** 70n] } })).toBe('{"p":["p",1180591620717411303424]}');
    expect(encodeJson([new Number(1), new String('s'), Object(true)])).toBe('[1,"s",true]');
  });

  class Loop {
    self: Loop = this;
  }
  const circle: unknown[] = [];
  circle.push({ again: circle });
  test.each([
    ['a function', () => 1, /value\.args\[0\]: it is a function/],
    ['a symbol', Symbol('x'), /it is a symbol/],
    ['a small BigInt', 5n, /would come back as a number\. Use Number\(x\)/],
    ['an invalid Date', new Date(Number.NaN), /invalid Date/],
    ['a Date of the year 10000', new Date(253_402_300_800_000), /years? .*1 to 9999/],
    ['a Map', new Map(), /it is a Map\. Use Object\.fromEntries/],
    ['a Set', new Set(), /it is a Set\. Use \[\.\.\.set\]/],
    ['a Promise', Promise.resolve(), /it is a Promise\. Await it/],
    ['a Float64Array', new Float64Array(2), /typed array/],
    ['an ArrayBuffer', new ArrayBuffer(2), /ArrayBuffer/],
    ['a Map from toJSON', { toJSON: () => new Map() }, /it is a Map/],
    ['an array in itself', circle, /circular/],
    ['an object in itself', new Loop(), /args\[0\]\.self: it contains itself/],
    ['an object that looks tagged', { __type__: 'datetime', __value__: 'x' }, /__type__ and __value__.*third key/],
    ['nesting of 2000 levels', deep(2000), /nested more than 900 levels/],
  ])('refuses %s and says where', (_name, value, message) => {
    const encode = (): string => encodeJson({ args: [value] });
    expect(encode).toThrow(SerializationError);
    expect(encode).toThrow(message);
    expect(encode).toThrow(/Cannot serialize value\.args\[0\]/);
  });

  test('names the place by the root it is given', () => {
    const args = [{ user: { friends: [1, 2, new Map()] } }];
    expect(() => encodeJson(args, { root: 'args' })).toThrow('Cannot serialize args[0].user.friends[2]: ');
    expect(() => encodeJson([args, { 'a b': 1n }], { root: ['args', 'kwargs'] })).toThrow('args[0].user.friends[2]: ');
    expect(() => encodeJson([[], { 'a b': 1n }], { root: ['args', 'kwargs'] })).toThrow('kwargs["a b"]: ');
  });

  test('refuses bytes where tags are off', () => {
    expect(() => encodeJson({ b: new Uint8Array(1) }, { tags: false })).toThrow(/value\.b: it is bytes.*base64/);
  });

  test('a tagged object with a third key is plain', () => {
    expect(decodeJson(encodeJson({ __type__: 'x', __value__: 1, more: 2 }))).toEqual({
      __type__: 'x',
      __value__: 1,
      more: 2,
    });
  });
});

describe('decodeJson', () => {
  test('reads bare NaN and infinities, and integers of any size', () => {
    expect(decodeJson(' [NaN, Infinity , -Infinity,-0.0, 1e400] ')).toEqual([
      Number.NaN,
      Infinity,
      -Infinity,
      -0,
      Infinity,
    ]);
    expect(decodeJson('[9007199254740991, 9007199254740992, -18446744073709551616]')).toEqual([
      9007199254740991,
      9007199254740992n,
      -18446744073709551616n,
    ]);
    expect(decodeJson('{"x": 1.2345678901234567890, "y": 12345678901234567e3}')).toEqual({
      x: 1.2345678901234567,
      y: 12345678901234567e3,
    });
  });

  test('finds long integers wherever they stand', () => {
    for (let spaces = 0; spaces < 40; spaces += 1) {
      expect(decodeJson(`${' '.repeat(spaces)}12345678901234567`)).toBe(12345678901234567n);
    }
  });

  test('leaves words and digits inside strings alone', () => {
    const value = { NaN: 'Infinity', '12345678901234567890': ['-Infinity "NaN" \\', 'back\\slash\\\\'] };
    expect(decodeJson(JSON.stringify(value))).toEqual(value);
  });

  test('turns tags into values', () => {
    const tag = (type: string, value: unknown): string => JSON.stringify({ __type__: type, __value__: value });
    expect(decodeJson(tag('datetime', '2031-01-02T03:04:05.678901+02:00'))).toEqual(
      new Date('2031-01-02T01:04:05.678Z'),
    );
    expect(decodeJson(tag('datetime', '2031-01-02T03:04:05'))).toEqual(new Date('2031-01-02T03:04:05Z'));
    expect(decodeJson(tag('date', '2031-01-02'))).toBe('2031-01-02');
    expect(decodeJson(tag('time', '03:04:05'))).toBe('03:04:05');
    expect(decodeJson(tag('decimal', '1.10'))).toBe('1.10');
    expect(decodeJson(tag('uuid', { hex: '00112233445566778899aabbccddeeff' }))).toBe(
      '00112233-4455-6677-8899-aabbccddeeff',
    );
    expect(decodeJson(tag('bytes', 'hé'))).toEqual(new Uint8Array([104, 195, 169]));
    expect(decodeJson(`{"a":[${tag('base64', '/wE=')}]}`)).toEqual({ a: [new Uint8Array([255, 1])] });
  });

  test.each([
    ['an unknown type', '{"__type__": "model", "__value__": 1}', /Unknown __type__ 'model'/],
    ['a bad datetime', '{"__type__": "datetime", "__value__": "soon"}', /expected an ISO time, got 'soon'/],
    ['a month 13', '{"__type__": "datetime", "__value__": "2031-13-02T00:00:00"}', /expected an ISO time/],
    ['a 30th of February', '{"__type__": "datetime", "__value__": "2031-02-30T00:00:00"}', /expected an ISO time/],
    ['a bad uuid', '{"__type__": "uuid", "__value__": {"hex": 12345678901234567890}}', /32 hex digits/],
    ['bytes that are no text', '{"__type__": "bytes", "__value__": [1]}', /expected a string/],
    ['no text', '', /position 0, the text ends/],
    ['an open array', '[1, 2', /expected "," or "\]" at position 5/],
    ['an open string', '{"a": "b', /closing double quote at position 6/],
    ['a missing colon', '{"a" 1}', /":" after the key at position 5, got "1}"/],
    ['a key without quotes', '{a: 1}', /a key in double quotes at position 1/],
    ['two values', '1 2', /the end of the text at position 2/],
    ['a trailing comma', '[1,]', /a JSON value at position 3/],
    ['a bad escape', '["\\x"]', /valid escapes/],
    ['a control character', '["\n"]', /control characters/],
    ['a half word', 'nul', /a JSON value at position 0/],
    ['a lone minus', '-', /a JSON value/],
    ['a number with a leading zero', '012', /the end of the text at position 1/],
    ['an integer of 5000 digits', '9'.repeat(5000), /at most 4300 digits/],
  ])('refuses %s', (_name, text, message) => {
    expect(() => decodeJson(text)).toThrow(DecodeError);
    expect(() => decodeJson(text)).toThrow(message);
  });

  test('shows no more than an excerpt of a malformed text', () => {
    const decode = (): unknown => decodeJson(`[x${'y'.repeat(10_000)}`);
    expect(decode).toThrow(DecodeError);
    expect(decode).toThrow(/^.{0,160}$/);
  });

  test.each([
    ['arrays', '['.repeat(100_000)],
    ['closed arrays', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['objects', '{"a":'.repeat(100_000)],
    ['arrays around NaN', `${'['.repeat(1000)}NaN${']'.repeat(1000)}`],
  ])('refuses %s nested too deep instead of overflowing the stack', (_name, text) => {
    expect(() => decodeJson(text)).toThrow(DecodeError);
    expect(() => decodeJson(text)).toThrow(/at most 900 levels/);
  });

  test('brackets inside strings are no nesting', () => {
    const text = JSON.stringify(['['.repeat(5000), '\\"[[[['.repeat(1000)]);
    expect(decodeJson(text)).toEqual(JSON.parse(text));
  });

  test.each([
    '{"__proto__": {"polluted": 1}}',
    '{"__proto__": {"polluted": NaN}}',
    '{"__proto__": {"__type__": "date", "__value__": "x"}}',
  ])('__proto__ in %s is an ordinary key', (text) => {
    const value = decodeJson(text) as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value)).toEqual(['__proto__']);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});

test('whatever is written is read back the same', () => {
  const random = seeded(20310102);
  for (let i = 0; i < 3000; i += 1) {
    const value = randomValue(random, { dates: true, bytes: true });
    const text = encodeJson(value);
    expect(decodeJson(text), text).toStrictEqual(value);
  }
});
