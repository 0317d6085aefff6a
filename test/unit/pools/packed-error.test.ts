import { describe, expect, test } from 'vitest';
import { RemoteTaskError, Retry } from '../../../src/errors.ts';
import { packError, unpackError } from '../../../src/pools/packed-error.ts';
import { packValue, unpackValue } from '../../../src/pools/packed-value.ts';

class PaymentError extends Error {}

/** As it comes out on the other side. */
const sent = (thrown: unknown) => unpackError(structuredClone(packError(thrown)));

describe('an error on its way to or from a child', () => {
  test('is of its own class where both sides have it, whatever its constructor takes', () => {
    const retry = sent(new Retry('later', 5, new TypeError('why')));
    expect(retry).toBeInstanceOf(Retry);
    expect(retry).toMatchObject({ code: 'RETRY', dueAt: 5, cause: expect.any(TypeError) });
    expect(sent(new RemoteTaskError('ValueError', 'builtins', [1]))).toMatchObject({ type: 'ValueError', args: [1] });
  });

  test('keeps the name of a class that only one side has', () => {
    expect(sent(new PaymentError('no'))).toMatchObject({ name: 'PaymentError', message: 'no' });
  });

  test('keeps the errors of an AggregateError', () => {
    const aggregate = sent(new AggregateError([new RangeError('a'), 'b'], 'both'));
    expect(aggregate).toBeInstanceOf(AggregateError);
    expect(Reflect.get(aggregate, 'errors')).toMatchObject([expect.any(RangeError), { message: "thrown value: 'b'" }]);
  });

  test('may be its own cause', () => {
    const error = new Error('round');
    error.cause = error;
    expect(sent(error).message).toBe('round');
  });

  test('may throw when it is looked at', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('hands off');
      },
    });
    expect(sent(hostile).message).toBe('an error that could not be read');
  });
});

describe('a value on its way to or from a child', () => {
  test('has its errors where they were', () => {
    const value = { kind: 'failure', error: new Retry('later', 5), children: ['a'] };
    const came = unpackValue(structuredClone(packValue(value)));
    expect(came).toEqual({ kind: 'failure', error: expect.any(Retry), children: ['a'] });
    expect(unpackValue(structuredClone(packValue(new RangeError('r'))))).toBeInstanceOf(RangeError);
  });
});
