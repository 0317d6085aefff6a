/** What `lovage graph` finds out of results, on any store. */
import { describe, expect, test } from 'vitest';
import { bodyKey } from '../../src/app/results/later.ts';
import { chain, chord, group, Lovage, Worker } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { Place } from './lovage.ts';

/** An application of the test's own on the store of a place: `far` is a queue on which nobody works until the test says so. */
export class GraphShop implements AsyncDisposable {
  readonly place = new Place();
  readonly app: Lovage;
  readonly add;
  readonly sum;
  readonly #broker: string;
  readonly #close: () => Promise<void>;

  constructor(broker?: string, close: () => Promise<void> = async () => {}) {
    this.#broker = broker ?? this.place.broker;
    this.#close = close;
    this.app = new Lovage('graphs', { broker: this.#broker, logger: quiet, taskTrackStarted: false });
    this.add = this.app.task('g.add', (x: number, y: number) => x + y);
    this.sum = this.app.task('g.sum', (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0));
  }

  /** Runs what is in these queues until a task has finished. */
  async work(queues: readonly string[], until: { get(options: { timeout: number }): Promise<unknown> }): Promise<void> {
    const worker = new Worker(this.app, { queues });
    await worker.start();
    await until.get({ timeout: 20 }).catch(() => {});
    await worker.stop();
  }

  /** What `lovage graph ID` draws: tasks with their states, and pairs of tasks. Ids stand under the names of the test. */
  async graph(id: string, names: Readonly<Record<string, string>>): Promise<{ tasks: string[]; pairs: string[] }> {
    const { stdout, stderr } = await this.place.run(['graph', id, '--json'], { LOVAGE_BROKER: this.#broker });
    if (stdout === '') throw new Error(stderr);
    const { nodes, edges } = JSON.parse(stdout) as {
      nodes: { taskId: string; state: string }[];
      edges: [number, number][];
    };
    const byId = new Map(Object.entries(names).map(([name, one]) => [one, name]));
    const name = (place: number) => byId.get(nodes[place]?.taskId ?? '') ?? nodes[place]?.taskId;
    return {
      tasks: nodes.map(({ state }, i) => `${name(i)} ${state}`).toSorted(),
      pairs: edges.map(([from, to]) => `${name(from)} ${name(to)}`).toSorted(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close();
    await this.#close();
  }
}

export function graphLaws(store: string, open: () => Promise<GraphShop>): void {
  describe(`lovage graph on ${store}`, () => {
    test('shows the body of an open chord by its header, by a member that has ended, and by the first task', async () => {
      await using shop = await open();
      const { add, sum } = shop;
      const far = add.s(2).set({ queue: 'far' });
      const whole = chain(add.s(1, 1), group([add.s(1), far]), sum.s());
      const body = await whole.delay();
      const header = body.parent;
      const [near, away] = header && 'results' in header ? header.results : [];
      const first = header?.parent;
      if (!header || !near || !away || !first) throw new Error('expected a chord after a task');
      const names = { body: body.id, near: near.id, away: away.id, first: first.id };
      await shop.work(['celery'], near);
      // The id of such a body follows from that of the header: nothing more is kept, so that a chord costs nothing more.
      expect(await (await shop.app.results()).fetchSignature(bodyKey(header.id))).toBeUndefined();
      const open_ = {
        tasks: ['away PENDING', 'body PENDING', 'first SUCCESS', 'near SUCCESS'],
        pairs: ['away body', 'first away', 'first near', 'near body'],
      };
      for (const id of [first.id, near.id, header.id]) expect(await shop.graph(id, names)).toEqual(open_);
      await shop.work(['celery', 'far'], body);
      const ended = { ...open_, tasks: ['away SUCCESS', 'body SUCCESS', 'first SUCCESS', 'near SUCCESS'] };
      for (const id of [first.id, near.id, away.id, header.id, body.id])
        expect(await shop.graph(id, names)).toEqual(ended);
    });

    test('shows bodies that are chains, groups and chords, and those that failed', async () => {
      await using shop = await open();
      const { app, add, sum } = shop;
      const fail = app.task('g.fail', (): number => {
        throw new RangeError('no');
      });
      const list = app.task('g.list', (numbers: readonly number[]) => numbers);
      const chained = await chord([add.s(1, 1)], chain(sum.s(), add.s(1), add.s(2))).delay();
      await shop.work(['celery'], chained);
      const steps = [chained.parent?.parent, chained.parent, chained].map((one) => one?.id ?? '');
      const member = chained.parent?.parent?.parent;
      const [only] = member && 'results' in member ? member.results : [];
      const names = { member: only?.id ?? '', a: steps[0] ?? '', b: steps[1] ?? '', c: steps[2] ?? '' };
      expect(await shop.graph(names.member, names)).toEqual({
        tasks: ['a SUCCESS', 'b SUCCESS', 'c SUCCESS', 'member SUCCESS'],
        pairs: ['a b', 'b c', 'member a'],
      });

      const inChain = await chain(add.s(1, 1), group([add.s(1)]), chain(sum.s(), add.s(5))).delay();
      await shop.work(['celery'], inChain);
      const before = inChain.parent?.parent;
      const [inner] = before && 'results' in before ? before.results : [];
      const path = [before?.parent, inner, inChain.parent, inChain].map((one) => one?.id ?? '');
      const chainNames = { a: path[0] ?? '', b: path[1] ?? '', c: path[2] ?? '', d: path[3] ?? '' };
      for (const id of path)
        expect(await shop.graph(id, chainNames)).toEqual({
          tasks: ['a SUCCESS', 'b SUCCESS', 'c SUCCESS', 'd SUCCESS'],
          pairs: ['a b', 'b c', 'c d'],
        });

      const grouped = await chord([add.s(1, 1)], group([sum.s(), list.s()])).delay();
      await shop.work(['celery'], grouped);
      const [header] = grouped.parent && 'results' in grouped.parent ? grouped.parent.results : [];
      const [x, y] = grouped.results.map(({ id }) => id);
      const places = { member: header?.id ?? '', x: x ?? '', y: y ?? '' };
      expect(await shop.graph(places.member, places)).toEqual({
        tasks: ['member SUCCESS', 'x SUCCESS', 'y SUCCESS'],
        pairs: ['member x', 'member y'],
      });

      const nested = await chord([add.s(1, 1)], chord([sum.s()], sum.s())).delay();
      await shop.work(['celery'], nested);
      const innerHeader = nested.parent;
      const outerHeader = innerHeader?.parent;
      const [one] = outerHeader && 'results' in outerHeader ? outerHeader.results : [];
      const [two] = innerHeader && 'results' in innerHeader ? innerHeader.results : [];
      const three = { one: one?.id ?? '', two: two?.id ?? '', three: nested.id };
      for (const id of Object.values(three))
        expect(await shop.graph(id, three)).toEqual({
          tasks: ['one SUCCESS', 'three SUCCESS', 'two SUCCESS'],
          pairs: ['one two', 'two three'],
        });

      const failed = await chord([fail.s()], sum.s())
        .set({ taskId: `mine-${process.pid}` })
        .delay();
      await shop.work(['celery'], failed);
      const [lost] = failed.parent && 'results' in failed.parent ? failed.parent.results : [];
      expect(await shop.graph(lost?.id ?? '', { lost: lost?.id ?? '', body: failed.id })).toEqual({
        tasks: ['body FAILURE', 'lost FAILURE'],
        pairs: ['lost body'],
      });
    });

    test('shows no body where there is none: for a plain group, and for the open chord of a Python client', async () => {
      await using shop = await open();
      const { app, add } = shop;
      const plain = await group([add.s(1, 1), add.s(2, 2)]).delay();
      await shop.work(['celery'], plain);
      const [x, y] = plain.results;
      expect(await shop.graph(x.id, { x: x.id, y: y.id })).toEqual({ tasks: ['x SUCCESS'], pairs: [] });
      // As Celery makes ids: what is kept of such a chord tells nobody the id of its body.
      const id = '0d4f9c1e-54a1-4a3c-9c3d-6b1e2f7a8b90';
      const results = await app.results();
      const { joins } = results.required();
      const { document } = results.encode({ taskId: x.id, state: 'SUCCESS', result: 2, children: [] });
      await joins?.setSize(id, 2);
      await joins?.addMany(id, [{ key: x.id, index: 0, document }]);
      expect(await shop.graph(id, { x: x.id })).toEqual({ tasks: ['x SUCCESS'], pairs: [] });
    });
  });
}
