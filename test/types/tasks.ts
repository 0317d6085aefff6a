/** Checked by the compiler in the types lane; never run. A line that should not compile says so, and is an error if it does. */
import { z } from 'zod';
import {
  type AsyncResult,
  chain,
  chord,
  type GroupResult,
  group,
  Lovage,
  type MemberEnd,
  type Retry,
  type Task,
  TaskBase,
  type TaskContext,
} from '../../src/index.ts';

declare const app: Lovage;
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(..._: Equal<A, B> extends true ? [] : [never]) => {};

// Arguments and results flow from the function.
export const add = app.task('tasks.add', (x: number, y: number) => x + y);
same<typeof add, Task<[x: number, y: number], number>>();
same<Awaited<ReturnType<typeof add.delay>>, AsyncResult<number>>();
// @ts-expect-error a string is no number
void add.delay('1', 2);
// @ts-expect-error an argument is missing
void add.delay(1);
// @ts-expect-error one argument too many
void add.delay(1, 2, 3);
void add.applyAsync([1, 2], { countdown: 5 });
// @ts-expect-error the list must fit too
void add.applyAsync(['1', 2]);
// @ts-expect-error there is no such option
void add.applyAsync([1, 2], { count: 5 });
void add.applyMany([[1, 2]]);
// @ts-expect-error every list must fit
void add.applyMany([['1', 2]]);

// Promises are unwrapped, optional parameters stay optional.
export const find = app.task('tasks.find', async (id: string, deep?: boolean) => ({ id, deep }));
void find.delay('a');
void find.delay('a', true);
same<Awaited<ReturnType<Awaited<ReturnType<typeof find.delay>>['get']>>, { id: string; deep: boolean | undefined }>();

// The bound context is no argument.
export const bound = app.task('tasks.bound', { bind: true }, (self, n: number) => {
  same<typeof self, TaskContext>();
  return self.request.id + n;
});
void bound.delay(1);
// @ts-expect-error the context is not given by the caller
void bound.delay({} as TaskContext, 1);

// A schema types the arguments.
export const ship = app.task('tasks.ship', { schema: z.tuple([z.string(), z.number()]) }, (to, weight) => {
  same<typeof to, string>();
  return weight;
});
void ship.delay('Kyoto', 3);
// @ts-expect-error the schema says a number
void ship.delay('Kyoto', 'heavy');

// Signatures know what is still missing, and links fit what they are given.
void add.s(1, 2).delay();
void add.s(2).delay(1);
// @ts-expect-error nothing is missing
void add.s(1, 2).delay(3);
export const shout = app.task('tasks.shout', (text: string) => text.toUpperCase());
void add.s(1, 2).link(add.s(10));
// @ts-expect-error add gives a number, shout takes a string
void add.s(1, 2).link(shout.s());
void add.s(1, 2).link(shout.si('done'));

// What runs here has the types of what is sent.
same<Awaited<ReturnType<typeof add.apply>>, AsyncResult<number>>();
void add.apply([1, 2], { throw: true, taskId: 'x' });
// @ts-expect-error a string is no number
void add.apply(['1', 2]);
// @ts-expect-error an argument is missing
void add.apply([1]);
// @ts-expect-error a task has all its arguments in one list
void add.apply(1, 2);
void add.s(2).apply([1]);
void add.s(1, 2).apply();
// @ts-expect-error an argument is missing
void add.s(2).apply();
const applied = await chain(add.s(1, 2), add.s(3)).apply();
same<typeof applied, AsyncResult<number>>();
const appliedGroup = await group([add.s(1, 2), find.s('a')]).apply();
same<typeof appliedGroup, GroupResult<[number, { id: string; deep: boolean | undefined }]>>();
same<boolean, TaskContext['request']['isEager']>();

// Unknown tasks are unknown values.
same<Awaited<ReturnType<typeof app.sendTask>>, AsyncResult<unknown>>();
// @ts-expect-error no such option of the application
new Lovage('x', { brokr: 'memory://' });

// What a maker's tasks share does not touch their types.
const define = app.defineTask({
  queue: 'mail',
  before(self) {
    same<typeof self, TaskContext>();
  },
  async onFailure(self, error) {
    same<typeof error, unknown>();
    self.logger.error({ error }, 'failed');
  },
  after(_self, end) {
    if (end.state === 'RETRY') same<typeof end.dueAt, Date>();
  },
});
export const sendMail = define('mail.send', (to: string) => to.length);
same<typeof sendMail, Task<[to: string], number>>();
export const nested = define.defineTask({ priority: 3 })('mail.two', { maxRetries: 1 }, async (to: string) => [to]);
same<typeof nested, Task<[to: string], string[]>>();
export const selfish = define('mail.self', { bind: true, onSuccess() {} }, (self, n: number) => {
  same<typeof self, TaskContext>();
  return n;
});
same<typeof selfish, Task<[n: number], number>>();
// @ts-expect-error there is no such hook
app.defineTask({ onFail() {} });
// @ts-expect-error a schema belongs to one task
app.defineTask({ schema: z.tuple([z.string()]) });
export const defineBound = app.defineTask({ bind: true, maxRetries: 2 });
export const shared = defineBound('mail.bound', (self, n: number) => {
  same<typeof self, TaskContext>();
  return n > 1;
});
same<typeof shared, Task<[n: number], boolean>>();
// @ts-expect-error its tasks are bound
defineBound('mail.unbound', { bind: false }, () => 1);

