/** Both sides agree on another serializer: messages and results, in both directions, also compressed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Signature } from '../../src/index.ts';
import { Pair } from './pair.ts';

describe.each(['msgpack', 'yaml'] as const)('%s', (serializer) => {
  let pair: Pair;
  const soon = { timeout: 15 };
  const value = { list: [1, 2.5, null, true], text: 'héllo ☃ 😀', map: { a: { b: 'c' } }, negative: -(2 ** 40) };

  beforeAll(async () => {
    pair = await Pair.start({
      settings: { task_serializer: serializer, result_serializer: serializer },
      options: { taskSerializer: serializer, resultSerializer: serializer },
    });
    await Promise.all([pair.typescriptWorker(), pair.pythonWorker()]);
  });
  afterAll(() => pair[Symbol.asyncDispose]());

  test('Python to TypeScript and back', async () => {
    const echo = "value == app.send_task('ts.echo', (value,)).get(timeout=10)";
    expect(await pair.python.run(echo, { value })).toBe(true);
  });

  test('TypeScript to Python and back', async () => {
    expect(await (await pair.app.sendTask('py.echo', [value])).get(soon)).toEqual(value);
  });

  test('bytes are bytes, in both directions', async () => {
    const echo = "app.send_task('ts.echo', (b'\\x00\\xff',)).get(timeout=10) == b'\\x00\\xff'";
    expect(await pair.python.run(echo)).toBe(true);
    const bytes = new Uint8Array([0, 255]);
    expect(await (await pair.app.sendTask('py.describe', [bytes])).get(soon)).toBe("b'\\x00\\xff'");
    expect(new Uint8Array(await (await pair.app.sendTask<Uint8Array>('py.echo', [bytes])).get(soon))).toEqual(bytes);
  });

  test('failures are read, in both directions', async () => {
    const id = await pair.python.send('ts.fail', ['no such room']);
    expect(await pair.python.outcome(id)).toMatchObject({ state: 'FAILURE', type: 'RangeError' });
    const result = await pair.app.sendTask('py.fail', ['no such room']);
    await expect(result.get(soon)).rejects.toThrow('no such room');
    expect(await result.traceback).toContain('raise ValueError(text)');
  });

  test('compressed with zlib, in both directions', async () => {
    const text = 'x'.repeat(10_000);
    const id = await pair.python.send('ts.length', [text], { compression: 'zlib' });
    expect((await pair.python.outcome(id)).value).toBe(10_000);
    const result = await pair.app.sendTask('py.length', [text], { compression: 'zlib' });
    expect(await result.get(soon)).toBe(10_000);
  });

  test('callbacks are read, in both directions', async () => {
    const link = new Signature(pair.app, 'ts.note', ['linked']) as Signature<[unknown]>;
    await pair.app.sendTask('py.add', [2, 3], { link });
    expect(await pair.note('linked')).toBe('5');
    // PyYAML does not write Celery's signatures as they are.
    await pair.python.run(
      "callback = json.loads(json.dumps(app.signature('py.note', ('linked',))))\napp.send_task('ts.add', (2, 3), link=callback).id",
    );
    expect(await pair.note('linked')).toBe('5');
  });
});

describe('one call in another serializer', () => {
  test.each(['json', 'msgpack', 'yaml'] as const)('%s is read where the default is json', async (serializer) => {
    await using pair = await Pair.start();
    await Promise.all([pair.typescriptWorker(), pair.pythonWorker()]);
    const id = await pair.python.send('ts.add', [2, 3], { serializer });
    expect((await pair.python.outcome(id)).value).toBe(5);
    expect(await (await pair.app.sendTask('py.add', [2, 3], { serializer })).get({ timeout: 15 })).toBe(5);
  });
});
