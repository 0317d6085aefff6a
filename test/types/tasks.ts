/** Checked by the compiler in the types lane; never run. A line that should not compile says so, and is an error if it does. */
import { z } from 'zod';
import { type AsyncResult, Lovage, type Task, type TaskContext } from '../../src/index.ts';

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

// Unknown tasks are unknown values.
same<Awaited<ReturnType<typeof app.sendTask>>, AsyncResult<unknown>>();
// @ts-expect-error no such option of the application
new Lovage('x', { brokr: 'memory://' });
