import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConfigError } from '../../errors.ts';
import { checkOptions } from '../../util/options.ts';
import type { TaskContext } from './current-task.ts';
import { hooksAmong, type TaskHooks } from './hooks.ts';
import { retryKwargsTable } from './retry-options.ts';
import type { SchemaArgs, Task, TaskFunction } from './task.ts';
import { TaskBase, type TaskClass } from './task-base.ts';
import {
  checkTimeLimits,
  type TaskDefaults,
  type TaskOptions,
  taskClassOptionTable,
  taskDefaultsTable,
  taskOptionTable,
} from './task-options.ts';

/** Options of a task whose body gets its context, or its instance, as the first argument. */
type Bound<Self extends TaskContext> = TaskOptions & { bind: true; base?: TaskClass<Self> | undefined };

/**
 * Makes tasks: `make(name, fn)` or `make(name, options, fn)`. The types of the function become those of `delay()` and of
 * the result. `app.task` is one; `defineTask` gives another, whose tasks share options and hooks.
 */
export interface TaskMaker {
  /** @throws TaskRegistryError for a name that is taken */
  <Args extends readonly unknown[], R>(name: string, fn: (...args: Args) => R): Task<Args, Awaited<R>>;
  <S extends StandardSchemaV1, R, Self extends TaskContext = TaskContext>(
    name: string,
    options: Bound<Self> & { schema: S },
    fn: (self: Self, ...args: SchemaArgs<S>) => R,
  ): Task<SchemaArgs<S>, Awaited<R>>;
  <Args extends readonly unknown[], R, Self extends TaskContext = TaskContext>(
    name: string,
    options: Bound<Self>,
    fn: (self: Self, ...args: Args) => R,
  ): Task<Args, Awaited<R>>;
  <S extends StandardSchemaV1, R>(
    name: string,
    options: TaskOptions & { bind?: false; schema: S },
    fn: (...args: SchemaArgs<S>) => R,
  ): Task<SchemaArgs<S>, Awaited<R>>;
  <Args extends readonly unknown[], R>(
    name: string,
    options: TaskOptions & { bind?: false },
    fn: (...args: Args) => R,
  ): Task<Args, Awaited<R>>;
  /** A maker whose tasks share these options, and have these hooks inside those of this one. */
  defineTask<Self extends TaskContext = TaskContext>(
    defaults: TaskDefaults & { bind: true; base?: TaskClass<Self> | undefined },
  ): BoundTaskMaker<Self>;
  defineTask(defaults: TaskDefaults & { bind?: false }): TaskMaker;
}

/** A maker of tasks whose body gets its context, or the instance of its class, as the first argument. */
export interface BoundTaskMaker<Self extends TaskContext> {
  /** @throws TaskRegistryError for a name that is taken */
  <Args extends readonly unknown[], R>(name: string, fn: (self: Self, ...args: Args) => R): Task<Args, Awaited<R>>;
  <S extends StandardSchemaV1, R>(
    name: string,
    options: StillBound & { schema: S },
    fn: (self: Self, ...args: SchemaArgs<S>) => R,
  ): Task<SchemaArgs<S>, Awaited<R>>;
  <Args extends readonly unknown[], R>(
    name: string,
    options: StillBound,
    fn: (self: Self, ...args: Args) => R,
  ): Task<Args, Awaited<R>>;
  /** A maker whose tasks share these options, and have these hooks inside those of this one. */
  defineTask(defaults: TaskDefaults & { bind?: true; base?: never }): BoundTaskMaker<Self>;
}

/** A bound maker's tasks stay bound, and keep their class: both are in the type of its functions. */
type StillBound = TaskOptions & { bind?: true; base?: never };

/** What makers above have given a task: options, and a layer of hooks each. */
export interface Inherited {
  readonly options: TaskDefaults;
  readonly hooks: readonly TaskHooks[];
}

/** Registers one task, with what it inherits. */
export type Register = (name: string, options: TaskOptions, fn: TaskFunction, inherited: Inherited) => Task;

/** Makes a maker; checks what it is given. */
export function taskMaker(register: Register, inherited: Inherited = { options: {}, hooks: [] }): TaskMaker {
  const make = (name: string, ...rest: readonly unknown[]): Task => {
    if (typeof name !== 'string' || name === '')
      throw new ConfigError(`app.task: expected a task name first, got ${typeof name}`);
    const [options, fn] = rest.length === 1 ? [{}, rest[0]] : rest;
    if (!isFunction(fn)) throw new ConfigError(`task '${name}': expected a function last, got ${typeof fn}`);
    const own = checkedOptions(options, `task '${name}'`, taskOptionTable);
    return register(name, own, fn, inherited);
  };
  const defineTask = (defaults: TaskDefaults): TaskMaker => {
    const own = checkedOptions(defaults, 'app.defineTask', taskDefaultsTable);
    const layer = hooksAmong(own);
    return taskMaker(register, {
      options: merged(inherited.options, own),
      hooks: layer ? [...inherited.hooks, layer] : inherited.hooks,
    });
  };
  return Object.assign(make, { defineTask }) as unknown as TaskMaker;
}

function checkedOptions(options: unknown, where: string, table: typeof taskOptionTable): TaskOptions {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError(`${where}: expected an object of options, got ${typeof options}`);
  checkOptions(table, { ...options }, where);
  checkTimeLimits(where, options);
  const { retryKwargs, base }: TaskOptions = options;
  if (retryKwargs) checkOptions(retryKwargsTable, retryKwargs, `${where}, in its retryKwargs`);
  if (base) for (const own of classOptions(base)) checkOptions(taskClassOptionTable, own, `the class ${base.name}`);
  return options;
}

/** All options of a task: those of its class, of its makers, and its own, each winning over those before. */
export function allOptions(own: TaskOptions, inherited: Inherited): TaskOptions {
  const options = merged(inherited.options, own);
  return options.base ? merged(...classOptions(options.base), options) : options;
}

/** The `static options` of a class and those it extends, the remotest first. */
function classOptions(base: TaskClass): TaskOptions[] {
  const found: TaskOptions[] = [];
  for (let one: unknown = base; one !== TaskBase && isClass(one); one = Object.getPrototypeOf(one)) {
    if (Object.hasOwn(one, 'options') && one.options) found.unshift(one.options);
  }
  return found;
}

/** Later ones win; what is `undefined` says nothing. */
function merged(...all: readonly TaskOptions[]): TaskOptions {
  return Object.fromEntries(all.flatMap((one) => Object.entries(one)).filter(([, value]) => value !== undefined));
}

function isFunction(value: unknown): value is TaskFunction {
  return typeof value === 'function';
}

function isClass(value: unknown): value is TaskClass & { readonly options?: TaskOptions } {
  return typeof value === 'function';
}
