/** Signatures as real Celery writes them: read and written again, and made here with the same bytes. */
import { describe, expect, test } from 'vitest';
import { type Canvas, chain, chord, group, Lovage } from '../../../src/index.ts';
import { type Json, loadVectors } from '../wire/vectors.ts';

const app = new Lovage('cap', { broker: 'memory://signature-vectors' });
const add = app.task('cap.add', (x: number, y: number) => x + y);
const mul = app.task('cap.mul', (x: number, y: number) => x * y);
const xsum = app.task('cap.xsum', (numbers: number[]) => numbers.length);
const onErrorNew = app.task('cap.on_error_new', (_request: unknown, _error: unknown) => {});

/** What was captured, by name, made here. */
const made: Record<string, Canvas> = {
  task: add.s(1, 2),
  task_kwargs_options: app.signature('cap.add', [1], { kwargs: { y: 2 }, countdown: 3, queue: 'q', priority: 5 }),
  immutable: add.si(1, 2),
  link: add.s(1, 2).linkError(onErrorNew.s()),
  chain: chain(add.s(1, 2), mul.s(3), add.s(4)),
  group: group([add.s(1, 1), add.s(2, 2)]),
  chord: chord([add.s(1, 1), add.s(2, 2)], xsum.s()),
  chord_in_chain: chain(add.s(1, 2), chord([mul.s(2), mul.s(3)], xsum.s())),
  map: xsum.map([
    [1, 2],
    [3, 4],
  ]),
  starmap: add.starmap([
    [1, 2],
    [3, 4],
  ]),
  chunks: app.signature({
    ...add.starmap([]).toWire(),
    task: 'celery.chunks',
    kwargs: {
      task: add.s().toWire(),
      it: [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      n: 2,
    },
  }),
  linked: add.s(1, 2).link(mul.s(10)).onError(onErrorNew.s()),
};

const vectors = loadVectors('signatures').flatMap(({ label, decoded }) =>
  Object.entries(decoded as Json).map(([name, wire]) => ({ label: `${label} ${name}`, name, wire: wire as Json })),
);

describe('signatures of real Celery', () => {
  test('there are as many as were captured', () => {
    expect(vectors.map(({ name }) => name).toSorted()).toEqual([...Object.keys(made), ...Object.keys(made)].toSorted());
  });

  test.each(vectors)('$label is read and written again', ({ wire }) => {
    expect(app.signature(wire).toWire()).toEqual(wire);
    expect(app.signature(app.signature(wire).toWire()).toWire()).toEqual(wire);
  });

  test.each(vectors)('$label made here is the same', ({ name, wire }) => {
    expect(made[name]?.toWire()).toEqual(wire);
  });
});

describe('a signature', () => {
  test('is cloned with more in front and more options, and replaced with others', () => {
    const one = app.signature('cap.call', [2], { queue: 'q', kwargs: { a: 1 } });
    const cloned = one.clone([1], { priority: 3, kwargs: { b: 2 } }).toWire();
    expect(cloned).toMatchObject({ args: [1, 2], kwargs: { a: 1, b: 2 }, options: { queue: 'q', priority: 3 } });
    expect(one.replace({ args: [7] }).toWire()).toMatchObject({ args: [7], options: { queue: 'q' } });
    expect(one.replace({ priority: 1 }).toWire()).toMatchObject({ args: [2], kwargs: {}, options: { priority: 1 } });
    expect(add.si(1, 2).clone([9]).args).toEqual([1, 2]);
  });

  test('keeps what it does not know, refuses options that no message can carry, and ones that do not exist', () => {
    const wire = { ...add.s(1).toWire(), options: { my_own: 1, exchange: 'x' }, chord_size: 3 };
    expect(app.signature(wire).toWire()).toEqual(wire);
    const { signal } = new AbortController();
    expect(() => add.s(1, 2).set({ signal }).toWire()).toThrow(/not part of a message/);
    expect(() => add.s(1, 2).set({ countdwn: 3 } as never)).toThrow(/countdown/);
    expect(() => app.signature({ args: [] })).toThrow(/a signature/);
  });
});