// The instance of a class is what a bound body gets.
class Database extends TaskBase {
  readonly url = 'db';
  override onFailure(error: unknown, taskId: string) {
    this.logger.error({ error, taskId }, 'failed');
  }
}
export const stored = app.task('db.store', { bind: true, base: Database }, (self, n: number) => {
  same<typeof self, Database>();
  return self.url + self.request.id + n;
});
same<typeof stored, Task<[n: number], string>>();
export const storing = app.defineTask({ bind: true, base: Database })('db.two', (self) => self.url);
same<typeof storing, Task<[], string>>();
// @ts-expect-error the class must extend TaskBase
app.task('db.wrong', { base: Date }, () => 1);

// A resource has the type that its function opens.
const pool = app.resource('pool', async () => ({ query: (sql: string) => sql.length }), {
  close: (open) => void open.query('bye'),
});
same<ReturnType<typeof pool.value.query>, number>();
app.on('workerReady', ({ hostname }) => same<typeof hostname, string>());
// @ts-expect-error there is no such event
app.on('workerRead', () => {});

// A retry ends the body for the compiler too, unless it is not thrown.
declare const context: TaskContext;
same<ReturnType<() => ReturnType<typeof context.snooze>>, never>();
export const notThrown = context.retry({ throw: false });
same<typeof notThrown, Retry>();
// @ts-expect-error retry options are checked
context.retry({ max_retries: 3 });

// A group has the results of its tasks, one by one; of a list of unknown length, as a list.
const pair = await group([add.s(1, 2), find.s('a', true)]).delay();
same<Awaited<ReturnType<typeof pair.get>>, [number, { id: string; deep: boolean | undefined }]>();
same<(typeof pair.results)[0], AsyncResult<number>>();
const several = await group([1, 2].map((n) => add.s(n, n))).delay();
same<Awaited<ReturnType<typeof several.get>>, number[]>();
// @ts-expect-error a member lacks an argument
group([add.s(1)]).delay();
void group([add.s(1), add.s(2)]).delay(5);

// A chain whose step does not fit the one before is an error; the result is that of its last step.
const three = await chain(add.s(1, 2), add.s(3), add.s(4)).delay();
same<typeof three, AsyncResult<number>>();
// @ts-expect-error add gives a number, shout takes a string
chain(add.s(1, 2), shout.s());
// @ts-expect-error also further on
chain(add.s(1, 2), add.s(3), shout.s(), shout.s());
void chain(add.s(1, 2), shout.si('done'), shout.s()).delay();
// A chain without its first arguments asks for them.
void chain(add.s(1), add.s(2)).delay(5);
// @ts-expect-error an argument is missing
void chain(add.s(1), add.s(2)).delay();
// Chains are steps, and groups hand on lists.
export const total = app.task('tasks.total', (numbers: number[]) => numbers.length);
void chain(chain(add.s(1, 2), add.s(3)), add.s(4)).delay();
void chain(group([add.s(1, 1), add.s(2, 2)]), total.s(), add.s(1)).delay();
// @ts-expect-error add takes a number, the group gives a list
chain(group([add.s(1, 1), add.s(2, 2)]), add.s(1));
const ends = await chain(add.s(1, 2), group([add.s(1), add.s(2)])).delay();
same<typeof ends, GroupResult<[number, number]>>();
void chain(...[1, 2, 3].map((n) => add.s(n))).delay(1);
// So it is with any number of steps, and with any of them.
const eight = await chain(
  add.s(1, 2),
  add.s(3),
  group([add.s(1), add.s(2)]),
  total.s(),
  shout.si('done'),
  find.s(),
  chain(total.si([1]), add.s(1)),
  add.s(1),
).delay();
same<typeof eight, AsyncResult<number>>();
void chain(add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), shout.si('end')).delay(1);
// @ts-expect-error the seventh step gives a number, the eighth takes a string
chain(add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), shout.s());
// @ts-expect-error an argument is missing
void chain(add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), add.s(1), add.s(1)).delay();
// @ts-expect-error a chain in the middle takes a list
chain(add.s(1, 2), chain(total.s(), add.s(1)));
// @ts-expect-error so does what comes after a chunk of calls
chain(add.chunks([[1, 2]], 10), add.s(1));
// Nothing has no result.
same<Awaited<ReturnType<ReturnType<typeof nothing>['delay']>>, undefined>();
export const nothing = () => chain();

