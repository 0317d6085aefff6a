/** The same workflows, built in both languages and run by workers of both: what comes of them is the same. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RemoteTaskError } from '../../src/index.ts';
import { builderOn, canvases } from './canvases.ts';
import { Pair } from './pair.ts';

let pair: Pair;

beforeAll(async () => {
  pair = await Pair.start();
  await Promise.all([
    pair.typescriptWorker({ queues: ['cv-ts', 'cv-both', 'celery'] }),
    pair.pythonWorker({ queues: ['cv-py', 'cv-both', 'celery'] }),
  ]);
}, 60_000);
afterAll(() => pair[Symbol.asyncDispose]());

describe.each([
  ['Python', 'cv-py'],
  ['TypeScript', 'cv-ts'],
  ['both languages', 'cv-both'],
])('with workers of %s', (_, queue) => {
  describe.each(canvases)('$name', ({ python, typescript, value, error, inPython = error }) => {
    const expected = error === undefined ? { value } : { error };

    test('sent from Python', async () => {
      expect(await pair.python.run('canvas(code, queue)', { code: python, queue })).toEqual(
        inPython === undefined ? { value } : { error: inPython },
      );
    });

    test('sent from TypeScript', async () => {
      const sent = await typescript(builderOn(pair.app, queue)).applyAsync([] as never);
      const outcome = await sent?.get({ timeout: 10 }).then(
        (result) => ({ value: result }),
        (thrown: Error) => ({ error: thrown instanceof RemoteTaskError ? thrown.type : thrown.name }),
      );
      expect(outcome).toEqual(expected);
    });
  });
});
