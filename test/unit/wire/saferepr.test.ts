import { expect, test } from 'vitest';
import { reprArgs, saferepr } from '../../../src/wire/saferepr.ts';
import { type Json, loadVectors } from './vectors.ts';

test.each(
  [
    [null, 'None'],
    [undefined, 'None'],
    [true, 'True'],
    [false, 'False'],
    [1.5, '1.5'],
    [1e100, '1e+100'],
    [-0, '-0.0'],
    [Number.NaN, 'nan'],
    [-Infinity, '-inf'],
    [2n ** 64n, '18446744073709551616'],
    ['a\'b"c\\d\n\t\x01é', "'a\\'b\"c\\\\d\\n\\t\\x01é'"],
    [[1, 'x', []], "[1, 'x', []]"],
    [{ a: { b: null }, 'c d': [] }, "{'a': {'b': None}, 'c d': []}"],
    [Buffer.from('a\x00\xff', 'latin1'), "b'a\\x00\\xff'"],
    [
      new Date('2031-01-02T03:04:05.678Z'),
      'datetime.datetime(2031, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)',
    ],
    [new Date('2031-01-02T03:04:00Z'), 'datetime.datetime(2031, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)'],
    [new Date(Number.NaN), '<invalid Date>'],
    [() => 1, '<function>'],
    [Symbol('s'), '<symbol>'],
  ].map(([value, text]) => ({ value, text })),
)('$text', ({ value, text }) => {
  expect(saferepr(value)).toBe(text);
});

test('arguments are a tuple', () => {
  expect([reprArgs([]), reprArgs([2]), reprArgs([2, 3]), reprArgs([[2]])]).toEqual(['()', '(2,)', '(2, 3)', '([2],)']);
});

test('nesting is cut at three levels', () => {
  expect(saferepr([[[[1]]], { a: { b: { c: 1 } } }])).toBe("[[[[...]]], {'a': {'b': {...}}}]");
  expect(saferepr([[1]], 1024, 1)).toBe('[[...]]');
});

test('long values are cut, with brackets closed', () => {
  const text = reprArgs(['x'.repeat(5000), 1], 100);
  expect(text).toMatch(/^\('x{99}\.\.\.', \.\.\.\)$/);
  expect(saferepr(Array.from({ length: 5000 }, (_, i) => i)).length).toBeLessThan(1100);
  expect(saferepr(Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, i])))).toMatch(/\.\.\.\}$/);
  expect(saferepr(new Uint8Array(5000)).length).toBeLessThan(1024 * 4 + 10);
});

test('never throws', () => {
  const circle: unknown[] = [];
  circle.push(circle);
  const hostile = {
    get boom(): never {
      throw new Error('no');
    },
  };
  expect(saferepr(circle)).toBe('[[[[...]]]]');
  expect(saferepr([hostile])).toContain('<unprintable>');
});

test('agrees with what real Celery wrote, where the JSON tells the types', () => {
  let compared = 0;
  for (const { name, decoded } of loadVectors('task_')) {
    // Tuples, dates and keys that are no strings are not in the JSON; long values may be cut elsewhere.
    if (/json_types|json_bytes|saferepr|longargs|argsrepr|protocol1|pickle|chord|group|chunks|map/.test(name)) continue;
    for (const items of Object.values(decoded as Record<string, Json[]>)) {
      for (const { envelope, body_decoded: body } of items as { envelope: Json; body_decoded: unknown[] }[]) {
        const { argsrepr, kwargsrepr } = envelope.headers as Json;
        expect([name, reprArgs(body[0] as unknown[]), saferepr(body[1])]).toEqual([name, argsrepr, kwargsrepr]);
        compared += 1;
      }
    }
  }
  expect(compared).toBeGreaterThan(50);
});
