import { describe, expect, test } from 'vitest';
import { bindArguments, declaredParams, paramsOf } from '../../../src/app/tasks/params.ts';

describe('parameter names read off a function', () => {
  test.each<[string, (...args: never[]) => unknown, (string | undefined)[], number, boolean]>([
    ['an arrow function', (x: number, y: number) => x + y, ['x', 'y'], 2, false],
    ['a default with commas and brackets', (x = [1, { a: ')' }], y = 'a,b') => [x, y], ['x', 'y'], 0, false],
    ['destructuring', ({ a }: { a: number }, [b]: number[]) => [a, b], [undefined, undefined], 2, false],
    ['a rest', (x: number, ...rest: number[]) => [x, rest], ['x'], 1, true],
    ['none', () => 1, [], 0, false],
    ['async', async (x: number) => x, ['x'], 1, false],
    [
      'a function expression',
      function named(first: number /* , not: this */, second: string) {
        return [first, second];
      },
      ['first', 'second'],
      2,
      false,
    ],
    [
      'a method',
      {
        method(a: number, b: number) {
          return a + b;
        },
      }.method,
      ['a', 'b'],
      2,
      false,
    ],
  ])('%s', (_form, fn, names, required, rest) => {
    expect(paramsOf(fn, 0)).toEqual({ declared: false, names, required, rest });
  });

  test('the bound context is left out', () => {
    expect(paramsOf((_self: unknown, x: number) => x, 1).names).toEqual(['x']);
  });
});

describe('binding', () => {
  const params = declaredParams(['x', 'y?', 'z?']);

  test('lays keywords onto positions and leaves gaps undefined', () => {
    expect(bindArguments('t', params, [1], { z: 3 }, true)).toEqual([1, undefined, 3]);
    expect(bindArguments('t', params, [], { x: 1 }, true)).toEqual([1]);
  });

  test('names what does not fit', () => {
    expect(() => bindArguments('t', params, [], { y: 1 }, true)).toThrow("t is missing 'x'");
    expect(() => bindArguments('t', params, [1], { x: 1 }, true)).toThrow("two values for its parameter 'x'");
    expect(() => bindArguments('t', params, [], { constructor: 1 }, true)).toThrow(
      "unexpected keyword argument 'constructor'",
    );
    expect(() => bindArguments('t', params, [1, 2, 3, 4], {}, true)).toThrow('t takes 3 arguments, got 4');
  });
});
