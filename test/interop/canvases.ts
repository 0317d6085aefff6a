/** Workflows that both languages build and run: the same canvas in Python and in TypeScript, and what comes of it. */
import { type Canvas, chain, chord, group, type Lovage, Signature } from '../../src/index.ts';

/** How a canvas is built here: signatures by their names, on the queue of the workers that are tried. */
export interface Builder {
  /** A signature that takes results before it. */
  s(name: string, ...args: unknown[]): Step;
  /** One that does not. */
  si(name: string, ...args: unknown[]): Step;
  /** A built-in task that calls another for each item. */
  over(builtin: string, name: string, items: unknown[]): Step;
}

// biome-ignore lint/suspicious/noExplicitAny: signatures by name have no types; what fits is said by the results.
type Step = Signature<any, any>;

/** One canvas: Python's source, ours, and what its result is; for an error, the name of its type. */
export interface Canvases {
  readonly name: string;
  readonly python: string;
  readonly typescript: (b: Builder) => Canvas;
  readonly value?: unknown;
  readonly error?: string;
  /** Celery's client raises what a header has raised, where it knows of it. */
  readonly inPython?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: as above.
type Loose = any;
const chained = (...steps: unknown[]) => (chain as unknown as (...steps: unknown[]) => Canvas)(...steps);
const grouped = (...members: unknown[]) => group(members as Canvas[]) as unknown as Canvas;
const chorded = (header: unknown[], body: unknown) => (chord as Loose)(header, body) as Canvas;

/** In Python `s('add', 1, 2)` is a signature, `si` an immutable one. */
export const canvases: readonly Canvases[] = [
  { name: 'a task', python: "s('add', 1, 2)", typescript: ({ s }) => s('add', 1, 2), value: 3 },
  {
    name: 'a chain',
    python: "chain(s('add', 1, 2), s('mul', 3), s('add', 4))",
    typescript: ({ s }) => chained(s('add', 1, 2), s('mul', 3), s('add', 4)),
    value: 13,
  },
  {
    name: 'a chain with an immutable step',
    python: "chain(s('add', 1, 2), si('add', 5, 5), s('mul', 2))",
    typescript: ({ s, si }) => chained(s('add', 1, 2), si('add', 5, 5), s('mul', 2)),
    value: 20,
  },
  {
    name: 'a chain with stamps',
    python: "chain(s('add', 1, 2).set(tenant='acme', stamped_headers=['tenant']), s('mul', 3))",
    typescript: ({ s }) => chained(s('add', 1, 2), s('mul', 3)).set({ stamps: { tenant: 'acme' } }),
    value: 9,
  },
  {
    name: 'a chain in a chain',
    python: "chain(s('add', 1, 1), chain(s('mul', 3), s('add', 1)), s('mul', 2))",
    typescript: ({ s }) => chained(s('add', 1, 1), chained(s('mul', 3), s('add', 1)), s('mul', 2)),
    value: 14,
  },
  {
    name: 'a group',
    python: "group(s('add', 1, 1), s('add', 2, 2), s('add', 3, 3))",
    typescript: ({ s }) => grouped(s('add', 1, 1), s('add', 2, 2), s('add', 3, 3)),
    value: [2, 4, 6],
  },
  {
    name: 'a group of chains',
    python: "group(chain(s('add', 1, 1), s('mul', 2)), chain(s('add', 2, 2), s('mul', 2)))",
    typescript: ({ s }) => grouped(chained(s('add', 1, 1), s('mul', 2)), chained(s('add', 2, 2), s('mul', 2))),
    value: [4, 8],
  },
  {
    name: 'a group of chords',
    python: "group(chord([s('add', 1, 1), s('add', 2, 2)], s('xsum')), chord([s('add', 3, 3)], s('xsum')))",
    typescript: ({ s }) =>
      grouped(chorded([s('add', 1, 1), s('add', 2, 2)], s('xsum')), chorded([s('add', 3, 3)], s('xsum'))),
    value: [6, 6],
  },
  {
    name: 'a group at the end of a chain',
    python: "chain(s('add', 1, 2), group(s('mul', 2), s('mul', 3)))",
    typescript: ({ s }) => chained(s('add', 1, 2), grouped(s('mul', 2), s('mul', 3))),
    value: [6, 9],
  },
  {
    name: 'a group in the middle of a chain',
    python: "chain(s('add', 1, 2), group(s('mul', 2), s('mul', 3)), s('xsum'))",
    typescript: ({ s }) => chained(s('add', 1, 2), grouped(s('mul', 2), s('mul', 3)), s('xsum')),
    value: 15,
  },
  {
    name: 'a group at the beginning of a chain',
    python: "chain(group(s('add', 1, 1), s('add', 2, 2)), s('xsum'), s('add', 10))",
    typescript: ({ s }) => chained(grouped(s('add', 1, 1), s('add', 2, 2)), s('xsum'), s('add', 10)),
    value: 16,
  },
  {
    name: 'two groups in a chain',
    python: "chain(group(s('add', 1, 1), s('add', 2, 2)), group(s('xsum'), s('xsum')), s('xsum'))",
    typescript: ({ s }) => chained(grouped(s('add', 1, 1), s('add', 2, 2)), grouped(s('xsum'), s('xsum')), s('xsum')),
    value: 12,
  },
  {
    name: 'a chord',
    python: "chord([s('add', 1, 1), s('add', 2, 2), s('add', 3, 3)], s('echo'))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('add', 2, 2), s('add', 3, 3)], s('echo')),
    value: [2, 4, 6],
  },
  {
    name: 'a chord of chains',
    python: "chord([chain(s('add', 1, 1), s('mul', 2)), s('add', 3, 3)], s('echo'))",
    typescript: ({ s }) => chorded([chained(s('add', 1, 1), s('mul', 2)), s('add', 3, 3)], s('echo')),
    value: [4, 6],
  },
  {
    name: 'a chord of chords',
    python: "chord([chord([s('add', 1, 1), s('add', 2, 2)], s('xsum')), s('add', 3, 3)], s('echo'))",
    typescript: ({ s }) => chorded([chorded([s('add', 1, 1), s('add', 2, 2)], s('xsum')), s('add', 3, 3)], s('echo')),
    value: [6, 6],
  },
  {
    name: 'chords three deep',
    python:
      "chord([chord([chord([s('add', 1, 1)], s('xsum')), s('add', 1, 1)], s('xsum')), s('add', 1, 1)], s('xsum'))",
    typescript: ({ s }) =>
      chorded([chorded([chorded([s('add', 1, 1)], s('xsum')), s('add', 1, 1)], s('xsum')), s('add', 1, 1)], s('xsum')),
    value: 6,
  },
  {
    name: 'a chord whose body is a chain',
    python: "chord([s('add', 1, 1), s('add', 2, 2)], chain(s('xsum'), s('mul', 10)))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('add', 2, 2)], chained(s('xsum'), s('mul', 10))),
    value: 60,
  },
  {
    name: 'a chord whose body is a group',
    python: "chord([s('add', 1, 1), s('add', 2, 2)], group(s('xsum'), s('echo')))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('add', 2, 2)], grouped(s('xsum'), s('echo'))),
    value: [6, [2, 4]],
  },
  {
    name: 'a chord whose body is a chord',
    python: "chord([s('add', 1, 1), s('add', 2, 2)], chord([s('xsum'), s('xsum')], s('echo')))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('add', 2, 2)], chorded([s('xsum'), s('xsum')], s('echo'))),
    value: [6, 6],
  },
  {
    name: 'a chord in the middle of a chain',
    python: "chain(s('add', 1, 0), chord([s('add', 1), s('add', 2)], s('xsum')), s('mul', 2))",
    typescript: ({ s }) => chained(s('add', 1, 0), chorded([s('add', 1), s('add', 2)], s('xsum')), s('mul', 2)),
    value: 10,
  },
  {
    name: 'three chords in a chain',
    python:
      "chain(s('add', 1, 0), chord([s('mul', 2), s('mul', 3)], s('xsum')), chord([s('mul', 2), s('mul', 3)], s('xsum')), chord([s('mul', 2), s('mul', 3)], s('xsum')), s('add', 1))",
    typescript: ({ s }) => {
      const fan = chorded([s('mul', 2), s('mul', 3)], s('xsum'));
      return chained(s('add', 1, 0), fan, fan, fan, s('add', 1));
    },
    value: 126,
  },
  {
    name: 'a chord of one',
    python: "chord([s('add', 1, 1)], s('echo'))",
    typescript: ({ s }) => chorded([s('add', 1, 1)], s('echo')),
    value: [2],
  },
  {
    name: 'an empty chord',
    python: "chord([], s('echo'))",
    typescript: ({ s }) => chorded([], s('echo')),
    value: [],
  },
  {
    name: 'a chain in a chord in a chain',
    python: "chain(s('add', 1, 1), chord([chain(s('add', 1), s('mul', 2)), s('add', 5)], s('xsum')), s('add', 1))",
    typescript: ({ s }) =>
      chained(s('add', 1, 1), chorded([chained(s('add', 1), s('mul', 2)), s('add', 5)], s('xsum')), s('add', 1)),
    value: 14,
  },
  {
    name: 'a chain that ends in a group, in a chord',
    python: "chord([chain(s('add', 1, 1), group(s('mul', 2), s('mul', 3))), s('add', 5, 5)], s('echo'))",
    typescript: ({ s }) =>
      chorded([chained(s('add', 1, 1), grouped(s('mul', 2), s('mul', 3))), s('add', 5, 5)], s('echo')),
    value: [[4, 6], 10],
  },
  {
    name: 'a map',
    python: "taskof('xsum').map([[1, 2], [3, 4]])",
    typescript: ({ over }) =>
      over('celery.map', 'xsum', [
        [1, 2],
        [3, 4],
      ]),
    value: [3, 7],
  },
  {
    name: 'a starmap',
    python: "taskof('add').starmap([(1, 2), (3, 4)])",
    typescript: ({ over }) =>
      over('celery.starmap', 'add', [
        [1, 2],
        [3, 4],
      ]),
    value: [3, 7],
  },
  {
    name: 'chunks',
    python: "taskof('add').chunks([(0, 0), (1, 1), (2, 2)], 2)",
    typescript: ({ over }) =>
      grouped(
        over('celery.starmap', 'add', [
          [0, 0],
          [1, 1],
        ]),
        over('celery.starmap', 'add', [[2, 2]]),
      ),
    value: [[0, 2], [4]],
  },
  {
    name: 'a task that replaces itself',
    python: "chain(s('replace', 5), s('add', 1))",
    typescript: ({ s }) => chained(s('replace', 5), s('add', 1)),
    value: 106,
  },
  {
    name: 'a task that replaces itself by a group',
    python: "chain(s('replace_group', 5), s('xsum'))",
    typescript: ({ s }) => chained(s('replace_group', 5), s('xsum')),
    value: 13,
  },
  {
    name: 'tasks that replace themselves in a chord',
    python: "chord([s('replace', 5), s('replace_group', 5), s('add', 1, 1)], s('xsum'))",
    typescript: ({ s }) => chorded([s('replace', 5), s('replace_group', 5), s('add', 1, 1)], s('xsum')),
    value: 120,
  },
  {
    name: 'a member of a chord that is retried',
    python: "chord([s('retry_once', 1), s('add', 1, 1)], s('echo'))",
    typescript: ({ s }) => chorded([s('retry_once', 1), s('add', 1, 1)], s('echo')),
    value: [[1, 1], 2],
  },
  {
    name: 'an error in the first step of a chain',
    python: "chain(s('fail', 'no'), s('add', 1), s('add', 2))",
    typescript: ({ s }) => chained(s('fail', 'no'), s('add', 1), s('add', 2)),
    error: 'ValueError',
  },
  {
    name: 'an error in the middle of a chain',
    python: "chain(s('add', 1, 1), s('fail'), s('add', 2))",
    typescript: ({ s }) => chained(s('add', 1, 1), s('fail'), s('add', 2)),
    error: 'ValueError',
  },
  {
    name: 'an error in a starmap',
    python: "taskof('fail').starmap([(1, 2), (3, 4)])",
    typescript: ({ over }) =>
      over('celery.starmap', 'fail', [
        [1, 2],
        [3, 4],
      ]),
    error: 'ValueError',
  },
  {
    name: 'an error in the chain that is a body',
    python: "chord([s('add', 1, 1), s('add', 2, 2)], chain(s('xsum'), s('fail'), s('add', 1)))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('add', 2, 2)], chained(s('xsum'), s('fail'), s('add', 1))),
    error: 'ValueError',
  },
  {
    name: 'an error in the body of a chord in a chain',
    python: "chain(s('add', 1, 0), chord([s('add', 1), s('add', 2)], s('fail')), s('add', 1))",
    typescript: ({ s }) => chained(s('add', 1, 0), chorded([s('add', 1), s('add', 2)], s('fail')), s('add', 1)),
    error: 'ValueError',
  },
  {
    name: 'an error in the last step of a chain',
    python: "chain(s('add', 1, 1), s('add', 2), s('fail'))",
    typescript: ({ s }) => chained(s('add', 1, 1), s('add', 2), s('fail')),
    error: 'ValueError',
  },
  {
    name: 'an error before a group at the end',
    python: "chain(s('fail', 'no'), s('add', 1), group(s('add', 1), s('add', 2)), s('xsum'))",
    typescript: ({ s }) => chained(s('fail', 'no'), s('add', 1), grouped(s('add', 1), s('add', 2)), s('xsum')),
    error: 'ValueError',
  },
  {
    name: 'an error in a group',
    python: "group(s('add', 1, 1), s('fail', 'no'))",
    typescript: ({ s }) => grouped(s('add', 1, 1), s('fail', 'no')),
    error: 'ValueError',
  },
  {
    name: 'an error in the header of a chord',
    python: "chord([s('add', 1, 1), s('fail', 'no')], s('xsum'))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('fail', 'no')], s('xsum')),
    error: 'ChordError',
    inPython: 'ValueError',
  },
  {
    name: 'an error in the body of a chord',
    python: "chord([s('add', 1, 1), s('add', 2, 2)], s('fail'))",
    typescript: ({ s }) => chorded([s('add', 1, 1), s('add', 2, 2)], s('fail')),
    error: 'ValueError',
  },
  {
    name: 'an error in a chain in the header of a chord',
    python: "chord([chain(s('fail', 'no'), s('add', 1), s('add', 2)), s('add', 1, 1)], s('xsum'))",
    typescript: ({ s }) => chorded([chained(s('fail', 'no'), s('add', 1), s('add', 2)), s('add', 1, 1)], s('xsum')),
    error: 'ChordError',
    inPython: 'ValueError',
  },
  {
    name: 'an error in a group in the middle of a chain',
    python: "chain(s('add', 1, 1), group(s('add', 1), s('fail')), s('xsum'))",
    typescript: ({ s }) => chained(s('add', 1, 1), grouped(s('add', 1), s('fail')), s('xsum')),
    error: 'ChordError',
    inPython: 'ValueError',
  },
  {
    name: 'an error in a task that has replaced another',
    python: "chain(s('replace_fail', 1), s('add', 1))",
    typescript: ({ s }) => chained(s('replace_fail', 1), s('add', 1)),
    error: 'ValueError',
  },
];

/** Builds on one queue. */
export function builderOn(app: Lovage, queue: string): Builder {
  const s = (name: string, ...args: unknown[]): Step => new Signature(app, `cv.${name}`, args, { queue });
  const si = (name: string, ...args: unknown[]): Step =>
    new Signature(app, `cv.${name}`, args, { queue }, { immutable: true });
  const over = (builtin: string, name: string, it: unknown[]): Step =>
    new Signature(app, builtin, [], { queue, kwargs: { task: s(name).toWire(), it } }, { immutable: true });
  return { s, si, over };
}
