/** Groups that one language saves and the other one finds: `celery-taskset-meta-<id>`. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { group, Signature } from '../../src/index.ts';
import { Pair } from './pair.ts';

const soon = { timeout: 15 };

describe.each(['json', 'msgpack', 'yaml'] as const)('with results in %s, a saved group', (serializer) => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start({
      settings: { result_serializer: serializer },
      options: { resultSerializer: serializer },
    });
    await Promise.all([pair.typescriptWorker(), pair.pythonWorker()]);
  });
  afterAll(() => pair[Symbol.asyncDispose]());

  test('of Python is restored in TypeScript, with the results of both languages', async () => {
    const members = "[app.signature('ts.add', (1, 1)), app.signature('py.add', (2, 2))]";
    const id = await pair.python.run<string>(`sent = group(${members})()\nsent.save()\nsent.id`);
    expect(await pair.store.exists(`celery-taskset-meta-${id}`)).toBe(1);
    const found = await pair.app.groupResult(id);
    expect(await found?.get(soon)).toEqual([2, 4]);
    await found?.delete();
    expect(await pair.python.run('GroupResult.restore(id, app=app) is None', { id })).toBe(true);
  });

  test('of TypeScript is restored in Python, and is gone when its time is over', async () => {
    const call = (task: string, ...args: unknown[]) => new Signature(pair.app, task, args) as Signature<[], number>;
    const sent = await group([call('ts.add', 1, 1), call('py.add', 2, 2)]).delay();
    await sent.save();
    // A Python client may miss what finishes just while it begins to listen: here it finds all of it stored.
    expect(await sent.get(soon)).toEqual([2, 4]);
    const restored = 'GroupResult.restore(id, app=app).join(timeout=15)';
    expect(await pair.python.run(restored, { id: sent.id })).toEqual([2, 4]);
    expect(await pair.store.ttl(`celery-taskset-meta-${sent.id}`)).toBeGreaterThan(86_000);
  });

  test('keeps the groups inside of it', async () => {
    const inner = "group(app.signature('py.add', (n, n)) for n in (1, 2))";
    const outer = `GroupResult(uuid.uuid4().hex, [app.signature('py.add', (3, 3)).delay(), ${inner}()])`;
    const id = await pair.python.run<string>(`sent = ${outer}\nsent.save(backend=app.backend)\nsent.id`);
    expect(await (await pair.app.groupResult(id))?.get(soon)).toEqual([6, [2, 4]]);
  });
});
