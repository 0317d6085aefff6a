import { describe, expect, test } from 'vitest';
import * as errors from '../../../src/errors.ts';
import { decodeError, encodeError } from '../../../src/wire/remote-error.ts';

class HttpError extends Error {
  readonly args: readonly unknown[];

  constructor(status: number, reason: string) {
    super(`${status} ${reason}`);
    this.args = [status, reason];
  }
}
class Nameless extends Error {}
const REGISTRY = new Map<string, new (...args: never[]) => Error>([
  ['HttpError', HttpError],
  ['Nameless', Nameless],
]);

describe('encodeError', () => {
  test.each<[unknown, string, string]>([
    [new errors.NotRegisteredError('m'), 'NotRegistered', 'celery.exceptions'],
    [new errors.TaskRevokedError('m'), 'TaskRevokedError', 'celery.exceptions'],
    [new errors.MaxRetriesExceededError('m'), 'MaxRetriesExceededError', 'celery.exceptions'],
    [new errors.ChordError('m'), 'ChordError', 'celery.exceptions'],
    [new errors.TimeoutError('m'), 'TimeoutError', 'celery.exceptions'],
    [new errors.Retry('m', 1), 'Retry', 'celery.exceptions'],
    [new errors.Ignore('m'), 'Ignore', 'celery.exceptions'],
    [new errors.Reject('m'), 'Reject', 'celery.exceptions'],
    [new errors.TimeLimitExceeded('m'), 'TimeLimitExceeded', 'billiard.exceptions'],
    [new errors.SoftTimeLimitExceeded('m'), 'SoftTimeLimitExceeded', 'billiard.exceptions'],
    [new errors.WorkerLostError('m'), 'WorkerLostError', 'billiard.exceptions'],
    [new errors.ArgumentsError('m'), 'TypeError', 'builtins'],
    [new TypeError('m'), 'TypeError', 'builtins'],
    [new SyntaxError('m'), 'SyntaxError', 'builtins'],
    [new Error('m'), 'Error', 'lovage'],
    [new RangeError('m'), 'RangeError', 'lovage'],
    [new Nameless('m'), 'Nameless', 'lovage'],
    [Object.assign(new Error('m'), { name: 'SoftTimeLimitExceeded' }), 'SoftTimeLimitExceeded', 'billiard.exceptions'],
    [Object.assign(new Error('m'), { name: 'AbortError' }), 'AbortError', 'lovage'],
    ['m', 'Error', 'lovage'],
  ])('%s is sent as %s of %s', (error, type, module) => {
    expect(encodeError(error)).toEqual({ exc_type: type, exc_message: ['m'], exc_module: module });
  });

  test('sends the arguments of an error that keeps them, as text where JSON has no form', () => {
    expect(encodeError(new HttpError(404, 'gone')).exc_message).toEqual([404, 'gone']);
    expect(encodeError(Object.assign(new Error('m'), { args: [new Map(), 1] })).exc_message).toEqual(['{}', 1]);
  });

  test('sends on what came from elsewhere as it came', () => {
    const wire = { exc_type: 'ValueError', exc_message: ['bad', 1], exc_module: 'builtins' };
    expect(encodeError(decodeError(wire))).toEqual(wire);
  });

  test.each([undefined, null, 5, { code: 1 }, Symbol('s')])('takes %o, which is no error', (thrown) => {
    expect(encodeError(thrown)).toMatchObject({
      exc_type: 'Error',
      exc_message: [expect.stringContaining('thrown value: ')],
    });
  });

  test('survives an error that throws when it is looked at', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('no');
      },
    });
    expect(encodeError(hostile)).toMatchObject({ exc_type: 'Error' });
  });
});

describe('decodeError', () => {
  test.each([
    new errors.NotRegisteredError('m'),
    new errors.TaskRevokedError('m'),
    new errors.MaxRetriesExceededError('m'),
    new errors.Ignore('m'),
    new TypeError('m'),
    new RangeError('m'),
    new Error('m'),
  ])('%o comes back as itself', (error) => {
    const back = decodeError(encodeError(error));
    expect(back.constructor).toBe(error.constructor);
    expect([back.message, back.name]).toEqual([error.message, error.name]);
  });

  test('a registered class comes back with its arguments', () => {
    const back = decodeError(encodeError(new HttpError(404, 'gone')), REGISTRY, 'Traceback: remote');
    expect(back).toBeInstanceOf(HttpError);
    expect(back.message).toBe('404 gone');
    expect(back.stack).toBe('Traceback: remote');
    expect(decodeError(encodeError(new Nameless('m')), REGISTRY)).toMatchObject({ name: 'Nameless', message: 'm' });
  });

  test('an unknown class is a RemoteTaskError with all that is known', () => {
    const back = decodeError(
      { exc_type: 'ValueError', exc_message: ['bad', 1], exc_module: 'builtins' },
      REGISTRY,
      'Traceback',
    );
    expect(back).toBeInstanceOf(errors.RemoteTaskError);
    expect(back).toMatchObject({ type: 'ValueError', module: 'builtins', args: ['bad', 1], remoteStack: 'Traceback' });
    expect(back.message).toBe('ValueError: bad, 1');
  });

  test("Python's Exception does not pass for an Error of ours, nor does a foreign module", () => {
    expect(decodeError({ exc_type: 'Exception', exc_message: ['m'], exc_module: 'builtins' })).toBeInstanceOf(
      errors.RemoteTaskError,
    );
    expect(decodeError({ exc_type: 'TypeError', exc_message: ['m'], exc_module: 'mylib' })).toBeInstanceOf(
      errors.RemoteTaskError,
    );
    expect(decodeError({ exc_type: 'constructor', exc_message: [], exc_module: 'lovage' })).toBeInstanceOf(
      errors.RemoteTaskError,
    );
  });

  test('a class whose constructor throws falls back to RemoteTaskError', () => {
    class Picky extends Error {
      constructor(options: { code: number }) {
        super(String(options.code.toFixed(1)));
      }
    }
    const back = decodeError({ exc_type: 'Picky', exc_message: ['m'], exc_module: 'x' }, new Map([['Picky', Picky]]));
    expect(back).toBeInstanceOf(errors.RemoteTaskError);
  });

  test.each([
    [undefined, []],
    [null, []],
    [5, ['5']],
    ['text', ['text']],
    [{}, []],
    [{ exc_type: 5, exc_message: 'only text' }, ['only text']],
    [{ exc_type: 'X', exc_message: [2n ** 70n, { a: 1n }] }, undefined],
  ])('takes %o without throwing', (wire, args) => {
    const back = decodeError(wire);
    expect(back).toBeInstanceOf(Error);
    if (args !== undefined && args.length > 0) expect(back).toMatchObject({ args });
  });
});