// A body gets the results of its header, as a tuple or a list.
export const both = app.task('tasks.both', (results: [number, string]) => results[1].length + results[0]);
const sum = await chord([add.s(1, 2), shout.s('a')], both.s()).delay();
same<typeof sum, AsyncResult<number>>();
// @ts-expect-error the header gives a number and a string
chord([add.s(1, 2), add.s(1, 2)], both.s());
void chord([add.s(1, 2), add.s(3, 4)], total.s()).delay();
void chord(group([add.s(1, 2), group([add.s(3, 4)])]), total.s()).delay();
void chord([add.s(1), add.s(2)], total.s()).delay(5);
// @ts-expect-error the header lacks an argument
void chord([add.s(1), add.s(2)], total.s()).delay();
void chord(
  [1, 2].map((n) => add.s(n, n)),
  total.s(),
).delay();
export const told = app.task('tasks.ends', (all: MemberEnd<number>[]) => all.length);
void chord([add.s(1, 2)], told.s(), { onMemberFailure: 'collect' }).delay();
// @ts-expect-error then the body is told how members have ended, not what they gave
chord([add.s(1, 2)], total.s(), { onMemberFailure: 'collect' });

// What is told to a body that collects has the types of the members, one by one.
export const toldEach = app.task(
  'tasks.each',
  (all: [MemberEnd<number>, MemberEnd<string>]) => all[1].state === 'SUCCESS' && all[1].value.length,
);
void chord([add.s(1, 2), shout.s('a')], toldEach.s(), { onMemberFailure: 'collect' }).delay();
// @ts-expect-error the second one gives a string
chord([add.s(1, 2), add.s(1, 2)], toldEach.s(), { onMemberFailure: 'collect' });
// Bodies that are wholes: a chain gives its last result, a group its tuple.
same<typeof chordChain, AsyncResult<number>>();
export const chordChain = await chord([add.s(1, 2), add.s(3, 4)], chain(total.s(), add.s(1))).delay();
same<typeof chordGroup, GroupResult<[number, string]>>();
export const chordGroup = await chord([add.s(1, 2)], group([total.s(), shout.si('a')])).delay();
// @ts-expect-error the first step of the body takes a number
chord([add.s(1, 2)], chain(add.s(1), add.s(1)));

// A nested group counts with its members.
const nestedGroup = await group([add.s(1, 2), group([shout.s('a'), add.s(3, 4)])]).delay();
same<Awaited<ReturnType<typeof nestedGroup.get>>, [number, string, number]>();
same<(typeof nestedGroup.results)['1'], AsyncResult<string>>();
same<Awaited<ReturnType<typeof nestedGroup.join>>, [number, string, number]>();
// @ts-expect-error there are three
nestedGroup.results[3];
// What it gives as it comes is one of them.
for await (const one of nestedGroup.asCompleted()) same<typeof one, AsyncResult<number> | AsyncResult<string>>();

// Many calls of one task.
export const export_ = app.task('tasks.export', (texts: string[]) => texts.length);
same<Awaited<ReturnType<typeof shout.map>['delay']>, () => Promise<AsyncResult<string[]>>>();
void shout.map(['a', 'b']).delay();
// @ts-expect-error the items are texts
shout.map([1]);
same<Awaited<ReturnType<ReturnType<typeof add.starmap>['delay']>>, AsyncResult<number[]>>();
void add.starmap([[1, 2]]).delay();
// @ts-expect-error a list of arguments for each call
add.starmap([1, 2]);
// @ts-expect-error each of the right types
add.starmap([[1, '2']]);
same<Awaited<ReturnType<ReturnType<typeof add.chunks>['delay']>>, GroupResult<number[][]>>();
void add.chunks([[1, 2]], 10).delay();
// @ts-expect-error as with starmap
add.chunks([[1, '2']], 10);
// @ts-expect-error how many calls in one task
add.chunks([[1, 2]]);
void chain(shout.map(['a']), export_.s()).delay();

// An errback takes the id, or what is told in the newer convention.
export const byId = app.task('tasks.byId', (id: string) => id);
export const byRequest = app.task('tasks.byRequest', (request: { id: string }, error: unknown) => [request, error]);
void add.s(1, 2).linkError(byId.s()).onError(byRequest.s());
// @ts-expect-error an errback gets no number
add.s(1, 2).linkError(add.s(1));

// What replaces a task ends it for the compiler.
same<ReturnType<() => ReturnType<typeof context.replace>>, never>();
