/** Chords whose members and bodies are of both languages: workers of both count them together. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChordError, chord, Signature } from '../../src/index.ts';
import { Pair } from './pair.ts';

let pair: Pair;
const soon = { timeout: 15 };

beforeAll(async () => {
  pair = await Pair.start();
  await Promise.all([pair.typescriptWorker(), pair.pythonWorker()]);
});
afterAll(() => pair[Symbol.asyncDispose]());

/** A complete call of a task, of whichever language. */
function call(task: string, ...args: unknown[]): Signature<[]> {
  return new Signature(pair.app, task, args) as Signature<[]>;
}

/** A call that lacks the list of results. */
function bodyOf(task: string): Signature<[unknown[]]> {
  return new Signature(pair.app, task, []) as Signature<[unknown[]]>;
}

describe.each([
  ['py.echo', 'Python'],
  ['ts.echo', 'TypeScript'],
])('the body %s, in %s', (body) => {
  test('gets the results in the order of the members, for a chord of Python', async () => {
    const members =
      "[app.signature('ts.add', (n, n)) if n % 2 else app.signature('py.add', (n, n)) for n in range(10)]";
    const result = await pair.python.run(`chord(${members})(app.signature(body)).get(timeout=15)`, { body });
    expect(result).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  });

  test('gets the results in the order of the members, for a chord of TypeScript', async () => {
    const members = Array.from({ length: 10 }, (_, n) => call(n % 2 ? 'ts.add' : 'py.add', n, n));
    const result = await chord(members, bodyOf(body)).delay();
    expect(await result.get(soon)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  });

  test.each(['ts.fail', 'py.fail'])('fails for a chord of Python where %s fails', async (failing) => {
    const members =
      "[app.signature('ts.add', (1, 1)), app.signature('py.add', (1, 1)), app.signature(failing, ('no',))]";
    const id = await pair.python.run<string>(`chord(${members})(app.signature(body)).id`, { body, failing });
    expect(await pair.python.outcome(id)).toMatchObject({
      state: 'FAILURE',
      type: 'ChordError',
      message: expect.stringMatching(/^Dependency .* raised \w+Error\('no'\)$/),
    });
  });

  test.each(['ts.fail', 'py.fail'])('fails for a chord of TypeScript where %s fails', async (failing) => {
    const members = [call('ts.add', 1, 1), call('py.add', 1, 1), call(failing, 'no')];
    const result = await chord(members, bodyOf(body)).delay();
    await expect(result.get(soon)).rejects.toBeInstanceOf(ChordError);
  });
});
